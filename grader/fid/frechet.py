"""Fréchet distance and KID in float64, from singular values instead of a matrix square root.

Heusel et al. 2017 (https://arxiv.org/abs/1706.08500), Eq. 6: d^2 = |mu_1 - mu_2|^2 + Tr(S_1 + S_2 - 2 (S_1 S_2)^(1/2)).
Write each covariance as S = F^T F. The non-zero eigenvalues of S_1 S_2 are the squared singular values of F_1 F_2^T,
so that Tr((S_1 S_2)^(1/2)) is the nuclear norm of that product: no square root of a singular matrix, no imaginary part.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from grader.fid.images import NotMeasurable


@dataclass(frozen=True)
class Gaussian:
    """Mean (D,) and a factor (R, D) of the covariance, S = factor^T factor."""

    mean: np.ndarray
    factor: np.ndarray

    @property
    def trace(self) -> float:
        """Trace of the covariance."""
        return float(np.sum(self.factor**2))


def from_features(features: np.ndarray) -> Gaussian:
    """Moments of features (N, D), N >= 2, with the unbiased covariance (divided by N - 1)."""
    features = np.asarray(features, np.float64)
    mean = features.mean(0)
    factor = (features - mean) / np.sqrt(len(features) - 1)
    if len(factor) > factor.shape[1]:
        factor = np.linalg.qr(factor, mode="r")  # S = R^T Q^T Q R: D rows do for any number of images
    return Gaussian(mean, factor)


def from_statistics(mean: np.ndarray, covariance: np.ndarray) -> Gaussian:
    """The Gaussian of a known mean (D,) and covariance (D, D); negative eigenvalues are rounding and are dropped."""
    values, vectors = np.linalg.eigh(np.asarray(covariance, np.float64))
    kept = values > values[-1] * len(values) * np.finfo(np.float64).eps
    return Gaussian(np.asarray(mean, np.float64), np.sqrt(values[kept])[:, None] * vectors[:, kept].T)


def read_statistics(path: Path) -> Gaussian:
    """Read `mu` and `sigma` of an .npz as `pytorch_fid --save-stats` writes it. Raises NotMeasurable."""
    try:
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
            mean, covariance = file["mu"], file["sigma"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise NotMeasurable(
            f"{path} does not hold the statistics 'mu' and 'sigma': {error}\n"
            "write them with: python -m pytorch_fid --save-stats FOLDER FILE.npz"
        ) from error
    if (
        mean.ndim != 1
        or covariance.shape != (len(mean), len(mean))
        or not (np.isfinite(mean).all() and np.isfinite(covariance).all())
    ):
        raise NotMeasurable(
            f"{path}: 'mu' has shape {mean.shape} and 'sigma' {covariance.shape}; finite (D,) and (D, D) are needed"
        )
    return from_statistics(mean, covariance)


def frechet_distance(one: Gaussian, other: Gaussian) -> float:
    """Squared Fréchet distance of two Gaussians, the FID; never below zero."""
    cross = np.linalg.svd(one.factor @ other.factor.T, compute_uv=False).sum()  # Tr((S_1 S_2)^(1/2))
    distance = np.sum((one.mean - other.mean) ** 2) + one.trace + other.trace - 2 * cross
    return max(float(distance), 0.0)


def kernel_distance(one: np.ndarray, other: np.ndarray) -> float:
    """KID of features (N, D) and (M, D): unbiased squared MMD over all pairs, kernel (x.y / D + 1)^3.

    Binkowski et al. 2018 (https://arxiv.org/abs/1801.01401), Eq. 4 and Sec. 4; their average over subsets is left out,
    as all pairs fit in memory and have less variance. May be slightly negative, being unbiased.
    """
    one, other = np.asarray(one, np.float64), np.asarray(other, np.float64)

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.asarray((a @ b.T / a.shape[1] + 1) ** 3)

    def within(a: np.ndarray) -> float:
        gram = kernel(a, a)
        return float((gram.sum() - np.trace(gram)) / (len(a) * (len(a) - 1)))

    return within(one) + within(other) - 2 * float(kernel(one, other).mean())
