"""Names the likely misconception behind a wrong row by matching what was observed with what each would compute."""

from __future__ import annotations

from grader.lab.diagnosis import (
    cosine,
    forward,
    loop,
    losses,
    simplenet,
    training,
)
from grader.lab.diagnosis.base import Misconception

CATALOGUE: tuple[Misconception, ...] = tuple(
    simplenet.CATALOGUE + forward.CATALOGUE + loop.CATALOGUE + losses.CATALOGUE + cosine.CATALOGUE + training.CATALOGUE
)


__all__ = ["CATALOGUE", "Misconception"]
