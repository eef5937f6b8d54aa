"""Comparing what your code returned with what is right, and saying it in words."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from grader.finding import Finding
from grader.judging.comparison import misformed, worst

HERE = Path(__file__).parent
GOLDEN = {
    name: array
    for file in ("public_golden.npz", "companions_plane.npz")
    for name, array in np.load(HERE / file, allow_pickle=False).items()
}
TOLERANCES = json.loads((HERE / "public_golden.json").read_text(encoding="utf-8"))["tolerances"]
ATOL = TOLERANCES["atol"]
STANDARD_ERRORS = TOLERANCES["standard_errors"]
T = int(GOLDEN["schedule"][0])
BETA_1, BETA_T = (float(beta) for beta in GOLDEN["schedule"][1:])


class Wrong(Exception):
    """A check that failed: what was checked, what was expected, what came, where, and a hint."""

    def __init__(self, checked: str, expected: str, got: str, where: str, hint: str):
        super().__init__(checked)
        self.finding, self.hint = Finding(checked, expected, got, where), hint

    @property
    def parts(self) -> dict[str, str]:
        return {name: text for name, text in asdict(self.finding).items() if text} | {"hint": self.hint}


def golden(name: str) -> torch.Tensor:
    """An array of the golden file as a tensor, float32 unless it holds integers."""
    array = torch.from_numpy(GOLDEN[name].copy())  # your code may change what it is given
    return array if array.dtype == torch.int64 else array.float()


def as_array(tensor: torch.Tensor) -> NDArray:
    """A tensor for numpy, which has no bfloat16: floating-point numbers become float64."""
    tensor = tensor.detach().cpu()
    return np.asarray((tensor.double() if tensor.is_floating_point() else tensor).numpy())


def check_tensor(got: object, shape: tuple, checked: str, where: str) -> torch.Tensor:
    """`got`, if it is a finite floating-point tensor of this shape; raises Wrong otherwise."""
    if not isinstance(got, torch.Tensor):
        hint = "a branch without a return statement returns None" if got is None else "return the tensor itself"
        raise Wrong(checked, f"a tensor of shape {shape}", f"{type(got).__name__}", where, hint)
    wrong = misformed(as_array(got), tuple(shape), checked)
    if wrong is None:
        return got
    if got.shape != tuple(shape):
        hint = "values looked up at t need as many axes as x, or they broadcast along the wrong one"
    elif not got.is_floating_point():
        hint = "something was rounded to integers"
    else:
        hint = "look for a division by zero or the square root of a negative number, at t = 0 above all"
    raise Wrong(checked, wrong.expected, wrong.got, where, hint)


def check_close(got: object, expected: torch.Tensor, checked: str, where: str, hint: str, atol: float = ATOL) -> None:
    """Raise Wrong unless `got` equals `expected` up to `atol`, number by number."""
    got = check_tensor(got, tuple(expected.shape), checked, where)
    miss = worst(as_array(got), as_array(expected), atol)
    if miss is None:
        return
    index = f" at index {list(miss.index)}" if miss.index else ""
    raise Wrong(
        checked,
        f"{miss.expected:.5f}{index}",
        f"{miss.got:.5f} (off by {miss.error:.2g}; {miss.wrong} of {got.numel()} numbers are wrong)",
        where,
        hint,
    )


def check_kept(before: torch.Tensor, after: torch.Tensor, name: str, where: str) -> None:
    """Raise Wrong where your code changed a tensor that it was given."""
    if not torch.equal(before, after):
        hint = f"operations such as {name} *= ... change the caller's tensor"
        raise Wrong(f"that {name} is left as it was", "unchanged", "changed", where, hint)
