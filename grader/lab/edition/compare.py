"""Comparing what your code returned with what is right, and saying it in words."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).parent
GOLDEN = dict(np.load(HERE / "public_golden.npz", allow_pickle=False))
TOLERANCES = json.loads((HERE / "public_golden.json").read_text(encoding="utf-8"))["tolerances"]
ATOL = TOLERANCES["atol"]
STANDARD_ERRORS = TOLERANCES["standard_errors"]
T = int(GOLDEN["schedule"][0])
BETA_1, BETA_T = (float(beta) for beta in GOLDEN["schedule"][1:])


class Wrong(Exception):
    """A check that failed: what was checked, what was expected, what came, where, and a hint."""

    def __init__(self, checked: str, expected: str, got: str, where: str, hint: str):
        super().__init__(checked)
        self.parts = {"checked": checked, "expected": expected, "got": got, "where": where, "hint": hint}


def golden(name: str) -> torch.Tensor:
    """An array of the golden file as a tensor, float32 unless it holds integers."""
    array = torch.from_numpy(GOLDEN[name].copy())  # your code may change what it is given
    return array if array.dtype == torch.int64 else array.float()


def check_tensor(got: object, shape: tuple, checked: str, where: str) -> torch.Tensor:
    """`got`, if it is a finite floating-point tensor of this shape; raises Wrong otherwise."""
    if not isinstance(got, torch.Tensor):
        hint = "a branch without a return statement returns None" if got is None else "return the tensor itself"
        raise Wrong(checked, f"a tensor of shape {shape}", f"{type(got).__name__}", where, hint)
    if tuple(got.shape) != tuple(shape):
        raise Wrong(
            checked,
            f"shape {tuple(shape)}",
            f"shape {tuple(got.shape)}",
            where,
            "values looked up at t need as many axes as x, or they broadcast along the wrong one",
        )
    if not got.is_floating_point():
        raise Wrong(
            checked,
            "floating-point numbers",
            f"dtype {got.dtype}",
            where,
            "something was rounded to integers",
        )
    if not torch.isfinite(got).all():
        bad = int((~torch.isfinite(got)).sum())
        raise Wrong(
            checked,
            "finite numbers",
            f"{bad} of {got.numel()} are NaN or infinite",
            where,
            "look for a division by zero or the square root of a negative number, at t = 0 above all",
        )
    return got


def check_close(got: object, expected: torch.Tensor, checked: str, where: str, hint: str, atol: float = ATOL) -> None:
    """Raise Wrong unless `got` equals `expected` up to `atol`, number by number."""
    got = check_tensor(got, tuple(expected.shape), checked, where)
    error = (got.detach().double() - expected.double()).abs()
    if error.max() <= atol:
        return
    place = np.unravel_index(int(error.argmax()), error.shape)
    index = f" at index {[int(i) for i in place]}" if place else ""
    raise Wrong(
        checked,
        f"{expected[place].item():.5f}{index}",
        f"{got[place].item():.5f} (off by {error.max().item():.2g}; {int((error > atol).sum())} of "
        f"{error.numel()} numbers are wrong)",
        where,
        hint,
    )


def check_statistics(got: torch.Tensor, mean: torch.Tensor, spread: float, where: str, hints: dict[str, str]) -> None:
    """Raise Wrong unless `got` looks like draws from N(mean, spread^2). got: (N, K); mean: (K,)."""
    number = got.shape[0]
    if spread == 0.0:
        check_close(got, mean.expand_as(got), "the result at t = 0, where no noise is added", where, hints["t0"])
        return
    limit = STANDARD_ERRORS * spread / number**0.5
    checked = f"the mean of {number:,} results from the same x_t"
    check_close(got.double().mean(0), mean, checked, where, hints["mean"], atol=limit + ATOL)
    rest = got.double() - mean.double()
    found = rest.std().item()
    if abs(found - spread) > STANDARD_ERRORS * spread / (2 * got.numel()) ** 0.5 + ATOL:
        checked = f"the spread (standard deviation) of {number:,} results from the same x_t"
        raise Wrong(checked, f"{spread:.4f}", f"{found:.4f}", where, hints["spread"])
    correlation = torch.corrcoef(rest[:, :2].T)[0, 1].item()
    if abs(correlation) > STANDARD_ERRORS / number**0.5:
        checked = "that each number has noise of its own"
        hint = "draw the noise in the shape of x_t"
        raise Wrong(checked, "correlation 0.00", f"correlation {correlation:.2f}", where, hint)


def with_any_t(call: Callable, t: int, shape: tuple, int_first: bool) -> object:
    """`call` with the first form of t that it accepts: an int, or a tensor of shape (), (1,) or (B,).

    `int_first`: whether the lab's own loop passes an int. If all are refused, raises as the first did.
    """
    forms: list[int | torch.Tensor] = [torch.tensor(t), torch.tensor([t]), torch.full((shape[0],), t)]
    forms.insert(0 if int_first else 1, t)
    first_error: Exception | None = None
    other: object = None
    for form in forms:
        try:
            result = call(form)
        except NotImplementedError:
            raise
        except Exception as error:
            first_error = first_error or error
            continue
        if isinstance(result, torch.Tensor) and tuple(result.shape) == tuple(shape):
            return result
        other = result
    if other is None and first_error:
        raise first_error
    return other


def t_of(t: object) -> int:
    """The timestep in any of its forms as a number."""
    return int(torch.as_tensor(t).reshape(-1)[0])
