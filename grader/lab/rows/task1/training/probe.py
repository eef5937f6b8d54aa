"""Probes of the 2D half's training: a process that trains, one that holds the trained network, one that samples.

The one that samples has the student's code and an untrained network, whose calls go to the grader; the grader asks the
process that holds the trained one. So the points that come out have been made by the reverse process or not at all.
"""

import inspect

import torch
from building import build_scheduler, need_method
from loading import probe
from probing import need_tensor

DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        torch.int64,
        torch.int32,
        torch.int16,
        torch.uint8,
        torch.float64,
        torch.float32,
        torch.float16,
        torch.bfloat16,
    )
}
HELD = {}  # the trained network, in the one process that has it


def build_network(half, params):
    """The student's network as the notebook builds it."""
    return half.need("network", "SimpleNet")(
        dim_in=2, dim_out=2, dim_hids=params["dim_hids"], num_timesteps=params["T"]
    )


def build_untrained(half, params):
    """The student's network, schedule and module, as the notebook puts them together."""
    network = build_network(half, params)
    scheduler = build_scheduler(half.need("ddpm", "BaseScheduler"), params)
    return half.need("ddpm", "DiffusionModule")(network, scheduler)


@probe("train")
def train(half, params, arrays):
    """Loss of every step of Adam on batches of the points x0, and the network's tensors at the end.

    The learning rate rises over the first steps, and falls to almost nothing in the end: so every right network gets
    far in few steps, and what the last of them happen to be matters little.
    """
    half.seed(params["seed"])
    module = build_untrained(half, params)
    compute_loss = need_method(module, "compute_loss")
    optimizer = torch.optim.Adam(module.parameters(), lr=params["lr"])
    points, losses = arrays["x0"], torch.empty(params["steps"], dtype=torch.float64)
    chosen = torch.randint(len(points), (params["steps"], params["batch"]))
    for step in range(params["steps"]):
        for group in optimizer.param_groups:
            group["lr"] = params["lr"] * rate(step, params["steps"])
        loss = need_tensor(compute_loss(points[chosen[step]]), "compute_loss")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses[step] = loss.detach()
    weights = {f"weight.{name}": value for name, value in module.network.state_dict().items()}
    return {}, {"losses": losses, **weights}


def rate(step, steps):
    """Share of the learning rate at a step: full from a 25th of the way, and falling from a third of the way."""
    left = 1.0 - step / steps
    return min(1.0, 0.05 + 25.0 * step / steps) * min(1.0, max(0.02, left / 0.7))


@probe("hold")
def hold(half, params, arrays):
    """Build the network with the given tensors, and keep it for `predict`; nothing else of training is here."""
    half.seed(params["seed"])
    network = build_network(half, params)
    network.load_state_dict({name.removeprefix("weight."): value for name, value in arrays.items()})
    HELD["network"] = network.eval()
    return {}, {}


@probe("predict")
def predict(half, params, arrays):
    """What the held network answers for x (B, 2) and t (B,), t in the form and dtype that are asked for."""
    if "network" not in HELD:
        raise RuntimeError("the process that held the trained network ended")
    t = arrays["t"].to(DTYPES[params["dtype"]])
    shapes = {"0-d": (), "[1]": (1,), "[1, 1]": (1, 1), "[B, 1]": (-1, 1)}
    form = params["form"]
    if form in shapes:
        t = (t if form == "[B, 1]" else t[:1]).reshape(shapes[form])
    elif form == "number":
        t = t[0].item()
    with torch.no_grad():
        out = need_tensor(HELD["network"](arrays["x"], t), "SimpleNet.forward")
    return {}, {"out": out}


@probe("sample")
def sample(half, params, arrays):
    """Points from p_sample_loop, which has seen neither data nor weights: the grader answers for the network."""
    half.seed(params["seed"])
    module = build_untrained(half, params)
    names = inspect.signature(type(module.network).forward)

    def forward(*args, **kwargs):
        x, t = list(names.bind(None, *args, **kwargs).arguments.values())[1:3]
        form, dtype, steps = form_of(t, len(x))
        question = {"form": form, "dtype": dtype}
        return half.ask(question, {"x": x.detach().float(), "t": steps})["out"].to(x.device)

    module.network.forward = forward
    module.eval()
    points = need_tensor(need_method(module, "p_sample_loop")((params["points"], 2)), "p_sample_loop")
    return {}, {"points": points.detach()}


def form_of(t, batch):
    """How a network is given t: the form's name, its dtype, and the values as float32 (B,)."""
    if not torch.is_tensor(t):
        return "number", "int64" if isinstance(t, int) else "float64", torch.full((batch,), float(t))
    dtype = str(t.dtype).removeprefix("torch.")
    form = {(): "0-d", (1,): "[1]", (1, 1): "[1, 1]", (batch, 1): "[B, 1]"}.get(tuple(t.shape), "[B]")
    return form, dtype, t.detach().float().reshape(-1).expand(batch).clone()
