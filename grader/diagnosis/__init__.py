"""Names the likely misconception behind a wrong row by matching what was observed with what each would compute."""

from __future__ import annotations

from typing import Any

from grader.diagnosis import (
    companions_images,
    companions_plane,
    cosine,
    forward,
    loop,
    losses,
    reverse,
    simplenet,
    training,
)
from grader.diagnosis.base import Misconception
from grader.records import Diagnosis

CATALOGUE: tuple[Misconception, ...] = tuple(
    simplenet.CATALOGUE
    + forward.CATALOGUE
    + reverse.CATALOGUE
    + loop.CATALOGUE
    + losses.CATALOGUE
    + cosine.CATALOGUE
    + training.CATALOGUE
    + companions_plane.CATALOGUE
    + companions_images.CATALOGUE
)


def diagnose(row_id: str, observations: list[Any]) -> list[Diagnosis]:
    """Every misconception of the row that fits what was observed, the likeliest first; empty where none does."""
    return [
        entry.diagnosis
        for entry in CATALOGUE
        if row_id in entry.rows and any(entry.matches(observation) for observation in observations)
    ]


__all__ = ["CATALOGUE", "Misconception", "diagnose"]
