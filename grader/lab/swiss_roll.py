"""Points in the plane: the Swiss roll of Task 1, and the Chamfer distance of two sets."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]

CENTRE = np.array([2.0, 2.0 / (3.0 * np.pi)])  # of (a cos a, a sin a) with the angle a uniform on [1.5 pi, 4.5 pi]
SCALE = 3.5
NOISE = 0.2
BLOCK = 256  # rows of the table of distances that are in memory at a time


def swiss_roll(n: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """n points of the lab's Swiss roll, (n, 2), centred, about 2 in standard deviation."""
    angle = 1.5 * np.pi * (1.0 + 2.0 * rng.random(n))
    roll = np.stack([angle * np.cos(angle), angle * np.sin(angle)], axis=1) + NOISE * rng.standard_normal((n, 2))
    return np.asarray((roll - CENTRE) / SCALE, dtype=np.float32)


def nearest(points: Points, others: Points) -> Points:
    """Squared distance of each point (N, D) to the nearest of `others` (M, D): (N,)."""
    blocks = [points[i : i + BLOCK] for i in range(0, len(points), BLOCK)]
    return np.concatenate([((block[:, None, :] - others[None, :, :]) ** 2).sum(axis=2).min(axis=1) for block in blocks])


def chamfer_distance(points: Points, reference: Points) -> float:
    """Squared distances to the nearest point of the other set, summed over both sets; inf if one is not finite."""
    if not (np.isfinite(points).all() and np.isfinite(reference).all()):
        return float("inf")
    return float(nearest(points, reference).sum() + nearest(reference, points).sum())
