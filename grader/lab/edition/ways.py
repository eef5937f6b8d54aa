"""A clean image and the noise in it: for a network that knows both, x_t is known at every t."""

from __future__ import annotations

import torch

from grader.lab.edition.compare import golden

SHAPE = (2, 3, 4, 4)


class Way:
    """The images between a clean one and pure noise. `reach`: of the clean image's values."""

    def __init__(self, reach: float = 1.0) -> None:
        self.x_0, self.eps = reach * (torch.rand(SHAPE) * 2 - 1), torch.randn(SHAPE)

    def at(self, t: int) -> torch.Tensor:
        return golden("forward_of_x0")[t] * self.x_0 + golden("forward_of_noise")[t] * self.eps
