"""A misconception: how it is recognised in what was observed, and what its student is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from grader.records import Diagnosis


@dataclass(frozen=True)
class Misconception:
    """One catalogued mistake. `matches` sees an observation of the rows' own type, and says whether it fits."""

    id: str
    rows: tuple[str, ...]
    title: str
    hint: str
    equation: str
    matches: Callable[[Any], bool]

    @property
    def diagnosis(self) -> Diagnosis:
        return Diagnosis(self.id, self.title, self.hint, self.equation)
