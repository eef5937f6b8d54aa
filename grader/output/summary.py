"""A class at a glance: `summary.csv`, and the table on stdout."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path

from grader.files import write_atomically
from grader.labs import Lab
from grader.output.wording import lost, marks
from grader.records import PENDING, Result, Row, Verdict
from grader.text import field, number, one_line, word

ID_CELLS = 32  # widest id in the text table, in terminal cells
REASON_CELLS = 80  # widest "what went wrong"
NAMED = 3  # rows named in the table before it only counts them


# --- summary.csv


def write_summary(results: Iterable[Result], path: Path, lab: Lab) -> None:
    """Write `summary.csv`: a line a submission, one column of points per rubric row, pending ones left empty.

    Companion exercises, which have no points, share the column `companions`: id and verdict of those that were tried.
    UTF-8 without a byte order mark: with one, everything but Excel would read the first column's name as
    "\\ufeffid". Excel takes such a file through Data > From Text/CSV. Raises OSError.
    """
    results = list(results)
    known = [row.id for row in lab.rubric if row.points]
    others = [row.id for result in results for row in result.rows if row.max and row.id not in known]
    columns = [*known, *dict.fromkeys(others)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["id", "points", "pending", "max", *map(field, columns), "companions", "needs_person", "problem", "sandbox"]
    )
    for result in results:
        points = marks(result)
        companions = [f"{row.id}:{row.verdict}" for row in result.shown if not row.max]
        people = [f"{row.id}:{row.verdict}" for row in result.rows if row.verdict in PENDING]
        writer.writerow(
            [
                field(result.id),
                number(result.points),
                number(result.pending),
                number(result.max),
                *(points.get(column, "") for column in columns),
                field(" ".join(companions)),
                field(" ".join(people)),
                field(result.problem or ""),
                field(result.sandbox),
            ]
        )
    write_atomically(path, text.getvalue())


# --- the table on stdout


def table(results: Iterable[Result], colour: bool) -> str:
    """The text table of `grade`: id, points, pending, and in short what went wrong."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    results = list(results)
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="")
    grid.add_column("id", no_wrap=True, max_width=ID_CELLS)
    grid.add_column("points", justify="right")
    grid.add_column("pending", justify="right")
    grid.add_column("what went wrong", no_wrap=True, max_width=REASON_CELLS)
    for result in results:
        points, pending = f"{number(result.points)}/{number(result.max)}", number(result.pending)
        grid.add_row(*map(Text, (one_line(result.id), points, pending, what_went_wrong(result))))
    drawn = io.StringIO()
    Console(file=drawn, width=4 * REASON_CELLS, color_system=None, force_terminal=False).print(grid)
    lines = [line.rstrip() for line in drawn.getvalue().rstrip("\n").split("\n")]
    paints = ["1", *map(_paint, results)]
    return "\n".join(
        f"\x1b[{paint}m{line}\x1b[0m" if colour else line for line, paint in zip(lines, paints, strict=True)
    )


def what_went_wrong(result: Result) -> str:
    """One line: the problem of the whole submission, or the lost rows with their diagnosis or verdict."""
    if result.problem:
        return one_line(result.problem)
    rows = lost(result)
    diagnosed = [f"{_short(row)}: {one_line(row.diagnosis.title)}" for row in rows if row.diagnosis]
    plain: dict[Verdict, list[Row]] = {}
    for row in sorted((row for row in rows if not row.diagnosis), key=lambda row: row.verdict.rank):
        plain.setdefault(row.verdict, []).append(row)
    grouped = [f"{word(verdict)}: {_named(rows)}" for verdict, rows in plain.items()]
    ours = Verdict.GRADER_ERROR in plain  # a fault of the grader is what its operator has to see first
    return "; ".join([*grouped[:ours], *diagnosed, *grouped[ours:]])


def _short(row: Row) -> str:
    return one_line(row.id.split(".")[-1])


def _named(rows: list[Row]) -> str:
    return ", ".join(map(_short, rows)) if len(rows) <= NAMED else f"{len(rows)} rows"


def _paint(result: Result) -> str:
    """SGR code of a line: red where nothing could be graded, yellow where points were lost, else green."""
    if result.problem:
        return "31"
    return "33" if result.points + result.pending < result.max else "32"
