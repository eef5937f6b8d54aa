"""The results in a run's folder OUT: OUT/<id>/result.json for each submission."""

from __future__ import annotations

from pathlib import Path

from grader.errors import UsageError
from grader.records import Result


def graded(out: Path) -> list[Result]:
    """The results of a run's folder that count, sorted by id. Raises UsageError where there are none."""
    found = results_in(out)
    if not found:
        raise UsageError(f"{out} holds no results: `ddpm-grader grade SUBMISSION... --out {out}` writes them")
    return found


def results_in(out: Path) -> list[Result]:
    """As `graded`, but none is no error; what cannot be read is no result."""
    return [
        result
        for file in sorted(out.glob("*/result.json"))
        if not file.parent.name.startswith(".") and (result := read_result(file))
    ]


def read_result(file: Path) -> Result | None:
    """The result in a result.json, None for a file that is none, or of another schema."""
    try:
        return Result.from_json(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
