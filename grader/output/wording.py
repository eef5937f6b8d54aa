"""What outputs say of a row, each in its own markup: points, likely cause, and what went wrong, by its fields."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from grader.records import PENDING, Check, Result, Row, Verdict
from grader.text import number

LONGEST = 4000  # characters shown of a message
SETTLED = frozenset({Verdict.PASSED, Verdict.NEEDS_REVIEW})  # where nothing was lost, as far as is known

# Sign and meaning: the sign tells verdicts apart without colour, the meaning stands in a page's legend.
VERDICTS = {
    Verdict.GRADER_ERROR: ("!", "The grader itself failed. It costs no marks: the points are pending."),
    Verdict.NEEDS_REVIEW: ("?", "A person decides. The points are pending until then."),
    Verdict.MISSING: ("✗", "The file, class or function was not found in the submission."),
    Verdict.NOT_IMPLEMENTED: ("✗", "Still the placeholder, or it returns nothing."),
    Verdict.CRASHED: ("✗", "The code raised an error, or ended its process."),
    Verdict.TIMEOUT: ("✗", "The code did not answer in time."),
    Verdict.OUT_OF_MEMORY: ("✗", "The code went over the memory limit."),
    Verdict.FAILED: ("✗", "The code ran and computed something else than it should."),
    Verdict.PARTIAL: ("◐", "Right in parts."),
    Verdict.PASSED: ("✓", "Everything right."),
    Verdict.SKIPPED: ("–", "Not judged. The message names what it waited for."),
}


@dataclass(frozen=True)
class Part:
    """A piece of what is said of a row; `label` names the field that it is, and is empty for a plain message."""

    label: str
    text: str

    @property
    def code(self) -> bool:
        """Whether its columns are meant to line up."""
        return self.label in ("expected", "got", "where")


def lost(result: Result) -> list[Row]:
    """The rows of a result that something went wrong in."""
    return [row for row in result.shown if row.verdict not in SETTLED]


def earned(record: Row | Check | Result) -> str:
    """Points of how many: "3 of 4"."""
    return f"{number(record.points)} of {number(record.max)}"


def marks(result: Result) -> dict[str, str]:
    """Points by the rows' ids, as cells of a spreadsheet: empty where a person decides."""
    return {row.id: "" if row.verdict in PENDING else number(row.points) for row in result.rows}


def likely(row: Row) -> list[str]:
    """The diagnosis of a row in lines; none without one."""
    known = row.diagnosis
    return list(filter(None, [f"likely: {known.title}", known.hint, known.equation])) if known else []


def parts(check: Check) -> list[Part]:
    """What a check has to say, by its fields; where it has none, as in results of older graders, its message."""
    lead = "" if check.checked else check.message.removesuffix(f"\nwhere: {check.where}")
    labels = ("checked", "expected", "got", "where", "equation")
    found = [Part("", lead), *(Part(label, getattr(check, label)) for label in labels)]
    return [part for part in found if part.text.strip()]


def statements(row: Row) -> Iterator[tuple[list[Check], list[Part]]]:
    """What is to be read about a row: its own message unless a check says the same, then what each check says.

    Neighbours with one message, such as all checks of a function that crashed, speak together. The equation of the
    diagnosis is not repeated.
    """
    if row.message.strip() and row.message not in {check.message for check in row.checks}:
        yield [], [Part("", row.message)]
    said = Part("equation", row.diagnosis.equation if row.diagnosis else "")
    for _, neighbours in groupby(row.checks, key=lambda check: check.message):
        checks = list(neighbours)
        yield checks, [part for part in parts(checks[0]) if part != said]
