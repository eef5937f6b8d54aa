"""Public check of SimpleNet in 2d_plot_diffusion_todo/network.py."""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import nn

from grader.lab.edition.compare import Wrong, check_tensor

EQUATION = "eps_theta(x_t, t), the noise estimate of DDPM Sec. 3.2"


MOVED = 0.02  # away from an initialisation at a special point, such as a last layer of zeros


def check() -> None:
    for widths, batch in (([16], 5), ([32, 48, 32], 1), ([128, 128, 128, 128], 7)):
        net = new_network(widths)
        where = f"SimpleNet(2, 2, {widths}, 1000), x ({batch}, 2), t ({batch},)"
        out = net(torch.randn(batch, 2), torch.randint(0, 1000, (batch,)))
        check_tensor(out, (batch, 2), "the output for a batch", where)
        check_gradient(net, out, where)
    check_depends(new_network([64, 64]))


def new_network(widths: list[int]) -> Any:
    """Your network as when sampling: batch norm takes a batch of one only then."""
    net = importlib.import_module("network").SimpleNet(2, 2, widths, 1000).eval()
    net(torch.zeros(2, 2), torch.zeros(2, dtype=torch.long))  # layers such as nn.LazyLinear learn their size
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += MOVED * torch.randn_like(parameter)
    return net


def check_gradient(net: nn.Module, out: torch.Tensor, where: str) -> None:
    """Every parameter takes part in the output."""
    if not list(net.parameters()):
        hint = "layers in a plain list are not found: use nn.ModuleList"
        raise Wrong("the network's parameters", "at least one", "none", where, hint)
    out.sum().backward()
    unused = [name for name, parameter in net.named_parameters() if parameter.grad is None]
    if unused:
        got, hint = f"none for {', '.join(unused[:3])}", "is every layer that you build also used in forward?"
        raise Wrong("that a gradient reaches every parameter", "all", got, where, hint)


def check_depends(net: nn.Module) -> None:
    """The output changes with t, and is no affine function of x. Limits lie just over rounding errors."""
    x, d = torch.randn(64, 2), 10 * torch.randn(64, 2)
    where = "SimpleNet.forward, x (64, 2), t (64,)"
    with torch.no_grad():
        at = [net(x, torch.full((64,), t)) for t in (0, 300, 999)]
        bend = net(x + d, torch.full((64,), 300)) - 2 * at[1] + net(x - d, torch.full((64,), 300))
        scale = net(x + d, torch.full((64,), 300)).abs().max() + at[1].abs().max()
    if max((at[0] - at[1]).abs().max(), (at[1] - at[2]).abs().max()) <= 1e-6 * scale:
        expected, hint = "other values for t = 0, 300, 999", "pass t to the time-conditioned layers"
        raise Wrong("that the output depends on t", expected, "the same values", where, hint)
    if bend.abs().max() <= 1e-5 * scale:
        checked, hint = (
            "that the network is more than an affine map of x",
            "something has to stand between two linear layers",
        )
        raise Wrong(checked, "a curved function", "a straight one", where, hint)
