"""Names the likely misconception behind a wrong row by matching what was observed with what each would compute."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from grader.records import Diagnosis


@dataclass(frozen=True)
class Misconception:
    """One catalogued mistake. `matches` sees an observation of the row's own type, and says whether it fits."""

    id: str
    title: str
    hint: str
    equation: str
    matches: Callable[[Any], bool]

    @property
    def diagnosis(self) -> Diagnosis:
        return Diagnosis(self.id, self.title, self.hint, self.equation)


def about(equation: str, *entries: tuple[str, str, str, Callable[[Any], bool]]) -> tuple[Misconception, ...]:
    """Misconceptions about one equation, each as (id, title, hint, matches)."""
    return tuple(Misconception(id_, title, hint, equation, matches) for id_, title, hint, matches in entries)


def diagnose(catalogue: Iterable[Misconception], observations: list[Any]) -> list[Diagnosis]:
    """Every misconception that fits what was observed, the likeliest first; empty where none does."""
    return [entry.diagnosis for entry in catalogue if any(map(entry.matches, observations))]
