"""Distributions in the plane that are drawn anew for each grading: spirals of other turns and outlines.

They are as large and as thin as the handout's Swiss roll, and no harder to learn, so that losses and Chamfer distances
are comparable, and none is near enough to it, or to another, to stand for it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from grader.lab.swiss_roll import NOISE, SCALE, Points

SPREAD = 2.0  # root mean square of a coordinate, the Swiss roll's
FAMILIES = ("roll", "cut")
MEASURED = 4096  # points along the curve by which it is centred and scaled


@dataclass(frozen=True)
class Spiral:
    """Points (a cos a, a sin a) with the angle a uniform on [start, stop], then an affine map, then noise.

    A `gap` leaves out the angles from one share of the way to another. `matrix` turns, stretches, shears and mirrors.
    """

    family: str
    start: float
    stop: float
    gap: tuple[float, float]
    matrix: NDArray[np.float64]  # (2, 2)
    shift: NDArray[np.float64]  # (2,)

    def draw(self, n: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """n points, (n, 2), centred, 2 in root mean square."""
        bare = self._bare(rng.random(n))
        noise = NOISE / SCALE * rng.standard_normal((n, 2))
        return np.asarray(bare @ self.matrix.T + self.shift + noise, dtype=np.float32)

    def _bare(self, share: Points) -> Points:
        """Points on the curve, at a share of the way along it."""
        low, high = self.gap
        share = share * (1.0 - (high - low))
        share = np.where(share < low, share, share + (high - low))
        angle = self.start + (self.stop - self.start) * share
        return np.stack([angle * np.cos(angle), angle * np.sin(angle)], axis=1)


def draw_spiral(rng: np.random.Generator, family: str | None = None) -> Spiral:
    """A spiral of a family, or of one that is drawn as well."""
    family = family or str(rng.choice(FAMILIES))
    start, turns = np.pi * rng.uniform(1.0, 1.5), rng.uniform(1.2, 1.5)
    gap = (0.0, 0.0)
    if family == "cut":
        width = rng.uniform(0.12, 0.2)
        begin = rng.uniform(0.2, 0.8 - width)
        gap = (begin, begin + width)
    turn, stretch, shear = rng.uniform(0.0, 2.0 * np.pi), rng.uniform(1.0, 1.12), rng.uniform(-0.12, 0.12)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    mirror = np.diag([1.0, float(rng.choice([-1, 1]))])
    matrix = rotation @ np.array([[stretch, shear], [0.0, 1.0 / stretch]]) @ mirror
    bare = Spiral(family, start, start + 2.0 * np.pi * turns, gap, matrix, np.zeros(2))
    along = bare._bare((np.arange(MEASURED) + 0.5) / MEASURED) @ matrix.T
    centre = along.mean(axis=0)
    scale = SPREAD / np.sqrt(((along - centre) ** 2).mean())
    return Spiral(bare.family, bare.start, bare.stop, gap, scale * matrix, -scale * centre)
