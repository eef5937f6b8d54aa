"""Compares what came back with what is expected: form first, then values. What is not finite never matches.

Students are given this file: their own check compares as the judge does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from grader.finding import Finding

if TYPE_CHECKING:
    from grader.judging.border import Answer

Array = NDArray[np.float64]
Arrays = dict[str, NDArray[Any]]

# Right rewrites in float32 agree to some 1e-6 on numbers of size 1, which few steps with large betas give.
ATOL = 1e-4


def take(answer: Answer, name: str, shape: tuple[int, ...], checked: str) -> tuple[Array | None, Finding | None]:
    """Tensor `name` of an answer in float64: (tensor, None), or (None, what is wrong with its form)."""
    value = answer.arrays.get(name)
    if value is None:
        misfit = answer.misfits.get(name)
        if misfit:
            return None, Finding(checked, misfit.expected, misfit.got)
        return None, Finding(checked, f"a tensor of shape {shape}", "none")
    wrong = misformed(value, shape, checked)
    return (None, wrong) if wrong else (value.astype(np.float64), None)


def misformed(value: NDArray[Any], shape: tuple[int, ...], checked: str) -> Finding | None:
    """What is wrong with the form of `value`, which is to have `shape` and hold finite floating-point numbers."""
    if value.shape != shape:
        return Finding(checked, f"shape {shape}", f"shape {value.shape}")
    if not np.issubdtype(value.dtype, np.floating):
        return Finding(checked, "a floating-point tensor", f"dtype {value.dtype}")
    bad = not_finite(value)
    return Finding(checked, "finite numbers", bad) if bad else None


def not_finite(value: NDArray[Any]) -> str | None:
    """None where all numbers are finite; else how many are not, and where."""
    bad = np.argwhere(~np.isfinite(value))
    if not len(bad):
        return None
    return f"{len(bad)} of {value.size} are NaN or infinite, the first at {list(map(int, bad[0]))}"


@dataclass(frozen=True)
class Miss:
    """The worst number of an array that is not what it should be, and how many others are wrong as well."""

    index: tuple[int, ...]
    got: float
    expected: float
    wrong: int

    @property
    def error(self) -> float:
        return abs(self.got - self.expected)


def worst(got: Array, expected: Array, atol: float = ATOL) -> Miss | None:
    """None where `got` equals `expected` to `atol` (absolute, and relative to values above 1)."""
    error = np.abs(got - expected) / np.maximum(1.0, np.abs(expected))
    if not error.size or error.max() <= atol:
        return None
    index = tuple(int(i) for i in np.unravel_index(int(error.argmax()), error.shape))
    return Miss(index, float(got[index]), float(expected[index]), int((~(error <= atol)).sum()))


def off(got: Array, expected: Array, atol: float = ATOL) -> str | None:
    """None where `got` equals `expected` as `worst` has it; else the worst place in words."""
    miss = worst(got, expected, atol)
    if miss is None:
        return None
    place = f" at {list(miss.index)}" if miss.index else ""
    return (
        f"off by up to {miss.error:.3g}{place}: {miss.got:.5g} where "
        f"{miss.expected:.5g} is expected (shape {got.shape})"
    )
