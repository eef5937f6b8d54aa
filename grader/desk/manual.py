"""Points that people gave, put into the records before they are exported."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from grader.records import Result, Row, Verdict
from grader.text import number

# {id of the submission: {id of the row: points, if any were given, and a comment}}
Manual = dict[str, dict[str, tuple[float | None, str]]]


def with_manual(results: list[Result], manual: Manual) -> list[Result]:
    """The results with the rows that a person has decided; the others, and the results given, stay as they are."""
    return [
        replace(result, rows=[_decided(row, manual.get(result.id, {})) for row in result.rows]) for result in results
    ]


def _decided(row: Row, typed: Mapping[str, tuple[float | None, str]]) -> Row:
    given, comment = typed.get(row.id, (None, ""))
    said = [f"a person's comment: {comment}"] if comment else []
    if given is None or not math.isfinite(given):
        return replace(row, remarks=[*row.remarks, *said]) if said else row
    verdict = Verdict.PASSED if given >= row.max else Verdict.PARTIAL if given > 0 else Verdict.FAILED
    message = f"a person gave {number(given)} of {number(row.max)} points"
    return replace(
        row,
        points=float(given),
        verdict=verdict,
        suggested=None,
        remarks=[*row.remarks, *said],
        message=f"{message}\n{row.message}" if row.checks else message,
    )
