"""Toy distributions of points in the plane.

Points are float32, shape (N, 2), centred on the origin. The same name, size and seed give the same points;
the global random state is neither used nor changed.
"""

from collections.abc import Callable

import numpy as np
import torch
from sklearn import datasets


def _swiss_roll(num_points: int, rng: np.random.RandomState) -> np.ndarray:
    """A roll in space, seen along its axis; about 2 in standard deviation."""
    points, _ = datasets.make_swiss_roll(num_points, noise=0.2, random_state=rng)
    centre = [2, 2 / (3 * np.pi)]  # of (a cos a, a sin a) with the angle a uniform on [1.5 pi, 4.5 pi]
    return (points[:, [0, 2]] - centre) / 3.5


def _moons(num_points: int, rng: np.random.RandomState) -> np.ndarray:
    points, _ = datasets.make_moons(num_points, noise=0.05, random_state=rng)
    return 2 * (points - [0.5, 0.25])


def _gaussians(num_points: int, rng: np.random.RandomState) -> np.ndarray:
    """Eight round clusters on a circle of radius 2."""
    angles = np.arange(8) * (2 * np.pi / 8)
    centres = 2 * np.stack([np.cos(angles), np.sin(angles)], axis=1)  # (8, 2)
    points, _ = datasets.make_blobs(num_points, centers=centres, cluster_std=0.15, random_state=rng)
    return points


def _circle(num_points: int, rng: np.random.RandomState) -> np.ndarray:
    """Two rings, one inside the other."""
    points, _ = datasets.make_circles(num_points, factor=0.5, noise=0.03, random_state=rng)
    return 2 * points


def _s_curve(num_points: int, rng: np.random.RandomState) -> np.ndarray:
    points, _ = datasets.make_s_curve(num_points, noise=0.05, random_state=rng)
    return 1.2 * points[:, [0, 2]]


def _checkerboard(num_points: int, rng: np.random.RandomState) -> np.ndarray:
    """The dark squares of a 4 x 4 board that reaches from -2 to 2."""
    row = rng.randint(4, size=num_points)
    column = 2 * rng.randint(2, size=num_points) + row % 2  # two dark squares in each row
    corners = np.stack([column, row], axis=1) - 2.0
    return corners + rng.uniform(size=(num_points, 2))


DATASETS: dict[str, Callable[[int, np.random.RandomState], np.ndarray]] = {
    "swiss_roll": _swiss_roll,
    "moons": _moons,
    "gaussians": _gaussians,
    "circle": _circle,
    "s_curve": _s_curve,
    "checkerboard": _checkerboard,
}


def make_points(name: str, num_points: int, seed: int = 0) -> torch.Tensor:
    """`num_points` points of the distribution called `name`, (N, 2), float32."""
    name = name.replace("-", "_")
    if name not in DATASETS:
        raise ValueError(f"unknown dataset '{name}'; known are {', '.join(DATASETS)}")
    points = DATASETS[name](num_points, np.random.RandomState(seed))
    return torch.from_numpy(points.astype(np.float32))


class BatchStream:
    """An endless iterator of random batches (batch_size, 2) of fixed points (N, 2)."""

    def __init__(self, points: torch.Tensor, batch_size: int, seed: int = 0):
        self.points = points
        self.batch_size = batch_size
        self.generator = torch.Generator().manual_seed(seed)

    def __iter__(self) -> "BatchStream":
        return self

    def __next__(self) -> torch.Tensor:
        picks = torch.randint(len(self.points), (self.batch_size,), generator=self.generator)
        return self.points[picks.to(self.points.device)]
