"""What an instructor learns of a class: OUT/class.html, one self-contained page without scripts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote

from grader.files import write_atomically
from grader.labs import Lab
from grader.output.pages import render_page
from grader.records import PENDING, Result, Row, Verdict
from grader.submission.kept import code_of
from grader.submission.resubmissions import undecided
from grader.submission.similarity import Likeness, likeness
from grader.text import word

BINS = 11  # of the histogram of totals: 0, 1-10, ..., up to all points
MISCONCEPTIONS, LINKED, SLOWEST, PAIRS, REMARKS, FAILED = 15, 6, 8, 12, 10, 20  # shown of each
OF_ONE = 2  # remarks shown beside the name of one submission: it must not fill the page
LONGEST = 200  # characters of a remark with more behind it
TROUBLE = (Verdict.GRADER_ERROR, Verdict.TIMEOUT, Verdict.OUT_OF_MEMORY, Verdict.CRASHED)
WIDE, HIGH = 640, 220  # of the scatter, in its own units


@dataclass(frozen=True)
class RowLine:
    """How a class did in one row; the shares add up to 1 with those that lost all of it."""

    id: str
    title: str
    max: float
    mean: float | None  # of those that are not pending
    full: float
    part: float
    pending: float
    passed: str  # "2 of 3", for a row of no points


@dataclass(frozen=True)
class Dot:
    """A submission in the scatter of the lab's measure, in the scatter's units."""

    id: str
    value: float
    trust: str
    x: float
    y: float
    low: float
    high: float


def write_class_page(results: list[Result], out: Path, lab: Lab, policy: Any) -> Path:
    """Write OUT/class.html about `results`; the code that was kept beside them is compared.

    The thresholds that it shows are those of the `policy`, the lab's, that was graded by.

    Raises OSError where the page cannot be written.
    """
    path = out / "class.html"
    alike = likeness({result.id: code_of(out / result.id) for result in results}, lab)
    write_atomically(path, render(results, alike, lab, lab.thresholds(policy)))
    return path


def render(results: list[Result], alike: Likeness, lab: Lab, thresholds: tuple[float, ...] = ()) -> str:
    """The page as HTML; `thresholds` are of the lab's measure."""
    measured = measures(results, lab)
    top = upper_edge([value for value, _, _ in measured], thresholds)
    return render_page(
        "class.html",
        ("report.css", "class.css"),
        results=results,
        lab=lab,
        rows=row_lines(results, lab),
        totals=totals(results),
        misconceptions=misconceptions(results),
        dots=dots(measured, top),
        thresholds=[(value, _height(value, top)) for value in thresholds],
        slowest=sorted(results, key=lambda result: -result.duration_s)[:SLOWEST],
        failed=failed(results),
        remarks=remarks(results),
        rivals=[result.id for result in results if undecided(result.remarks)],
        alike=alike,
        waiting=sum(1 for result in results if result.pending),
        mean=_mean(result.points for result in results) or 0.0,
        link=link,
        WIDE=WIDE,
        HIGH=HIGH,
        PAIRS=PAIRS,
        FAILED=FAILED,
    )


def link(name: str) -> str:
    """The address of a submission's report, relative to the page."""
    return f"{quote(name.encode('utf-8', 'surrogatepass'), safe='')}/report.html"


def row_lines(results: list[Result], lab: Lab) -> list[RowLine]:
    """Every row of the rubric that was judged for somebody."""
    lines = []
    for line in lab.rubric:
        judged = [row for result in results for row in result.rows if row.id == line.id and not row.left_alone]
        if not judged:
            continue
        known = [row for row in judged if row.verdict not in PENDING]
        full = sum(row.points >= row.max if row.max else row.verdict is Verdict.PASSED for row in known)
        part = sum(0 < row.points < row.max for row in known)
        mean = _mean(row.points for row in known)
        count = len(judged)
        lines.append(
            RowLine(
                line.id,
                line.title,
                line.points,
                mean,
                full / count,
                part / count,
                (count - len(known)) / count,
                f"{full} of {count}",
            )
        )
    return lines


def _mean(values: Iterable[float]) -> float | None:
    values = list(values)
    return sum(values) / len(values) if values else None


def totals(results: list[Result]) -> list[tuple[str, int, float]]:
    """The histogram of points: label, count, share of the highest bar."""
    most = max((result.max for result in results), default=0)
    if not most:
        return []
    counts = Counter(min(BINS - 1, -int(-result.points * (BINS - 1) // most)) for result in results)
    edges = [round(most * step / (BINS - 1)) for step in range(BINS)]
    labels = ["0", *(f"{low + 1}–{high}" for low, high in pairwise(edges))]
    highest = max(counts.values())
    return [(label, counts[step], counts[step] / highest) for step, label in enumerate(labels)]


def misconceptions(results: list[Result]) -> list[tuple[str, str, list[str], int]]:
    """The commonest diagnoses: row, title, ids of the first who have it, how many have it."""
    found: dict[tuple[str, str], list[str]] = {}
    for result in results:
        for row in result.rows:
            if row.diagnosis:
                found.setdefault((row.id, row.diagnosis.title), []).append(result.id)
    ranked = sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))[:MISCONCEPTIONS]
    return [(row, title, ids[:LINKED], len(ids)) for (row, title), ids in ranked]


def measures(results: list[Result], lab: Lab) -> list[tuple[float, Result, Row]]:
    """The lab's measure of all who have it, the best first."""
    rows = [(result, row) for result in results for row in result.rows]
    found = [(value, result, row) for result, row in rows if (value := lab.measure.of(row)) is not None]
    return sorted(found, key=lambda one: one[0])


def upper_edge(values: list[float], thresholds: tuple[float, ...]) -> float:
    """The value at the upper edge of the scatter, of rising `values`: some that are far off do not press the others."""
    return max([*thresholds, *values[: max(1, int(0.95 * len(values)))]], default=1) * 1.1


def _height(value: float, top: float) -> float:
    return HIGH * (1 - min(max(value, 0.0), top) / top)


def dots(measured: list[tuple[float, Result, Row]], top: float) -> list[Dot]:
    """Values in rising order with their intervals; those beyond the scatter lie on its upper edge."""
    found = []
    for position, (value, result, row) in enumerate(measured):
        low, high = row.measured.get("interval") or (value, value)
        x = WIDE * (position + 0.5) / len(measured)
        trust = str(row.measured.get("trust", ""))
        found.append(Dot(result.id, value, trust, x, _height(value, top), _height(low, top), _height(high, top)))
    return found


def failed(results: list[Result]) -> list[tuple[Result, str]]:
    """Submissions that could not be graded, or whose code crashed, hung or took too much, with the reason."""
    found = []
    for result in results:
        rows: dict[Verdict, list[str]] = {}
        for row in result.rows:
            if row.verdict in TROUBLE:
                rows.setdefault(row.verdict, []).append(row.id)
        ranked = sorted(rows.items(), key=lambda item: item[0].rank)
        reason = result.problem or "; ".join(f"{word(verdict)}: {', '.join(ids)}" for verdict, ids in ranked)
        if reason:
            found.append((result, reason))
    return found


def remarks(results: list[Result]) -> list[tuple[str, list[str], int]]:
    """Remarks on submissions, rarest first, as what only some did is worth a look: text, first ids, how many.

    At most two lines name one submission; the second says how many more its report has.
    """
    found: dict[str, list[str]] = {}
    for result in results:
        for remark in dict.fromkeys(result.remarks):
            found.setdefault(remark, []).append(result.id)
    lines: list[tuple[str, list[str], int]] = []
    shown, over = Counter[str](), Counter[str]()
    for text, ids in sorted(found.items(), key=lambda item: (len(item[1]), item[0])):
        due = [name for name in ids if shown[name] < OF_ONE]
        over.update(name for name in ids if name not in due)
        if due and len(lines) < REMARKS:
            lines.append((text, due[:LINKED], len(ids)))
            shown.update(due)
    last = {ids[0]: number for number, (_, ids, count) in enumerate(lines) if count == 1}
    for name, number in last.items():
        if over[name]:
            text, ids, count = lines[number]
            lines[number] = f"{text[:LONGEST]} (and {over[name]} more, see the report)", ids, count
    return lines
