"""Public checks of 2d_plot_diffusion_todo: a check raises Wrong (or what your code raises), or nothing."""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import nn

from .compare import (
    BETA_1,
    BETA_T,
    T,
    Wrong,
    check_close,
    check_statistics,
    check_tensor,
    golden,
    t_of,
    with_any_t,
)
from .stubs import Constant, Recorder

EQUATIONS = {
    "task1.simplenet": "eps_theta(x_t, t), the noise estimate of DDPM Sec. 3.2",
    "task1.q_sample": "q(x_t | x_0) = N(sqrt(alpha-bar_t) x_0, (1 - alpha-bar_t) I)    DDPM Eq. 4",
    "task1.p_sample": "p(x_{t-1} | x_t) = N(mu_theta(x_t, t), beta-tilde_t I)    DDPM Eq. 11 and Sec. 3.2",
    "task1.p_sample_loop": "x_T ~ N(0, I); t = T-1, ..., 0: x_{t-1} ~ p(x_{t-1} | x_t)    DDPM Algorithm 2",
    "task1.compute_loss": "L = E || eps - eps_theta(x_t, t) ||^2, mean over all numbers    DDPM Eq. 14",
}
POINTS = 50_000  # of a batch from which a mean and a spread are taken
STEP_HINTS = {
    "t0": "the last step returns the mean alone",
    "mean": "compare each table that you look up with the equation: alpha or alpha-bar, and where is a root?",
    "spread": "beta or beta-tilde? alpha-bar at t or at t-1? A variance or its root? One draw a number?",
}


def diffusion(network: nn.Module) -> Any:
    """Your DiffusionModule with a small schedule and a stand-in for the network."""
    ddpm = importlib.import_module("ddpm")

    return ddpm.DiffusionModule(network, ddpm.BaseScheduler(T, BETA_1, BETA_T, mode="linear"))


def check_simplenet() -> None:
    network = importlib.import_module("network")

    for widths, batch in (([16], 5), ([32, 48, 32], 1), ([128, 128, 128, 128], 7)):
        net = network.SimpleNet(2, 2, widths, 1000)
        where = f"SimpleNet(2, 2, {widths}, 1000), x ({batch}, 2), t ({batch},)"
        out = net(torch.randn(batch, 2), torch.randint(0, 1000, (batch,)))
        check_tensor(out, (batch, 2), "the output for a batch", where)
        check_gradient(net, out, where)
    check_depends(network.SimpleNet(2, 2, [64, 64], 1000))


def check_gradient(net: nn.Module, out: torch.Tensor, where: str) -> None:
    """Every parameter takes part in the output."""
    if not list(net.parameters()):
        raise Wrong(
            "the network's parameters",
            "at least one",
            "none",
            where,
            "layers in a plain list are not found: use nn.ModuleList",
        )
    out.sum().backward()
    unused = [name for name, parameter in net.named_parameters() if parameter.grad is None]
    if unused:
        raise Wrong(
            "that a gradient reaches every parameter",
            "all",
            f"none for {', '.join(unused[:3])}",
            where,
            "is every layer that you build also used in forward?",
        )


def check_depends(net: nn.Module) -> None:
    """The output changes with t, and is no affine function of x. Limits lie just over rounding errors."""
    x, d = torch.randn(64, 2), 10 * torch.randn(64, 2)
    where = "SimpleNet.forward, x (64, 2), t (64,)"
    with torch.no_grad():
        at = [net(x, torch.full((64,), t)) for t in (0, 300, 999)]
        bend = net(x + d, torch.full((64,), 300)) - 2 * at[1] + net(x - d, torch.full((64,), 300))
        scale = net(x + d, torch.full((64,), 300)).abs().max() + at[1].abs().max()
    if max((at[0] - at[1]).abs().max(), (at[1] - at[2]).abs().max()) <= 1e-6 * scale:
        raise Wrong(
            "that the output depends on t",
            "other values for t = 0, 300, 999",
            "the same values",
            where,
            "pass t to the time-conditioned layers",
        )
    if bend.abs().max() <= 1e-5 * scale:
        raise Wrong(
            "that the network is more than an affine map of x",
            "a curved function",
            "a straight one",
            where,
            "something has to stand between two linear layers",
        )


def check_q_sample() -> None:
    x0, t, noise = golden("points_x0"), golden("points_t"), golden("points_noise")
    module = diffusion(Recorder())
    before = x0.clone(), noise.clone()
    xt = module.q_sample(x0, t, noise)
    where = "q_sample in ddpm.py, x0 (8, 2), t (8,) with another timestep for each point"
    if not torch.equal(x0, before[0]) or not torch.equal(noise, before[1]):
        raise Wrong(
            "that x0 and noise are left as they were",
            "unchanged",
            "changed",
            where,
            "operations such as x0 *= ... change the caller's tensor",
        )
    check_close(
        xt,
        golden("points_xt"),
        "x_t from given x0, t and noise",
        where,
        "noise is scaled by a standard deviation; both factors are looked up at each point's own t",
    )


def check_p_sample() -> None:
    for row, t in enumerate(golden("step_t").tolist()):
        module = diffusion(Constant(golden("step_out")[:2]))
        xt = golden("step_xt")[:2].expand(POINTS, 2).clone()
        where = f"p_sample in ddpm.py, t = {t}, xt ({POINTS}, 2)"
        out = with_any_t(lambda form, m=module, x=xt: m.p_sample(x, form), t, xt.shape, int_first=True)
        out = check_tensor(out, tuple(xt.shape), "the result of one step", where)
        check_statistics(out, golden("step_mean_noise")[row, :2], golden("step_spread")[row].item(), where, STEP_HINTS)


def check_p_sample_loop() -> None:
    network = Recorder()
    module = diffusion(network)
    seen = []

    def step(xt: torch.Tensor, t: object) -> torch.Tensor:
        seen.append((xt, t_of(t)))
        return 0.5 * xt + t_of(t)

    module.p_sample = step
    shape = (20_000, 2)
    where = f"p_sample_loop in ddpm.py, shape {shape}, T = {T}"
    out = module.p_sample_loop(shape)
    visited = [t for _, t in seen] or [t_of(t) for _, t, _ in network.calls]
    if visited != list(range(T))[::-1]:
        raise Wrong(
            "the timesteps that are visited",
            f"{T - 1}, {T - 2}, ..., 0",
            f"{visited[:12]}",
            where,
            "every timestep takes one step, from the noisiest to 0",
        )
    start = seen[0][0] if seen else network.calls[0][0]
    check_tensor(start, shape, "the tensor that the loop starts from", where)
    if abs(start.mean()) > 0.05 or abs(start.std() - 1) > 0.05:
        raise Wrong(
            "the tensor that the loop starts from",
            "mean 0.00, spread 1.00",
            f"mean {start.mean():.2f}, spread {start.std():.2f}",
            where,
            "what is the distribution of x_T?",
        )
    if seen:
        check_close(
            out,
            0.5 * seen[-1][0],
            "that the result is what the step at t = 0 returned",
            where,
            "hand each step's result to the next, and return the last",
        )


def check_compute_loss() -> None:
    network = Recorder()
    module = diffusion(network)
    of_x0, of_noise = golden("forward_of_x0"), golden("forward_of_noise")

    def q_sample(x0: torch.Tensor, t: torch.Tensor, noise: torch.Tensor | None = None) -> torch.Tensor:
        # so that a mistake in your q_sample does not show here
        noise = torch.randn_like(x0) if noise is None else noise
        t = t.reshape(-1)
        return of_x0[t, None] * x0 + of_noise[t, None] * noise

    module.q_sample = q_sample
    x0 = torch.rand(4000, 2) * 2 - 1
    where = "compute_loss in ddpm.py, x0 (4000, 2)"
    loss = module.compute_loss(x0)
    check_tensor(loss, (), "the loss, a single number", where)
    if not network.calls:
        raise Wrong(
            "that the network is asked for the noise",
            "one call",
            "none",
            where,
            "the loss compares the network's prediction with the noise that was added",
        )
    xt, t, out = network.calls[-1]
    check_timesteps(t, 4000, where)
    t = t.reshape(-1)
    noise = (xt - of_x0[t, None] * x0) / of_noise[t, None]
    check_close(
        loss,
        ((out - noise) ** 2).mean(),
        "the loss recomputed from what the network was shown",
        where,
        "compare with the very noise that is in x_t, and take the mean",
        atol=1e-3,
    )
    check_loss_gradient(loss, network, where)


def check_timesteps(t: torch.Tensor, batch: int, where: str) -> None:
    """One timestep a sample, uniform on 0..T-1. 8 standard errors, so that luck plays no part."""
    if t.numel() != batch:
        raise Wrong(
            "the timesteps that the network is given",
            f"{batch}, one a sample",
            f"{t.numel()}",
            where,
            "draw a timestep for every sample of the batch",
        )
    counts = torch.bincount(t.reshape(-1).long(), minlength=T)
    expected = batch / T
    if len(counts) > T or (counts - expected).abs().max() > 8 * expected**0.5:
        raise Wrong(
            "how often each timestep is drawn",
            f"about {expected:.0f} times each of 0..{T - 1}",
            f"{counts.tolist()[: T + 2]} times",
            where,
            "uniform on 0..T-1, both ends included",
        )


def check_loss_gradient(loss: torch.Tensor, network: Recorder, where: str) -> None:
    """backward() reaches the network."""
    if not loss.requires_grad:
        raise Wrong(
            "that the loss can be trained on",
            "a gradient",
            "none",
            where,
            "is there a detach(), an item() or a no_grad() on the way?",
        )
    loss.backward()
    if network.weight.grad is None or network.weight.grad == 0:
        raise Wrong(
            "that the gradient reaches the network",
            "a gradient",
            "none",
            where,
            "is there a detach() or a no_grad() around the network?",
        )
