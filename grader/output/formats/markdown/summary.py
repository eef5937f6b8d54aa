"""A GitHub job summary: a table of the class, then what each submission lost and why.

What a student may have written stands in code spans and code blocks alone: there, GitHub makes no links, pictures,
mentions or references of it. Our own sentences are escaped.
"""

from __future__ import annotations

import re

from grader.labs import Lab
from grader.output.summary import what_went_wrong
from grader.output.wording import VERDICTS, earned, lost
from grader.records import PENDING, Result, Row
from grader.text import number, one_line, visible, word

LIMIT = 900_000  # bytes; GitHub takes 1 MiB for each step
LONGEST = {"cell": 160, "message": 2000}
MOST_REMARKS = 20

_MARKUP = re.compile(r"([\\`*_\[\]<>&|~#$!{}]|^[-+=])")
# What GitHub makes a link of without any markup: @name, #12, https://, mail addresses. A word joiner keeps it apart.
_LINKED = re.compile(r"([@#:])(?=\S)|(?<=www)(\.)", re.IGNORECASE)


def to_markdown(results: list[Result], lab: Lab) -> str:
    """The summary; submissions at the end are left out, which it says, where it would be longer than GitHub takes."""
    titles = {row.id: row.title for row in lab.rubric}
    blocks = [_overview(results, lab)]
    size = len(blocks[0].encode())
    for place, result in enumerate(results):
        block = _submission(result, titles)
        size += len(block.encode())
        if size > LIMIT:
            blocks.append(f"{len(results) - place} more submissions: see their reports.\n")
            break
        blocks.append(block)
    text = "\n".join(blocks)
    return text if size <= LIMIT else text.encode()[: LIMIT + 1000].decode(errors="ignore")


def code(text: str, limit: int = LONGEST["cell"]) -> str:
    """A stranger's text on one line as a code span, fit for a table's cell."""
    shown = one_line(text, limit).replace("|", "¦")  # in a cell, no way of escaping holds for every renderer
    if not shown:
        return "–"
    fence = "`" * (_longest_run(shown) + 1)
    space = " " if "`" in (shown[0], shown[-1]) else ""
    return f"{fence}{space}{shown}{space}{fence}"


def code_block(text: str) -> str:
    """A stranger's text as a code block that none of its lines can end."""
    shown = visible(text.strip(), LONGEST["message"])
    fence = "`" * max(3, _longest_run(shown) + 1)
    return f"{fence}text\n{shown}\n{fence}\n"


def prose(text: str) -> str:
    """A sentence of ours as Markdown that says just that, whatever signs are in it."""
    escaped = _MARKUP.sub(r"\\\1", one_line(text))
    return _LINKED.sub(lambda found: f"{found[0]}\u2060" if found[1] else f"\u2060{found[0]}", escaped)


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)


def _overview(results: list[Result], lab: Lab) -> str:
    lines = [
        f"## {lab.title}: points",
        "",
        "| submission | points | pending | what went wrong |",
        "| --- | ---: | ---: | --- |",
    ]
    lines += [
        f"| {code(result.id)} | {earned(result)} | {number(result.pending)} | {code(what_went_wrong(result))} |"
        for result in results
    ]
    lines += ["", "Pending points are given by a person.", ""]
    if any(result.sandbox == "user" for result in results):
        lines += ["Graded in the weaker sandbox, a user of its own without namespaces.", ""]
    return "\n".join(lines)


def _submission(result: Result, titles: dict[str, str]) -> str:
    lines = [f"### {code(result.id)}", ""]
    if result.problem:
        return "\n".join([*lines, "It could not be graded:", "", code_block(result.problem)])
    lines += ["| row | verdict | points |", "| --- | --- | ---: |"]
    lines += [
        f"| {code(row.id)} {prose(titles.get(row.id, ''))} | {VERDICTS[row.verdict][0]} {word(row.verdict)} "
        f"| {_points(row)} |"
        for row in result.shown
    ]
    lines += ["", *map(_folded, lost(result))]
    if result.remarks:
        lines += [
            "<details><summary>Remarks, which cost nothing</summary>",
            "",
            *(f"- {code(remark, 400)}" for remark in result.remarks[:MOST_REMARKS]),
        ]
        if len(result.remarks) > MOST_REMARKS:
            lines.append(f"- and {len(result.remarks) - MOST_REMARKS} more")
        lines += ["", "</details>", ""]
    return "\n".join(lines)


def _points(row: Row) -> str:
    return f"pending, of {number(row.max)}" if row.verdict in PENDING else earned(row)


def _folded(row: Row) -> str:
    """What went wrong in a row, folded."""
    lines = [f"<details><summary><code>{_plain(row.id)}</code>: {word(row.verdict)}</summary>", ""]
    if row.diagnosis:
        lines += [f"Likely: **{prose(row.diagnosis.title)}**", "", prose(row.diagnosis.hint), ""]
        lines += [code(row.diagnosis.equation, 400), ""] if row.diagnosis.equation else []
    lines += [code_block(row.message)] if row.message.strip() else []
    return "\n".join([*lines, "</details>", ""])


def _plain(row_id: str) -> str:
    """A row's id inside of HTML: one of the rubric's, so that nothing else need be allowed."""
    return re.sub(r"[^\w.]", "-", one_line(row_id, 80), flags=re.ASCII)
