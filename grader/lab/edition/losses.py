"""Checks of a loss: it is recomputed from what the network was shown."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

import torch

from grader.lab.edition.compare import T, Wrong, check_close, check_tensor, golden
from grader.lab.edition.yours import new_diffusion, new_scheduler, simple_network
from grader.lab.probes.stand_ins import AffineNetwork, AffineNoising

BATCH = 4000
Target = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def noise_target(x_0: torch.Tensor, x_t: torch.Tensor, noise: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """A Target: what the network's output is compared with, from (x_0, x_t, noise, t)."""
    return noise


def check_points_loss(hint: str) -> None:
    """compute_loss of ddpm.py."""
    network = simple_network(2)
    module = new_diffusion(network)
    module.q_sample = given_noising(returns_noise=False)
    x_0 = torch.rand(BATCH, 2) * 2 - 1
    where = f"compute_loss in ddpm.py, x0 ({BATCH}, 2)"
    check_loss(module.compute_loss(x_0), network, x_0, noise_target, where, hint)


def check_images_loss(predictor: str, target: Target, hint: str) -> None:
    """get_loss_{predictor} of model.py."""
    network, scheduler = simple_network(3), new_scheduler()
    scheduler.add_noise = given_noising(returns_noise=True)
    module = import_module("model").DiffusionModule(network, scheduler, predictor=predictor)
    x_0 = torch.rand(BATCH, 3, 4, 4) * 2 - 1
    where = f"get_loss_{predictor} in model.py, x0 ({BATCH}, 3, 4, 4)"
    check_loss(getattr(module, f"get_loss_{predictor}")(x_0), network, x_0, target, where, hint)


def given_noising(returns_noise: bool) -> AffineNoising:
    """A right q_sample or add_noise, so that a mistake in yours does not show in the loss."""
    return AffineNoising(golden("forward_of_x0"), golden("forward_of_noise"), returns_noise)


def at(name: str, t: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """The golden table `name` at t (B,), with the axes of `like`."""
    return golden(name)[t].reshape(-1, *[1] * (like.dim() - 1))


def check_loss(loss: object, network: AffineNetwork, x_0: torch.Tensor, target: Target, where: str, hint: str) -> None:
    """A single number, the mean squared error that is due for what the network was shown, with a gradient."""
    loss = check_tensor(loss, (), "the loss, a single number", where)
    if not network.calls:
        reason = "the loss compares the network's output with its target"
        raise Wrong("that the network is asked", "one call", "none", where, reason)
    x_t, t = network.calls[-1]["x"], network.calls[-1]["t"].long()
    check_timesteps(t, where)
    noise = (x_t - at("forward_of_x0", t, x_0) * x_0) / at("forward_of_noise", t, x_0)
    with torch.no_grad():
        expected = ((network(x_t, t) - target(x_0, x_t, noise, t)) ** 2).mean()
    check_close(loss, expected, "the loss recomputed from what the network was shown", where, hint)
    check_gradient(loss, network, where)


def check_timesteps(t: torch.Tensor, where: str) -> None:
    """One timestep a sample, uniform on 0..T-1. 8 standard errors, so that luck plays no part."""
    different = len(t.unique())
    count = len(t) if different > 1 else different  # one timestep for all is given as one number or as a batch of it
    if count != BATCH:
        hint = "draw a timestep for every sample of the batch"
        raise Wrong("the timesteps that the network is given", f"{BATCH}, one a sample", f"{count}", where, hint)
    counts = torch.bincount(t, minlength=T) if t.min() >= 0 else torch.zeros(T)
    expected = BATCH / T
    if len(counts) > T or (counts - expected).abs().max() > 8 * expected**0.5:
        raise Wrong(
            "how often each timestep is drawn",
            f"about {expected:.0f} times each of 0..{T - 1}",
            f"{counts.tolist()[: T + 2]} times",
            where,
            "uniform on 0..T-1, both ends included",
        )


def check_gradient(loss: torch.Tensor, network: AffineNetwork, where: str) -> None:
    """backward() reaches the network."""
    if not loss.requires_grad:
        hint = "is there a detach(), an item() or a no_grad() on the way?"
        raise Wrong("that the loss can be trained on", "a gradient", "none", where, hint)
    loss.backward()
    if network.weight.grad is None or not network.weight.grad.any():
        hint = "is there a detach() or a no_grad() around the network?"
        raise Wrong("that the gradient reaches the network", "a gradient", "none", where, hint)
