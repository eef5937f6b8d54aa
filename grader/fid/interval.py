"""The interval of an FID, by subsampling: what other images of the same model would have scored.

Resampling with replacement does not do here. Its duplicates lower the rank of a covariance of 500 images in 2,048
dimensions, which shifts every replicate upwards and doubles its spread (test_fid_interval.py shows both). Subsets
without replacement have neither fault: leaving out the share q of each set, the spread of the replicates times
sqrt((1 - q) / q) estimates the spread of the FID itself (the delete-d jackknife, Shao & Wu 1989,
https://doi.org/10.1214/aos/1176347263; a bootstrap in the wider sense of Politis & Romano 1994).

What the interval is for: the mean FID over other draws of as many images, which is what thresholds on "the FID of 500
images" speak of. Measured for 95% on Gaussian features: held in 93% to 99% of experiments, the latter with few images
in many dimensions, where it is up to 1.3 times too wide. The distance of infinitely many images is lower and is not
held: 1/N biases an FID upwards, for 500 images of Inception features by more than the interval's width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from grader.fid.frechet import Gaussian, frechet_distance, from_features

LEFT_OUT = 0.1  # share of each set that a replicate leaves out


def interval(fid: float, replicates: np.ndarray, confidence: float) -> tuple[float, float]:
    """The interval around `fid` for its expectation over other draws of as many images; replicates (B,), B >= 2.

    Only the spread of the replicates counts, not their mean: an FID of fewer images is higher, which says nothing
    about the FID at hand. Normal quantiles, as a quantile of 100 replicates would itself be a matter of luck.
    """
    error = float(np.std(replicates, ddof=1)) * ((1 - LEFT_OUT) / LEFT_OUT) ** 0.5
    reach = NormalDist().inv_cdf((1 + confidence) / 2) * error
    return max(fid - reach, 0.0), fid + reach


def replicate(generated: np.ndarray, reference: np.ndarray | Gaussian, count: int, seed: int = 0) -> np.ndarray:
    """FIDs (count,) of random subsets of features (N, D) against features (M, D), or against known statistics.

    Where images are fewer than features, all work is in their span: the products of features are computed once, and a
    replicate picks rows and columns of them, N x M instead of D x D.
    """
    one = np.asarray(generated, np.float64)
    shift = one.mean(0)  # for precision; moving both sets does not change a distance
    one = one - shift
    draw: Callable[[np.random.Generator], float]
    if isinstance(reference, Gaussian):
        draw = _Fixed(one, Gaussian(reference.mean - shift, reference.factor))
    elif one.shape[1] < min(len(one), len(reference)):
        draw = _Direct(one, reference - shift)
    else:
        draw = _Products(one, reference - shift)
    rng = np.random.default_rng(seed)
    return np.array([draw(rng) for _ in range(count)])


def _subset(count: int, rng: np.random.Generator) -> np.ndarray:
    """Indices of a subset that leaves out LEFT_OUT of `count`, at least one and never all but one."""
    kept = max(min(round(count * (1 - LEFT_OUT)), count - 1), 2)
    return np.sort(rng.permutation(count)[:kept])


def _nuclear(cross: np.ndarray) -> float:
    """Sum of singular values of (A, B), by the smaller Gram matrix: for a spread, its 1e-8 relative error does."""
    if cross.shape[0] > cross.shape[1]:
        cross = cross.T
    return float(np.sqrt(np.clip(np.linalg.eigvalsh(cross @ cross.T), 0, None)).sum())


def _distance(one: np.ndarray, other: np.ndarray, between: np.ndarray) -> float:
    """FID of two sets out of the products of their features: (N, N), (M, M) and (N, M)."""
    means = one.mean() + other.mean() - 2 * between.mean()  # |mu_1 - mu_2|^2
    traces = sum((np.trace(gram) - gram.mean() * len(gram)) / (len(gram) - 1) for gram in (one, other))
    centred = between - between.mean(0) - between.mean(1, keepdims=True) + between.mean()
    return float(means + traces - 2 * _nuclear(centred) / np.sqrt((len(one) - 1) * (len(other) - 1)))


@dataclass(frozen=True)
class _Direct:
    """Subsets of two sets of features, moments computed anew."""

    one: np.ndarray
    other: np.ndarray

    def __call__(self, rng: np.random.Generator) -> float:
        i, j = _subset(len(self.one), rng), _subset(len(self.other), rng)
        return frechet_distance(from_features(self.one[i]), from_features(self.other[j]))


class _Products:
    """Subsets of two sets of features, by their products."""

    def __init__(self, one: np.ndarray, other: np.ndarray) -> None:
        self.one, self.other, self.between = one @ one.T, other @ other.T, one @ other.T

    def __call__(self, rng: np.random.Generator) -> float:
        i, j = _subset(len(self.one), rng), _subset(len(self.other), rng)
        return _distance(self.one[np.ix_(i, i)], self.other[np.ix_(j, j)], self.between[np.ix_(i, j)])


class _Fixed:
    """Subsets of one set of features against statistics that stay as they are."""

    def __init__(self, one: np.ndarray, other: Gaussian) -> None:
        self.one, self.other = one, other
        self.products = one @ other.factor.T  # (N, R)

    def __call__(self, rng: np.random.Generator) -> float:
        i = _subset(len(self.one), rng)
        rows, products = self.one[i], self.products[i]
        mean = rows.mean(0)
        trace = np.sum((rows - mean) ** 2) / (len(i) - 1)
        cross = _nuclear(products - products.mean(0)) / np.sqrt(len(i) - 1)
        return float(np.sum((mean - self.other.mean) ** 2) + trace + self.other.trace - 2 * cross)


def between_real(reference: np.ndarray, images: int, splits: int = 20, seed: int = 0) -> np.ndarray:
    """What `images` real images would score: FIDs (splits,) of subsets of the reference, features (M, D), M >= 4.

    Each split compares a subset with the rest, so that no image is on both sides. To first order the distance of two
    sets of N and M images from one distribution goes with 1/N + 1/M, by which it is brought to the actual counts.
    """
    features = np.asarray(reference, np.float64)
    features = features - features.mean(0)
    total = len(features)
    part = min(images, total // 2)
    rng, found = np.random.default_rng(seed), []
    gram = features @ features.T
    for _ in range(splits):
        order = rng.permutation(total)
        i, j = order[:part], order[part:]
        found.append(_distance(gram[np.ix_(i, i)], gram[np.ix_(j, j)], gram[np.ix_(i, j)]))
    return np.array(found) * ((1 / images + 1 / total) / (1 / part + 1 / (total - part)))
