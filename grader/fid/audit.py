"""Looks at generated images for what a number cannot show: duplicates, and copies of the images they are judged by.

How near is too near is read off the reference: a copy lies closer to a real image than real images lie to each other.
With d the distance of two independent images, even a blurred average lies at d / sqrt(2) = 0.71 d of each of them;
the policy's `copy_ratio` of 0.5 is below that, and is taken of a low quantile of the reference's own distances.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

QUANTILE = 0.01  # of the reference's distances to its own nearest neighbours: a data set has some near twins itself
ASKED = 1500  # real images whose neighbours are looked for: with the training images there are many thousands
ONE_GREY_LEVEL = 1 / 255  # RMS over thumbs in [0, 1]; closer than this is the same image whatever the reference


@dataclass(frozen=True)
class Copy:
    """Generated image `image` is nearly image `of` of the reference; `how` is "pixels", "mirrored" or "features"."""

    image: int
    of: int
    how: str


@dataclass(frozen=True)
class Audit:
    """What was found: indices into the generated images."""

    duplicates: tuple[int, ...]  # every image that equals an earlier one, pixel for pixel
    near_duplicates: tuple[int, ...]  # ... that nearly equals an earlier one
    copies: tuple[Copy, ...]


def audit(
    digests: np.ndarray,
    thumbs: np.ndarray,
    features: np.ndarray,
    reference_thumbs: np.ndarray | None,
    reference_features: np.ndarray | None,
    ratio: float,
) -> Audit:
    """Compare generated images, digests (N,), thumbs (N, S, S, 3) uint8 and features (N, D), with themselves and with
    reference images (M, ...), which may be None where only statistics are known."""
    duplicates = _repeated(digests)
    limit = ONE_GREY_LEVEL
    copies: dict[int, Copy] = {}
    if reference_thumbs is not None and reference_features is not None:
        real = _flat(reference_thumbs)
        limit = _limit(real, ratio, ONE_GREY_LEVEL)
        for how, images in (("pixels", thumbs), ("mirrored", thumbs[:, :, ::-1])):
            _collect(copies, how, *nearest(_flat(images), real), limit)
        _collect(copies, "features", *nearest(features, reference_features), _limit(reference_features, ratio, 0.0))
    near = _near(_flat(thumbs), limit, set(duplicates))
    return Audit(tuple(duplicates), tuple(near), tuple(copies[image] for image in sorted(copies)))


def nearest(points: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Index (N,) and root mean square distance (N,) of the nearest of `others` (M, D) to each of `points` (N, D)."""
    distances = _distances(points, others)
    index = distances.argmin(1)
    return index, distances[np.arange(len(points)), index]


def _distances(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Root mean square distances (N, M); float64, as |x|^2 + |y|^2 - 2 x.y cancels for twins."""
    centre = others.mean(0, dtype=np.float64)
    a, b = points - centre, others - centre
    squared = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    return np.asarray(np.sqrt(np.clip(squared, 0, None) / points.shape[1]))


def _flat(thumbs: np.ndarray) -> np.ndarray:
    return thumbs.reshape(len(thumbs), -1).astype(np.float64) / 255


def _limit(real: np.ndarray, ratio: float, least: float) -> float:
    """The distance below which something is a copy of one of the real points (M, D), read off at most ASKED of them."""
    asked = np.linspace(0, len(real) - 1, min(len(real), ASKED)).astype(int)
    distances = _distances(real[asked], real)
    distances[np.arange(len(asked)), asked] = np.inf
    return max(ratio * float(np.quantile(distances.min(1), QUANTILE)), least)


def _collect(copies: dict[int, Copy], how: str, index: np.ndarray, distance: np.ndarray, limit: float) -> None:
    # "<=" with a margin for rounding: where the reference holds exact twins the limit of features is 0.
    for image in np.flatnonzero(distance <= limit + 1e-6):
        copies.setdefault(int(image), Copy(int(image), int(index[image]), how))


def _repeated(digests: np.ndarray) -> list[int]:
    seen: Counter[bytes] = Counter()
    repeated = []
    for image, digest in enumerate(digests):
        if seen[bytes(digest)]:
            repeated.append(image)
        seen[bytes(digest)] += 1
    return repeated


def _near(points: np.ndarray, limit: float, known: set[int]) -> list[int]:
    """Points that lie within `limit` of an earlier one and are not `known` as exact duplicates."""
    close = np.tril(_distances(points, points) <= limit, -1)
    return [int(image) for image in np.flatnonzero(close.any(1)) if image not in known]
