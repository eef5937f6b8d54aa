"""Names the likely misconception behind a wrong row by matching what was observed with what each would compute."""

from __future__ import annotations

from grader.lab.diagnosis import (
    companions_images,
    companions_plane,
    forward,
    losses,
)
from grader.lab.diagnosis.base import Misconception

CATALOGUE: tuple[Misconception, ...] = (
    *forward.CATALOGUE,
    *losses.CATALOGUE,
    *companions_plane.CATALOGUE,
    *companions_images.CATALOGUE,
)


__all__ = ["CATALOGUE", "Misconception"]
