"""Checks of warmup.py, whose draws are seeded: each stored case has one right answer."""

from __future__ import annotations

from collections.abc import Callable

import torch

from grader.lab.edition.compare import GOLDEN, check_close, check_kept


def check_cases(exercise: str, function: Callable, names: tuple[str, ...], hint: str) -> None:
    """Call `function` on every stored case of `exercise`, with gradients disabled."""
    count = len({name.split(".")[1] for name in GOLDEN if name.startswith(f"{exercise}.")})
    for number in range(count):
        stored = [GOLDEN[f"{exercise}.{number}.in.{name}"] for name in names]
        given = [torch.from_numpy(value.copy()) if value.ndim else value.item() for value in stored]
        sizes = ", ".join(f"{name} {value.shape}" for name, value in zip(names, stored, strict=True) if value.ndim)
        where = f"{function.__name__} in warmup.py, {sizes}, seed {given[-1]}"
        with torch.no_grad():
            out = function(*given)
        expected = torch.from_numpy(GOLDEN[f"{exercise}.{number}.out"])
        check_close(out, expected, f"the result of {function.__name__}", where, hint)
        for name, before, after in zip(names, stored, given, strict=True):
            if before.ndim:
                check_kept(torch.from_numpy(before), after, name, where)
