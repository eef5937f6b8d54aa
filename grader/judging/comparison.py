"""Compares what came back with what is expected: form first, then values. What is not finite never matches."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from grader.records import Finding
from grader.sandbox import Answer

Array = NDArray[np.float64]
Arrays = dict[str, NDArray[Any]]

# With T = 10 and betas from 0.01 to 0.3, right rewrites in float32 agree to 3e-6 and every known mistake moves a
# coefficient by 5e-4 or more: 1e-4 tells them apart.
ATOL = 1e-4


def take(answer: Answer, name: str, shape: tuple[int, ...], checked: str) -> tuple[Array | None, Finding | None]:
    """Tensor `name` of an answer in float64: (tensor, None), or (None, what is wrong with its form)."""
    value = answer.arrays.get(name)
    if value is None:
        return None, Finding(checked, f"a tensor of shape {shape}", "none")
    if value.shape != shape:
        return None, Finding(checked, f"shape {shape}", f"shape {value.shape}")
    if not np.issubdtype(value.dtype, np.floating):
        return None, Finding(checked, "a floating-point tensor", f"dtype {value.dtype}")
    if not np.isfinite(value).all():
        bad = np.argwhere(~np.isfinite(value))
        return None, Finding(
            checked,
            "finite numbers",
            f"{len(bad)} of {value.size} are NaN or infinite, the first at {list(map(int, bad[0]))}",
        )
    return value.astype(np.float64), None


def off(got: Array, expected: Array, atol: float = ATOL) -> str | None:
    """None where `got` equals `expected` to `atol` (absolute, and relative to values above 1); else the worst place."""
    error = np.abs(got - expected) / np.maximum(1.0, np.abs(expected))
    if not error.size or error.max() <= atol:
        return None
    worst = np.unravel_index(int(error.argmax()), error.shape)
    place = f" at {[int(i) for i in worst]}" if got.ndim else ""
    return (
        f"off by up to {abs(got[worst] - expected[worst]):.3g}{place}: {got[worst]:.5g} where "
        f"{expected[worst]:.5g} is expected (shape {got.shape})"
    )
