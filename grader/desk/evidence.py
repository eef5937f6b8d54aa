"""The notebook of evidence about one submission: a cell for each row of the rubric, for a TA to read and to grade.

Whatever a student wrote goes into the source of code cells alone, where neither formgrader nor the feedback takes
anything for markup or for a script; outputs are pictures that the grader drew. Nothing is ever executed.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from grader.desk.course import cell_name
from grader.labs import Lab
from grader.output.pages import figure
from grader.output.report import PAGES
from grader.output.wording import LONGEST, earned, likely
from grader.records import PENDING, Check, Result, Row
from grader.text import number, one_line, visible, word

WIDTH = 100  # characters of a line
SCHEMA = 3  # of nbgrader's metadata


def notebook_of(result: Result, folder: Path, lab: Lab) -> nbformat.NotebookNode:
    """The notebook: an overview, then the rows. `folder` holds the figures."""
    cells = [
        new_markdown_cell(
            "# Evidence\nPoints and comments typed here count, and stay when the submission is graded again.", id="head"
        ),
        new_code_cell(overview(result), id="overview"),
    ]
    rows = sorted(result.shown, key=lambda row: row.verdict not in PENDING)  # what waits for a person comes first
    cells += [row_cell(f"row-{index}", row, folder, lab) for index, row in enumerate(rows)]
    about = {
        "language_info": {"name": "text", "pygments_lexer": "text"},
        "kernelspec": {"name": "none", "display_name": "none", "language": "text"},
    }
    return new_notebook(cells=cells, metadata=about)


def overview(result: Result) -> str:
    """What a TA has to know about the submission as a whole."""
    lines = [f"{visible(result.id, 200)}: {earned(result)} points, {number(result.pending)} wait for a person"]
    if result.problem:
        lines.append(f"could not be graded: {result.problem}")
    about = ", ".join(f"{name} {value}" for name, value in result.environment.items())
    lines.append(f"sandbox {result.sandbox}{', ' if about else ''}{about}, grader {result.grader_version}")
    lines += [f"remark: {remark}" for remark in result.remarks]
    return wrapped("\n".join(lines))


def row_cell(cell_id: str, row: Row, folder: Path, lab: Lab) -> nbformat.NotebookNode:
    """The cell that a TA grades: nbgrader puts a box for points above it and one for a comment below.

    A row that the rubric does not have can only be read.
    """
    title = next((line.title for line in lab.rubric if line.id == row.id), None)
    graded = {
        "grade": True,
        "solution": True,
        "task": False,
        "locked": False,
        "grade_id": cell_name(row.id),
        "points": row.max,
        "cell_type": "code",
        "schema_version": SCHEMA,
    }
    return new_code_cell(
        wrapped("\n".join(row_text(row, title or ""))),
        id=cell_id,
        metadata={} if title is None else {"nbgrader": graded},
        outputs=[output for name in row.evidence if (output := picture(folder, name, lab))],
    )


def row_text(row: Row, title: str) -> Iterator[str]:
    """A row in lines: verdict, diagnosis, what each check expected and got, remarks."""
    points = "pending" if row.verdict in PENDING else earned(row)
    yield f"{row.id}   {word(row.verdict).upper()}   {points}"
    yield title
    if row.suggested is not None:
        yield f"suggested: {number(row.suggested)} of {number(row.max)}"
    if row.diagnosis:
        yield ""
        yield from likely(row)
    if row.message and row.message not in {check.message for check in row.checks}:
        yield ""
        yield row.message
    if row.checks:
        yield ""
        yield from map(check_text, row.checks)
    yield from (f"remark: {remark}" for remark in row.remarks)


def check_text(check: Check) -> str:
    verdict = "ok" if check.passed else word(check.verdict)
    head = f"[{verdict}] {check.id}: {earned(check)}"
    if check.passed or not check.message:
        return head
    return head + "\n" + textwrap.indent(check.message, "      ")


def wrapped(text: str) -> str:
    """Visible text in lines that a page shows without scrolling; indentation is kept."""
    lines = []
    for line in visible(text, LONGEST).expandtabs(4).split("\n"):
        indent = line[: len(line) - len(line.lstrip())]
        lines += textwrap.wrap(
            line, WIDTH, subsequent_indent=indent + "  ", break_long_words=True, replace_whitespace=False
        ) or [""]
    return "\n".join(lines)


def picture(folder: Path, name: str, lab: Lab) -> Any:
    """A figure of the result as an output, None where it is missing or is no picture."""
    drawn = figure(folder, name, lab.captions)
    if drawn.problem or not drawn.url.startswith("data:image/png;base64,"):
        return None
    data = drawn.url.partition(",")[2]
    page = re.fullmatch(PAGES + r"(\d{1,4})\.png", name)
    caption = f"page {page[1]} of report.pdf" if page else re.sub(r"[<>\"'&]", "_", one_line(drawn.caption, 200))
    return new_output("display_data", {"image/png": data}, metadata={"image/png": {"alt": caption}})
