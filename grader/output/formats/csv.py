"""CSV for a learning management system: id, points per row, total."""

from __future__ import annotations

import argparse
import csv
import io

from grader.labs import Lab
from grader.output.formats.base import EXAMPLE, Format, add_class, deliver, results_of
from grader.output.wording import marks
from grader.records import Result
from grader.text import field, number

MAXIMA = "Points Possible"


def to_csv(results: list[Result], lab: Lab, maxima: bool = False) -> str:
    """A line a submission. A row that waits for a person is an empty cell; `pending` says what all of them are worth.

    `maxima` puts a line of the most points per row first, as Canvas has it. Lines end in CRLF, as RFC 4180 has it.
    """
    columns = _columns(results, lab)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(["id", *map(field, columns), "total", "pending", "maximum"])
    if maxima:
        most = {row.id: row.max for result in reversed(results) for row in result.rows if row.max}
        total = number(sum(most.values()))
        writer.writerow([MAXIMA, *(number(most[column]) for column in columns), total, "", total])
    for result in results:
        points = marks(result)
        sums = map(number, (result.points, result.pending, result.max))
        writer.writerow([field(result.id), *(points.get(column, "") for column in columns), *sums])
    return text.getvalue()


def _columns(results: list[Result], lab: Lab) -> list[str]:
    """Rows that occur and have points, in the rubric's order."""
    found = dict.fromkeys(row.id for result in results for row in result.rows if row.max)
    order = {row.id: place for place, row in enumerate(lab.rubric)}
    return sorted(found, key=lambda row_id: order.get(row_id, len(order)))


def _add_options(parser: argparse.ArgumentParser) -> None:
    add_class(parser)
    parser.add_argument(
        "--maxima",
        action="store_true",
        help=f"put a line with the most points of each row first, with the id '{MAXIMA}'",
    )


def _run(options: argparse.Namespace, lab: Lab) -> int:
    return deliver(to_csv(results_of(options, lab), lab, options.maxima), options.to)


FORMAT = Format(
    "csv",
    "points per row for a learning management system",
    _add_options,
    _run,
    "Cells of rows that wait for a person are empty; `pending` is what they are worth. For example:\n" + EXAMPLE,
)
