"""Points that people gave, put into the records before they are exported."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from grader.records import Result, Row, Verdict
from grader.summary import number

ManualPoints = Mapping[str, Mapping[str, float]]  # {id of the submission: {id of the row: points}}


def with_manual(results: list[Result], manual: ManualPoints) -> list[Result]:
    """The results with the rows that a person has decided; the others, and the results given, stay as they are."""
    return [replace(result, rows=[_decided(row, manual.get(result.id, {})) for row in result.rows])
            for result in results]


def _decided(row: Row, points: Mapping[str, float]) -> Row:
    given = points.get(row.id)
    if given is None or not math.isfinite(given):
        return row
    verdict = Verdict.PASSED if given >= row.max else Verdict.PARTIAL if given > 0 else Verdict.FAILED
    return replace(row, points=float(given), verdict=verdict, suggested=None, diagnosis=row.diagnosis,
                   message=f"a person gave {number(given)} of {number(row.max)} points")
