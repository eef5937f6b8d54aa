"""Probes that run the notebook of the 2D half: train the submitted network, then draw samples from it."""

import torch
from building import need_method
from loading import probe
from probing import build_scheduler, need_tensor


def build_untrained(half, params):
    """The student's network, schedule and module, as the notebook puts them together."""
    network = half.need("network", "SimpleNet")(
        dim_in=2, dim_out=2, dim_hids=params["dim_hids"], num_timesteps=params["T"]
    )
    scheduler = build_scheduler(half.need("ddpm", "BaseScheduler"), params)
    return half.need("ddpm", "DiffusionModule")(network, scheduler)


@probe("train")
def train(half, params, arrays):
    """Loss of every step of Adam on batches of the points x0, and the network's tensors at the end."""
    half.seed(params["seed"])
    module = build_untrained(half, params)
    compute_loss = need_method(module, "compute_loss")
    optimizer = torch.optim.Adam(module.parameters(), lr=params["lr"])
    points, losses = arrays["x0"], torch.empty(params["steps"], dtype=torch.float64)
    chosen = torch.randint(len(points), (params["steps"], params["batch"]))
    for step in range(params["steps"]):
        loss = need_tensor(compute_loss(points[chosen[step]]), "compute_loss")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses[step] = loss.detach()
    weights = {f"weight.{name}": value for name, value in module.network.state_dict().items()}
    return {}, {"losses": losses, **weights}


@probe("sample")
def sample(half, params, arrays):
    """Points from p_sample_loop with the given network tensors, in a process that has not seen the data."""
    half.seed(params["seed"])
    module = build_untrained(half, params)
    module.network.load_state_dict(
        {name.removeprefix("weight."): value for name, value in arrays.items() if name.startswith("weight.")}
    )
    module.eval()
    points = need_tensor(need_method(module, "p_sample_loop")((params["points"], 2)), "p_sample_loop")
    return {}, {"points": points.detach()}
