"""What the network gives for inputs, gives its parameters to learn from, and learns in some steps."""

import math

import torch
from loading import probe
from probing import need_tensor

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
    return {"largest": {name: largest(p) for name, p in net.named_parameters()}, "unregistered": unregistered}, {}


def largest(parameter):
    """The largest absolute gradient; 0 where there is none, or none that is finite."""
    size = 0.0 if parameter.grad is None or not parameter.numel() else float(parameter.grad.abs().max())
    return size if math.isfinite(size) else 0.0


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
    """The network's tensors after a fit on x, t (full batch) with Adam. The target is the grader's: the gradient of the
    loss at the output comes from there in every step."""
    net = build_simplenet(half, params)
    optimizer = Adam(net.parameters(), params["lr"])
    for _ in range(params["steps"]):
        out = need_tensor(net(arrays["x"], arrays["t"]), "SimpleNet.forward")
        out.backward(half.ask({}, {"out": out.detach()})["gradient"].to(out.dtype))
        optimizer.step()
    return {}, {f"weight.{name}": value for name, value in net.state_dict().items()}


@probe("simplenet_learnt")
def simplenet_learnt(half, params, arrays):
    """Outputs y for inputs x, t of a network with the tensors that are given, as weight.<name>."""
    net = build_simplenet(half, params)
    start = "weight."
    net.load_state_dict({name.removeprefix(start): value for name, value in arrays.items() if name.startswith(start)})
    with torch.no_grad():
        return {}, {"y": need_tensor(net.eval()(arrays["x"], arrays["t"]), "SimpleNet.forward")}
