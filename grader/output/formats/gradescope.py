"""Gradescope's `results.json` of one submission: a test for each row, and a leaderboard by FID.

The format: https://gradescope-autograders.readthedocs.io/en/latest/specs/
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grader.lab import LAB
from grader.output.report import figure, maths, parts
from grader.records import PENDING, Result, Row, Verdict
from grader.text import number, one_line, visible, word

if TYPE_CHECKING:
    from markupsafe import Markup

VISIBILITIES = ("visible", "hidden", "after_due_date", "after_published")
HALVES = {"task1": 1, "task2": 2, "extra": 3}
FIGURES = frozenset({"q_sample.png", "loss_curve.png", "samples.png"})  # those of a student's own run
FIGURE_URL = 400_000  # characters of a picture in the output
MOST_REMARKS = 20
PERSON = "A person decides this row. Until then its points are pending and count 0 here."
OURS = "The grader itself failed at this row. That costs no marks: its points are pending until a person has looked."
SANDBOXES = {
    "user": "Sandbox: user, the weaker one, as this machine allows no namespaces: the code ran as an "
    "unprivileged user of its own.",
    "": "",
    "none": "Sandbox: none. The code ran without protection.",
}


def to_gradescope(result: Result, folder: Path, visibility: str = "visible", note: str = "") -> str:
    """The text of results.json; figures are read from `folder`. `note` stands above everything else."""
    return json.dumps(_document(result, folder, visibility, note), indent=1, allow_nan=False) + "\n"


def _document(result: Result, folder: Path, visibility: str, note: str) -> dict[str, Any]:
    titles = {row.id: row.title for row in LAB.rubric}
    numbers: dict[str, int] = {}
    tests = []
    for row in result.told:
        half = row.id.partition(".")[0]
        numbers[half] = numbers.get(half, 0) + 1
        place = f"{HALVES.get(half, len(HALVES) + 1)}.{numbers[half]}"
        tests.append(_test(row, place, titles.get(row.id, ""), folder, visibility))
    return {
        "score": result.points,
        "execution_time": round(max(0.0, result.duration_s)),
        "output": _overall(result, note),
        "output_format": "text",
        "test_name_format": "text",
        "visibility": visibility,
        "stdout_visibility": "hidden",
        "tests": tests,
        "leaderboard": _leaderboard(result.rows),
        "extra_data": {
            "pending": result.pending,
            "max": result.max,
            "sandbox": visible(result.sandbox, 80),
            "grader_version": visible(result.grader_version, 80),
            "submission_sha256": visible(result.submission_sha256, 80),
        },
    }


def _overall(result: Result, note: str) -> str:
    lines = [
        note,
        visible(result.problem, 2000) if result.problem else "",
        f"{number(result.points)} of {number(result.max)} points"
        + (f" so far; {number(result.pending)} more are pending: a person decides." if result.pending else "."),
        SANDBOXES.get(result.sandbox, f"Sandbox: {one_line(result.sandbox, 80)}."),
    ]
    remarks = [f"- {one_line(remark)}" for remark in result.remarks[:MOST_REMARKS]]
    if len(result.remarks) > MOST_REMARKS:
        remarks.append(f"- and {len(result.remarks) - MOST_REMARKS} more")
    lines += ["Remarks, which cost nothing:", *remarks] if remarks else []
    return "\n".join(filter(None, lines))


def _test(row: Row, place: str, title: str, folder: Path, visibility: str) -> dict[str, Any]:
    pending = row.verdict in PENDING
    name = f"{one_line(row.id)}: {title}" if title else one_line(row.id)
    test = {
        "number": place,
        "name": f"{name} (pending)" if pending else name,
        "name_format": "text",
        "score": row.points,
        "max_score": row.max,
        "output": str(_output(row, folder)),
        "output_format": "html",
        "tags": [one_line(row.id.partition(".")[0]), row.verdict.value],
        "visibility": visibility,
        "extra_data": {
            "verdict": row.verdict.value,
            "diagnosis": one_line(row.diagnosis.id) if row.diagnosis else None,
        },
    }
    if not pending:  # Gradescope knows no third status; without one it goes by the score
        test["status"] = "passed" if row.verdict is Verdict.PASSED else "failed"
    return test


def _leaderboard(rows: list[Row]) -> list[dict[str, Any]]:
    """The FID of whoever has one that was measured, the smallest first, and how far it can be trusted."""
    for row in rows:
        fid = row.measured.get("fid")
        if isinstance(fid, int | float) and math.isfinite(fid):
            return [
                {"name": "FID", "value": round(float(fid), 2), "order": "asc"},
                {"name": "Trust", "value": one_line(str(row.measured.get("trust", "unknown")), 40)},
            ]
    return []


# --- what a student reads about a row


def _output(row: Row, folder: Path) -> Markup:
    """HTML in which everything that is not ours is escaped: the verdict, what went wrong, the figures."""
    from markupsafe import Markup

    blocks = [_paragraph(OURS if row.verdict is Verdict.GRADER_ERROR else PERSON)] if row.verdict in PENDING else []
    points = f"up to {number(row.max)} points" if blocks else f"{number(row.points)} of {number(row.max)} points"
    blocks.append(Markup("<p><b>{}</b>, {}</p>").format(word(row.verdict), points))
    if row.diagnosis:
        blocks.append(Markup("<p>Likely: <b>{}</b></p>").format(visible(row.diagnosis.title)))
        blocks.append(_paragraph(row.diagnosis.hint))
        blocks += [Markup("<p><i>{}</i></p>").format(maths(row.diagnosis.equation))] if row.diagnosis.equation else []
    said = (row.diagnosis.hint, row.diagnosis.equation) if row.diagnosis else ()
    blocks += [_message(text, said) for text in dict.fromkeys([row.message, *_lost(row)]) if text]
    blocks += [_paragraph(f"Remark: {one_line(remark)}") for remark in row.remarks[:MOST_REMARKS]]
    blocks += [picture for name in row.evidence if name in FIGURES and (picture := _picture(folder, name))]
    return Markup("\n").join(blocks)


def _lost(row: Row) -> list[str]:
    return [check.message for check in row.checks if not check.passed]


def _paragraph(text: str) -> Markup:
    from markupsafe import Markup

    return Markup("<p>{}</p>").format(visible(text, 2000))


def _message(text: str, said: tuple[str, ...]) -> Markup:
    """A message by its labels, but for what the diagnosis has `said`; values and code keep their columns."""
    from markupsafe import Markup

    told = []
    for part in parts(text):
        if part.text.strip() in said:
            continue
        kind = "pre" if part.code or "\n" in part.text else "span"
        label = Markup("<b>{}</b> ").format(part.label) if part.label else ""
        value = maths(part.text) if part.label == "equation" else part.text
        told.append(Markup("<div>{}<{}>{}</{}></div>").format(label, kind, value, kind))
    return Markup("\n").join(told)


def _picture(folder: Path, name: str) -> Markup | None:
    from markupsafe import Markup

    shown = figure(folder, name, LAB.captions)
    if not shown.url or len(shown.url) > FIGURE_URL:
        return None
    return Markup('<p><img src="{}" alt="{}" style="max-width:100%"></p>').format(shown.url, shown.caption)
