"""`report.html`: one self-contained page per submission, for the student who reads it and the TA who uses it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from grader.files import write_atomically
from grader.labs import Lab
from grader.output.pages import figure, render_page
from grader.output.wording import LONGEST, VERDICTS, Part, statements
from grader.records import PENDING, Result, Row, Verdict

CUT = {"name": 160, "remark": 600, "message": LONGEST}  # characters shown
MOST = 60  # remarks shown
PAGES = "report-"  # pages of the student's own report, which are for the person who grades them


@dataclass(frozen=True)
class Group:
    """The rows whose ids begin alike, such as those of a half, with their sums."""

    title: str
    rows: list[Row]

    @property
    def points(self) -> float:
        return sum(row.points for row in self.rows)

    @property
    def max(self) -> float:
        return sum(row.max for row in self.rows)


def write_report(result: Result, folder: Path, lab: Lab) -> Path:
    """Write `folder`/report.html and return its path. Raises OSError."""
    path = folder / "report.html"
    write_atomically(path, render(result, folder, lab))
    return path


def render(result: Result, folder: Path, lab: Lab) -> str:
    """The page of `result` as HTML: titles and captions are the lab's; figures are read from `folder`."""
    return render_page(
        "report.html",
        ("report.css",),
        result=result,
        lab=lab,
        verbs=lab.verbs(),
        titles={row.id: row.title for row in lab.rubric},
        groups=list(_groups(result.shown, lab)),
        people=_people(result.rows),
        counts=_counts(result.shown),
        detailed={row.id for row in result.shown if _has_more(row, result)},
        left_alone=[row for row in result.rows if row.left_alone],
        figures=lambda row: [figure(folder, name, lab.captions) for name in _figures(row)[:MOST]],
        statements=statements,
        anchor=_anchor,
        VERDICTS=VERDICTS,
        CUT=CUT,
        MOST=MOST,
    )


def _figures(row: Row) -> list[str]:
    return [name for name in row.evidence if not name.startswith(PAGES)]


def _has_more(row: Row, result: Result) -> bool:
    """Whether a row needs a section of its own, beside its line in the table and the problem at the top."""
    said = ("", result.problem, row.message if row.verdict in PENDING else "")
    return bool(row.checks or row.diagnosis or _figures(row) or row.remarks or row.message not in said)


def _groups(rows: Iterable[Row], lab: Lab) -> Iterable[Group]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.group, []).append(row)
    return (Group(lab.titles.get(name, name), members) for name, members in groups.items())


def _people(rows: Iterable[Row]) -> list[tuple[Verdict, list[Part], list[Row]]]:
    """Rows that wait for a person, those with the same reason together, faults of the grader first."""
    waiting: dict[tuple[Verdict, str], list[Row]] = {}
    for row in sorted((row for row in rows if row.verdict in PENDING), key=lambda row: row.verdict.rank):
        waiting.setdefault((row.verdict, row.message), []).append(row)
    return [
        (verdict, [Part("", message)] if message.strip() else [], members)
        for (verdict, message), members in waiting.items()
    ]


def _counts(rows: list[Row]) -> list[tuple[Verdict, int]]:
    """How many rows have each verdict that occurs: the best first, what was not judged last."""
    order = sorted(Verdict, key=lambda verdict: (verdict is Verdict.SKIPPED, -verdict.rank))
    counts = [(verdict, sum(row.verdict is verdict for row in rows)) for verdict in order]
    return [(verdict, count) for verdict, count in counts if count]


def _anchor(row_id: str) -> str:
    """`row_id` as a fragment of a URL and an id in the page."""
    return "row-" + re.sub(r"[^A-Za-z0-9_.-]", "-", row_id)[:80]
