"""Stand-ins for networks: simple known functions, so that a check needs no trained network."""

from __future__ import annotations

import torch
from torch import nn


class Recorder(nn.Module):
    """A network that returns 0.3 x + 0.01 t, times a trainable weight, and keeps what it was given."""

    image_resolution = 8
    image_channels = 3

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.calls: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []

    def forward(self, x: torch.Tensor, timestep: torch.Tensor, class_label: object = None) -> torch.Tensor:
        t = torch.as_tensor(timestep).reshape(-1, *[1] * (x.dim() - 1)).to(x.dtype)
        out = self.weight * (0.3 * x + 0.01 * t)
        self.calls.append((x.detach(), torch.as_tensor(timestep).detach(), out.detach()))
        return out


class Constant(nn.Module):
    """A network whose output is always the same, whatever the input. output: (K,) for x (B, K)."""

    def __init__(self, output: torch.Tensor):
        super().__init__()
        self.output = output

    def forward(self, x: torch.Tensor, timestep: object = None, class_label: object = None) -> torch.Tensor:
        return self.output.expand_as(x).clone()
