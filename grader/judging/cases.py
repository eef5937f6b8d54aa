"""What a made-up submission is, and what the grader must say about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from grader.records import Verdict
from grader.tools.builder import build


@dataclass(frozen=True)
class Case:
    """A submission that differs from the solved lab in one place.

    bodies, replace, files: see builder.build. `row` is the one that suffers (None: every code row passes), with the
    points that it earns and the id of the diagnosis (None: nothing fits); every other row must pass untouched.
    """

    name: str
    row: str | None = None
    points: float = 0.0
    diagnosis: str | None = None
    bodies: dict[str, str] = field(default_factory=dict)
    replace: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    files: dict[str, str | bytes | None] = field(default_factory=dict)
    verdict: Verdict = Verdict.FAILED

    def write(self, folder: Path) -> Path:
        """Build the submission in `folder / name`."""
        return build(folder / self.name, self.bodies, self.files, self.replace)


def mistake(
    row: str,
    diagnosis: str | None,
    points: float,
    body: str = "",
    *,
    name: str = "",
    replace: dict[str, list[tuple[str, str]]] | None = None,
    verdict: Verdict = Verdict.FAILED,
) -> Case:
    """A case in the TODO block of the row. `name`: what follows the row in the case's name, if not the diagnosis."""
    label = f"{row.split('.')[1]}-{name or diagnosis}"
    return Case(label, row, points, diagnosis, {row: body} if body else {}, replace or {}, {}, verdict)
