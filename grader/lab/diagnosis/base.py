"""An entry of a catalogue that several rows share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from grader.judging import diagnosis


@dataclass(frozen=True)
class Misconception:
    """A misconception, and the rows that it is about."""

    id: str
    rows: tuple[str, ...]
    title: str
    hint: str
    equation: str
    matches: Callable[[Any], bool]


def of_row(catalogue: list[Misconception], row_id: str) -> tuple[diagnosis.Misconception, ...]:
    """What a catalogue knows of a row."""
    return tuple(
        diagnosis.Misconception(entry.id, entry.title, entry.hint, entry.equation, entry.matches)
        for entry in catalogue
        if row_id in entry.rows
    )
