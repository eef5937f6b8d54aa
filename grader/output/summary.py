"""A class at a glance: `summary.csv`, and the table on stdout."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

from grader.files import write_atomically
from grader.lab import LAB
from grader.records import PENDING, Result, Row, Verdict
from grader.text import field, number, one_line, word

ID_CELLS = 32  # widest id in the text table, in terminal cells
REASON_CELLS = 80  # widest "what went wrong"
NAMED = 3  # rows named in the table before it only counts them


# --- summary.csv


def write_summary(results: Iterable[Result], path: Path) -> None:
    """Write `summary.csv`: a line a submission, one column of points per rubric row, pending ones left empty.

    Companion exercises, which have no points, share the column `companions`: id and verdict of those that were tried.
    UTF-8 without a byte order mark: with one, everything but Excel would read the first column's name as
    "\\ufeffid". Excel takes such a file through Data > From Text/CSV. Raises OSError.
    """
    results = list(results)
    known = [row.id for row in LAB.rubric if row.points]
    others = [row.id for result in results for row in result.rows if row.max and row.id not in known]
    columns = [*known, *dict.fromkeys(others)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["id", "points", "pending", "max", *map(field, columns), "companions", "needs_person", "problem", "sandbox"]
    )
    for result in results:
        points = {row.id: "" if row.verdict in PENDING else number(row.points) for row in result.rows}
        companions = [f"{row.id}:{row.verdict}" for row in result.told if not row.max]
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
    results = list(results)
    head = ("id", "points", "pending", "what went wrong")
    lines = [
        (
            _fit(one_line(result.id), ID_CELLS),
            f"{number(result.points)}/{number(result.max)}",
            number(result.pending),
            _fit(what_went_wrong(result), REASON_CELLS),
        )
        for result in results
    ]
    widths = [max(cells(line[column]) for line in [head, *lines]) for column in range(3)]
    paints = ["1", *map(_paint, results)]
    rows = [_aligned(line, widths) for line in [head, *lines]]
    return "\n".join(
        f"\x1b[{paint}m{row}\x1b[0m" if colour and paint else row for row, paint in zip(rows, paints, strict=True)
    )


def what_went_wrong(result: Result) -> str:
    """One line: the problem of the whole submission, or the lost rows with their diagnosis or verdict."""
    if result.problem:
        return one_line(result.problem)
    lost = [row for row in result.told if row.verdict not in (Verdict.PASSED, Verdict.NEEDS_REVIEW)]
    told = [f"{_short(row)}: {one_line(row.diagnosis.title)}" for row in lost if row.diagnosis]
    plain: dict[Verdict, list[Row]] = {}
    for row in sorted((row for row in lost if not row.diagnosis), key=lambda row: row.verdict.rank):
        plain.setdefault(row.verdict, []).append(row)
    grouped = [f"{word(verdict)}: {_named(rows)}" for verdict, rows in plain.items()]
    ours = Verdict.GRADER_ERROR in plain  # a fault of the grader is what its operator has to see first
    return "; ".join([*grouped[:ours], *told, *grouped[ours:]])


def cells(text: str) -> int:
    """Width of `text` in terminal cells: East Asian wide characters take two, combining ones none."""
    return sum(_cell(character) for character in text)


def _cell(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _fit(text: str, width: int) -> str:
    """`text` cut to `width` cells."""
    if cells(text) <= width:
        return text
    kept = ""
    used = 1  # the ellipsis
    for character in text:
        used += _cell(character)
        if used > width:
            break
        kept += character
    return kept.rstrip() + "…"


def _aligned(line: Sequence[str], widths: Sequence[int]) -> str:
    name, points, pending, reason = line
    space = [" " * (width - cells(text)) for text, width in zip(line, widths, strict=False)]
    return f"{name}{space[0]}  {space[1]}{points}  {space[2]}{pending}  {reason}".rstrip()


def _short(row: Row) -> str:
    return one_line(row.id.split(".")[-1])


def _named(rows: list[Row]) -> str:
    return ", ".join(map(_short, rows)) if len(rows) <= NAMED else f"{len(rows)} rows"


def _paint(result: Result) -> str:
    """SGR code of a line: red where nothing could be graded, yellow where points were lost, else green."""
    if result.problem:
        return "31"
    return "33" if result.points + result.pending < result.max else "32"
