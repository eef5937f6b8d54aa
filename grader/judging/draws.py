"""Whether numbers look like independent draws from N(0, 1), and if not, in which way."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from grader.judging.comparison import Array

ENOUGH_FOR_TAILS = 4000  # of fewer draws the fourth moment strays far beyond its standard errors


class Oddity(StrEnum):
    """How draws differ from independent ones from N(0, 1)."""

    SHARED_BY_COORDINATES = "the coordinates of a sample share their noise"
    SHARED_BY_SAMPLES = "the samples of a batch share their noise"
    SPREAD = "the standard deviation is not 1"
    MEAN = "the mean is not 0"
    NOT_GAUSSIAN = "the draws are not Gaussian"

    @property
    def is_shared(self) -> bool:
        return self in (Oddity.SHARED_BY_COORDINATES, Oddity.SHARED_BY_SAMPLES)


@dataclass(frozen=True)
class OddDraws:
    """What is odd about some draws, and what a student reads of it."""

    kind: Oddity
    text: str

    def __str__(self) -> str:
        return self.text


def odd_draws(z: Array) -> OddDraws | None:
    """None where z (B, ...) looks like independent draws from N(0, 1), else how it does not.

    Every bound is six standard errors or more of its statistic, so that a right answer fails once in 10^8 runs.
    """
    flat = z.reshape(len(z), -1)
    n, (batch, width) = flat.size, flat.shape
    mean, std = flat.mean(), flat.std()
    # Shared noise first, on standardised values: few independent draws also move mean and spread.
    unit = (flat - mean) / (std or 1.0)
    across = np.sqrt(width) * unit.mean(axis=1)  # N(0, 1) per sample if the features are independent
    if abs(across.var() - 1.0) > 8.0 * np.sqrt(2.0 / batch):
        return _shared(Oddity.SHARED_BY_COORDINATES)
    down = np.sqrt(batch) * unit.mean(axis=0)  # N(0, 1) per feature if the samples are independent
    if (np.abs(down) > 8.0).any():
        return _shared(Oddity.SHARED_BY_SAMPLES)
    if abs(std - 1.0) > 6.0 / np.sqrt(2.0 * n):
        return OddDraws(Oddity.SPREAD, f"standard deviation {std:.4f} over {n} values")
    if abs(mean) > 6.0 / np.sqrt(n):
        return OddDraws(Oddity.MEAN, f"mean {mean:.4f} over {n} values")
    tails = (flat**4).mean() - 3.0
    if n >= ENOUGH_FOR_TAILS and abs(tails) > 8.0 * np.sqrt(24.0 / n):
        return OddDraws(Oddity.NOT_GAUSSIAN, f"excess kurtosis {tails:.2f}: the draws are not Gaussian")
    return None


def _shared(kind: Oddity) -> OddDraws:
    return OddDraws(kind, kind.value)
