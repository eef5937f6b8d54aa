"""Least squares: reads the coefficients of a linear combination off what came back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from grader.judging.comparison import Array


@dataclass(frozen=True)
class Fit:
    """target = sum_i coefficients[i] column_i + left. coefficients: (n,); left: (target.size,)."""

    coefficients: tuple[float, ...]
    left: Array
    columns: Array  # (target.size, n)

    @property
    def residual(self) -> float:
        """Largest entry of the target that the columns do not explain."""
        return float(np.abs(self.left).max())

    @property
    def spread(self) -> float:
        """Standard deviation of what is left: that of the noise, where the rest is right."""
        return float(self.left.std())

    @property
    def errors(self) -> tuple[float, ...]:
        """One standard error of each coefficient, where what is left is noise."""
        variances = np.diag(np.linalg.pinv(self.columns.T @ self.columns))
        return tuple(float(error) for error in self.spread * np.sqrt(np.abs(variances)))


def fit(target: Array, *columns: Array) -> Fit:
    """The combination of `columns` nearest to `target`, all of one shape; exact to rounding where target is one."""
    table = np.stack([np.asarray(column, dtype=float).ravel() for column in columns], axis=1)
    flat = np.asarray(target, dtype=float).ravel()
    solution, *_ = np.linalg.lstsq(table, flat, rcond=None)
    return Fit(tuple(map(float, solution)), flat - table @ solution, table)
