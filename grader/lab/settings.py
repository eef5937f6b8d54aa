"""Settings of schedules under which rows are judged.

Rows with points are judged under settings that are drawn anew for every grading, so that there is nothing to copy:
only code that computes is right under all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from grader.lab.reference import Schedule

# The companion exercises' setting, for no points.
SHORT: dict[str, Any] = {"T": 10, "beta_1": 0.01, "beta_T": 0.3, "mode": "linear"}
NOTEBOOK: dict[str, Any] = {"T": 1000, "beta_1": 1e-4, "beta_T": 0.02, "mode": "linear"}  # as the notebook trains


@dataclass(frozen=True)
class Setting:
    """A linear schedule: T steps, betas from beta_1 to beta_T."""

    T: int
    beta_1: float
    beta_T: float

    @property
    def params(self) -> dict[str, Any]:
        """As a request carries it."""
        return {"T": self.T, "beta_1": self.beta_1, "beta_T": self.beta_T, "mode": "linear"}

    @property
    def schedule(self) -> Schedule:
        return Schedule.linear(self.T, self.beta_1, self.beta_T)

    @classmethod
    def short(cls, rng: np.random.Generator) -> Setting:
        """Few steps with large betas, so that a mistake at any t moves a coefficient far beyond rounding."""
        return cls(int(rng.integers(9, 15)), float(rng.uniform(0.006, 0.02)), float(rng.uniform(0.25, 0.35)))

    @classmethod
    def long(cls, rng: np.random.Generator) -> Setting:
        """Like the notebook's, T = 1000 and betas from 1e-4 to 0.02, with other steps and more or less noise."""
        T = int(rng.integers(800, 1201))
        last = NOTEBOOK["beta_T"] * NOTEBOOK["T"] / T
        return cls(T, float(rng.uniform(0.5e-4, 2e-4)), last * float(rng.uniform(0.7, 1.4)))
