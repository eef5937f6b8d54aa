"""Probes of the 2D half: they call the student's functions and return what came out, nothing more."""

import torch
from building import build_module, need_method
from loading import probe
from probing import first_accepted, forms_of, need_tensor, plain_draw, recorded
from stand_ins import AffineNoising, AffineStep

MOVED = 0.02  # away from an initialisation at a special point


def build_simplenet(half, params, moved=0.0):
    """The student's network; `moved`: standard deviation of what is added to its parameters.

    A network may begin with a last layer of zeros: what it is able to do shows away from that point.
    """
    half.seed(params["seed"])
    cls = half.need("network", "SimpleNet")
    net = cls(
        dim_in=params["dim_in"], dim_out=params["dim_out"], dim_hids=params["dim_hids"], num_timesteps=params["T"]
    )
    with torch.no_grad():
        if any(torch.nn.parameter.is_lazy(p) for p in net.parameters()):  # nn.LazyLinear learns its size from a call
            net(torch.zeros(2, params["dim_in"]), torch.zeros(2, dtype=torch.long))
        for p in net.parameters():
            p += moved * torch.randn_like(p)
    return net.double() if params.get("double") else net


@probe("simplenet_outputs")
def simplenet_outputs(half, params, arrays):
    """Outputs y.i of one network, as when sampling, for inputs x.i, t.i, and how many parameters it has."""
    net = build_simplenet(half, params, MOVED).eval()  # batch norm takes a batch of one only then
    with torch.no_grad():
        outputs = {
            f"y.{i}": need_tensor(net(arrays[f"x.{i}"], arrays[f"t.{i}"]), "SimpleNet.forward")
            for i in range(params["calls"])
        }
    return {"parameters": sum(p.numel() for p in net.parameters())}, outputs


@probe("simplenet_gradient")
def simplenet_gradient(half, params, arrays):
    """Largest absolute gradient of every parameter after one backward pass from a random projection, and how many
    tensors that learn are no parameters of the network."""
    net = build_simplenet(half, params, MOVED)
    y = need_tensor(net(arrays["x"], arrays["t"]), "SimpleNet.forward")
    unregistered = len(leaves(y) - set(net.parameters()))
    (y * arrays["projection"]).sum().backward()
    largest = {name: 0.0 if p.grad is None else float(p.grad.abs().max()) for name, p in net.named_parameters()}
    return {"largest": largest, "unregistered": unregistered}, {}


def leaves(y):
    """The tensors that y would give a gradient to."""
    found, seen, todo = set(), set(), [y.grad_fn]
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found.add(node.variable)
        todo += [following for following, _ in node.next_functions]
    return found


class Adam:
    """Kingma & Ba 2015, Algorithm 1. torch.optim would import its compiler first, which takes longer than the fit."""

    def __init__(self, parameters, lr):
        self.lr, self.count = lr, 0
        self.slots = [(p, torch.zeros_like(p), torch.zeros_like(p)) for p in parameters if p.requires_grad]

    @torch.no_grad()
    def step(self):
        self.count += 1
        for p, mean, square in self.slots:
            if p.grad is None:
                continue
            mean.lerp_(p.grad, 0.1)
            square.lerp_(p.grad**2, 0.001)
            p -= self.lr * (mean / (1 - 0.9**self.count)) / ((square / (1 - 0.999**self.count)).sqrt() + 1e-8)
            p.grad = None


@probe("simplenet_learn")
def simplenet_learn(half, params, arrays):
    """Outputs y for inputs x_new, t_new, after fitting the target y on x, t (full batch) with Adam."""
    net = build_simplenet(half, params)
    optimizer = Adam(net.parameters(), params["lr"])
    for _ in range(params["steps"]):
        torch.nn.functional.mse_loss(net(arrays["x"], arrays["t"]), arrays["y"]).backward()
        optimizer.step()
    with torch.no_grad():
        return {}, {"y": need_tensor(net.eval()(arrays["x_new"], arrays["t_new"]), "SimpleNet.forward")}


@probe("q_sample")
def q_sample(half, params, arrays):
    """x_t for x0, t and, where given, noise; with the inputs as they are afterwards."""
    module, _ = build_module(half, params, arrays)
    method = need_method(module, "q_sample")
    half.seed(params["seed"])
    x0, t, noise = (arrays[k].clone() if k in arrays else None for k in ("x0", "t", "noise"))
    xt = need_tensor(method(x0, t) if noise is None else method(x0, t, noise), "q_sample")
    after = {"x0_after": x0, "t_after": t} | ({} if noise is None else {"noise_after": noise})
    return {}, {"xt": xt.detach().clone(), **after}


@probe("p_sample")
def p_sample(half, params, arrays):
    """One reverse step at one t: for x, for zeros under the same seed, for zeros under another."""
    module, network = build_module(half, params, arrays)
    method = need_method(module, "p_sample")
    x = arrays["x"]

    def one_step(xt, t, seed):
        half.seed(seed)  # here, as a rejected form may have drawn before it failed
        return need_tensor(method(xt.clone(), t), "p_sample")

    def run(xt, seed, order):
        forms = forms_of(params["t"], len(x), order)
        return first_accepted([(name, lambda t=t: one_step(xt, t, seed)) for name, t in forms])

    out = {}
    with torch.no_grad():
        _, form, rejected = run(x, params["seeds"][0], params["forms"])  # a generator may be made at the first call
        out["of_x"], _, _ = run(x, params["seeds"][0], [form])
        shown = recorded(network.calls[-1:], "net", out, 1)
        out["of_zeros"], _, _ = run(torch.zeros_like(x), params["seeds"][0], [form])
        out["again"], _, _ = run(torch.zeros_like(x), params["seeds"][1], [form])
        out["draw"] = plain_draw(half, params["seeds"][0], x)
    return {"form": form, "rejected": rejected, "network_calls": shown}, out


@probe("p_sample_loop")
def p_sample_loop(half, params, arrays):
    """The loop over a stand-in step: what the step was shown, in order, and what came out."""
    module, _ = build_module(half, params, arrays)
    method = need_method(module, "p_sample_loop")
    step = AffineStep(params["gain"], arrays["offset"])
    module.p_sample = step
    half.seed(params["seed"])
    out = need_tensor(method(tuple(params["shape"])), "p_sample_loop")
    arrays_out = {"out": out.detach()}
    for k, shown in enumerate(step.shown):
        arrays_out[f"shown.{k}"] = shown
    return {"steps": step.steps, "requires_grad": out.requires_grad}, arrays_out


@probe("p_sample_loop_inline")
def p_sample_loop_inline(half, params, arrays):
    """The loop with the student's own step: what the network was shown, and whether a gradient was kept."""
    module, network = build_module(half, params, arrays)
    method = need_method(module, "p_sample_loop")
    half.seed(params["seed"])
    out = need_tensor(method(tuple(params["shape"])), "p_sample_loop")
    arrays_out = {"out": out.detach()}
    count = recorded(network.calls, "net", arrays_out, 3 * params["T"])
    return {"network_calls": count, "requires_grad": out.requires_grad}, arrays_out


@probe("compute_loss")
def compute_loss(half, params, arrays):
    """The loss on stand-ins for network and q_sample, with everything that they were shown; one trial a seed."""
    module, network = build_module(half, params, arrays)
    method = need_method(module, "compute_loss")
    return loss_trials(
        half,
        params,
        arrays,
        module,
        network,
        lambda x0: method(x0),
        AffineNoising(arrays["signal"], arrays["spread"], returns_noise=False),
        lambda noising: setattr(module, "q_sample", noising),
    )


def loss_trials(half, params, arrays, module, network, call, noising, install):
    """Run `call` once a trial on x0.i; shared by the losses of both halves."""
    install(noising)
    data, out = {"trials": []}, {}
    for i, seed in enumerate(params["seeds"]):
        network.calls.clear()
        noising.calls.clear()
        network.zero_grad()
        half.seed(seed)
        x0 = arrays[f"x0.{i}"].clone()
        loss = need_tensor(call(x0), "the loss")
        trial = {"shape": list(loss.shape), "requires_grad": loss.requires_grad}
        if loss.requires_grad and loss.numel() == 1:
            loss.backward()
            if network.weight.grad is not None:
                out[f"{i}.grad"] = network.weight.grad.clone()
        out[f"{i}.loss"] = loss.detach()
        trial["network_calls"] = recorded(network.calls, f"{i}.net", out, 1)
        trial["noising_calls"] = recorded(noising.calls, f"{i}.noising", out, 1)
        trial["noise_given"] = bool(noising.calls and noising.calls[0]["given"])
        data["trials"].append(trial)
    return data, out
