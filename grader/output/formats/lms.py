"""CSV for a learning management system: id, points per row, total."""

from __future__ import annotations

import csv
import io

from grader.lab import LAB
from grader.records import PENDING, Result
from grader.text import field, number

MAXIMA = "Points Possible"


def to_csv(results: list[Result], maxima: bool = False) -> str:
    """A line a submission. A row that waits for a person is an empty cell; `pending` says what all of them are worth.

    `maxima` puts a line of the most points per row first, as Canvas has it. Lines end in CRLF, as RFC 4180 has it.
    """
    columns = _columns(results)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(["id", *map(field, columns), "total", "pending", "maximum"])
    if maxima:
        most = {row.id: row.max for result in reversed(results) for row in result.rows if row.max}
        total = number(sum(most.values()))
        writer.writerow([MAXIMA, *(number(most[column]) for column in columns), total, "", total])
    for result in results:
        points = {row.id: "" if row.verdict in PENDING else number(row.points) for row in result.rows}
        writer.writerow(
            [
                field(result.id),
                *(points.get(column, "") for column in columns),
                number(result.points),
                number(result.pending),
                number(result.max),
            ]
        )
    return text.getvalue()


def _columns(results: list[Result]) -> list[str]:
    """Rows that occur and have points, in the rubric's order."""
    found = dict.fromkeys(row.id for result in results for row in result.rows if row.max)
    order = {row.id: place for place, row in enumerate(LAB.rubric)}
    return sorted(found, key=lambda row_id: order.get(row_id, len(order)))
