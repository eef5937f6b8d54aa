"""Gradescope's `results.json` of one submission: a test for each row, and a leaderboard by the lab's measure.

The format: https://gradescope-autograders.readthedocs.io/en/latest/specs/
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grader.labs import Lab, Measure, RowKind
from grader.output.pages import figure, maths
from grader.output.wording import LONGEST, Part, earned, statements
from grader.records import PENDING, Result, Row, Verdict
from grader.text import number, one_line, visible, word

if TYPE_CHECKING:
    from markupsafe import Markup

VISIBILITIES = ("visible", "hidden", "after_due_date", "after_published")
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


def to_gradescope(result: Result, folder: Path, lab: Lab, visibility: str = "visible", note: str = "") -> str:
    """The text of results.json; figures are read from `folder`. `note` stands above everything else."""
    return json.dumps(_document(result, folder, lab, visibility, note), indent=1, allow_nan=False) + "\n"


def _document(result: Result, folder: Path, lab: Lab, visibility: str, note: str) -> dict[str, Any]:
    places = {group: place for place, group in enumerate(lab.titles, 1)}
    counts: Counter[str] = Counter()
    tests = []
    for row in result.shown:
        counts[row.group] += 1
        place = f"{places.get(row.group, len(places) + 1)}.{counts[row.group]}"
        tests.append(_test(row, place, folder, lab, visibility))
    return {
        "score": result.points,
        "execution_time": round(max(0.0, result.duration_s)),
        "output": _overall(result, note),
        "output_format": "text",
        "test_name_format": "text",
        "visibility": visibility,
        "stdout_visibility": "hidden",
        "tests": tests,
        "leaderboard": _leaderboard(result.rows, lab.measure),
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
        f"{earned(result)} points"
        + (f" so far; {number(result.pending)} more are pending: a person decides." if result.pending else "."),
        SANDBOXES.get(result.sandbox, f"Sandbox: {one_line(result.sandbox, 80)}."),
    ]
    remarks = [f"- {one_line(remark)}" for remark in result.remarks[:MOST_REMARKS]]
    if len(result.remarks) > MOST_REMARKS:
        remarks.append(f"- and {len(result.remarks) - MOST_REMARKS} more")
    lines += ["Remarks, which cost nothing:", *remarks] if remarks else []
    return "\n".join(filter(None, lines))


def _test(row: Row, place: str, folder: Path, lab: Lab, visibility: str) -> dict[str, Any]:
    pending = row.verdict in PENDING
    name = one_line(lab.heading(row.id))
    test = {
        "number": place,
        "name": f"{name} (pending)" if pending else name,
        "name_format": "text",
        "score": row.points,
        "max_score": row.max,
        "output": str(_output(row, folder, lab)),
        "output_format": "html",
        "tags": [one_line(row.group), row.verdict.value],
        "visibility": visibility,
        "extra_data": {
            "verdict": row.verdict.value,
            "diagnosis": one_line(row.diagnosis.id) if row.diagnosis else None,
        },
    }
    if not pending:  # Gradescope knows no third status; without one it goes by the score
        test["status"] = "passed" if row.verdict is Verdict.PASSED else "failed"
    return test


def _leaderboard(rows: list[Row], measure: Measure) -> list[dict[str, Any]]:
    """The number of whoever has one that was measured, the smallest first, and how far it can be trusted."""
    for row in rows:
        if (value := measure.of(row)) is not None:
            return [
                {"name": measure.title, "value": round(value, 2), "order": "asc"},
                {"name": "Trust", "value": one_line(str(row.measured.get("trust", "unknown")), 40)},
            ]
    return []


# --- what a student reads about a row


def _output(row: Row, folder: Path, lab: Lab) -> Markup:
    """HTML in which everything that is not ours is escaped: the verdict, what went wrong, the figures."""
    from markupsafe import Markup

    blocks = [_paragraph(OURS if row.verdict is Verdict.GRADER_ERROR else PERSON)] if row.verdict in PENDING else []
    points = f"up to {number(row.max)} points" if blocks else f"{earned(row)} points"
    blocks.append(Markup("<p><b>{}</b>, {}</p>").format(word(row.verdict), points))
    if row.diagnosis:
        blocks.append(Markup("<p>Likely: <b>{}</b></p>").format(visible(row.diagnosis.title)))
        blocks.append(_paragraph(row.diagnosis.hint))
        blocks += [Markup("<p><i>{}</i></p>").format(maths(row.diagnosis.equation))] if row.diagnosis.equation else []
    blocks += [_message(parts) for _, parts in statements(row) if parts]
    blocks += [_paragraph(f"Remark: {one_line(remark)}") for remark in row.remarks[:MOST_REMARKS]]
    blocks += [picture for name in _figures(row, lab) if (picture := _picture(folder, name, lab))]
    return Markup("\n").join(blocks)


def _figures(row: Row, lab: Lab) -> list[str]:
    """What the grader drew of a student's own run; pages and pictures for the person who judges a row are not shown."""
    ours = any(line.id == row.id and line.kind is not RowKind.PERSON for line in lab.rubric)
    return [name for name in row.evidence if Path(name).stem in lab.captions] if ours else []


def _paragraph(text: str) -> Markup:
    from markupsafe import Markup

    return Markup("<p>{}</p>").format(visible(text, 2000))


def _message(parts: list[Part]) -> Markup:
    """What is said of a row, by its labels; values and code keep their columns."""
    from markupsafe import Markup

    lines = []
    for part in parts:
        kind = "pre" if part.code or "\n" in part.text else "span"
        label = Markup("<b>{}</b> ").format(part.label) if part.label else ""
        value = maths(part.text, LONGEST) if part.label == "equation" else visible(part.text, LONGEST)
        lines.append(Markup("<div>{}<{}>{}</{}></div>").format(label, kind, value, kind))
    return Markup("\n").join(lines)


def _picture(folder: Path, name: str, lab: Lab) -> Markup | None:
    from markupsafe import Markup

    shown = figure(folder, name, lab.captions)
    if not shown.url or len(shown.url) > FIGURE_URL:
        return None
    return Markup('<p><img src="{}" alt="{}" style="max-width:100%"></p>').format(shown.url, shown.caption)
