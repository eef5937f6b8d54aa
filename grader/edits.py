"""What a submission changed outside the TODO regions: remarks for the TA, never a deduction."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path

BEGIN = re.compile(r"\s*##### TODO\b")
END = re.compile(r"\s*##### END TODO\b")
MAX_REMARKS = 12  # a half
MAX_SHOWN = 80  # characters of a source line
MAX_LINES = 4000  # of a submitted file; larger ones are not compared
SAME_EDITION = 0.5  # share of the released lines outside TODO regions that a file of this edition keeps


@dataclass(frozen=True)
class Line:
    """A line of code or a TODO marker: number from 1, text without line end, and whether it may change."""

    number: int
    text: str
    free: bool


def edits_outside_todos(submitted: Path, released: Path) -> list[str]:
    """Remarks on what differs between a submitted half and the released one, outside of the TODO regions.

    Comments, blank lines, line ends and a BOM do not count. Files are compared by name, `.py` only.
    """
    remarks = []
    names = sorted(path.name for path in released.glob("*.py"))
    for name in names:
        if not (submitted / name).is_file():
            remarks.append(f"{name} is missing")
        elif remark := _compare(name, submitted / name, released / name):
            remarks.append(remark)
    extra = sorted(path.relative_to(submitted).as_posix() for path in submitted.rglob("*.py"))
    remarks += [f"extra file {_short(name)}" for name in extra if not (released / name).is_file()]
    if len(remarks) > MAX_REMARKS:
        remarks[MAX_REMARKS - 1:] = [f"... and {len(remarks) - MAX_REMARKS + 1} more files that differ"]
    return remarks


def changed_lines(released: str, submitted: str) -> tuple[list[Line], float]:
    """Changed lines outside TODO regions, and the share (0..1) of the released lines there that were kept.

    A changed or new line is the submitted one; a removed line is the released one, numbered where it was.
    """
    ours, theirs = _lines(released), _lines(submitted)
    texts = [[line.text for line in lines] for lines in (ours, theirs)]
    matcher = difflib.SequenceMatcher(None, *texts, autojunk=False)
    changed: list[Line] = []
    kept = 0
    for tag, i1, i2, j1, j2 in matcher.get_opcodes():
        if tag == "equal":
            kept += sum(not line.free for line in ours[i1:i2])
        elif tag == "insert":
            changed += [] if _inside(ours, i1) else theirs[j1:j2]
        else:
            changed += _replaced(ours[i1:i2], theirs[j1:j2])
    fixed = sum(not line.free for line in ours)
    return changed, kept / fixed if fixed else 1.0


def _compare(name: str, submitted: Path, released: Path) -> str | None:
    text = submitted.read_text(encoding="utf-8-sig", errors="replace")
    if text.count("\n") > MAX_LINES:
        return f"{name} has {text.count(chr(10)):,} lines and was not compared with the released file"
    changed, kept = changed_lines(released.read_text(encoding="utf-8-sig"), text)
    if kept < SAME_EDITION:
        return f"{name} follows another edition of the lab: {kept:.0%} of the released lines are in it"
    if not changed:
        return None
    lines = "1 line" if len(changed) == 1 else f"{len(changed)} lines"
    return (f"{name}: {lines} changed outside the TODO regions, first at line {changed[0].number}: "
            f"`{_short(changed[0].text.strip())}`")


def _lines(text: str) -> list[Line]:
    """Code lines and markers; comments and blank lines carry nothing that could be judged as an edit."""
    lines = []
    inside = False
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.rstrip()
        if END.match(line):
            inside = False
        if line.strip() and (not line.lstrip().startswith("#") or BEGIN.match(line) or END.match(line)):
            lines.append(Line(number, line, inside))
        if BEGIN.match(line):
            inside = True
    return lines


def _inside(ours: list[Line], position: int) -> bool:
    """Whether what was inserted before `position` stands in a TODO region."""
    before = ours[position - 1] if position else None
    return bool(before and (before.free or BEGIN.match(before.text)))


def _replaced(ours: list[Line], theirs: list[Line]) -> list[Line]:
    """Changed lines of a replaced or deleted block; of one that touches a TODO region, what it lost."""
    fixed = [line for line in ours
             if not line.free and not BEGIN.match(line.text) and not END.match(line.text)]
    if not fixed:
        return []
    if len(fixed) < len(ours) or not theirs:
        place = theirs[0].number if theirs else ours[0].number
        return [Line(place, line.text, False) for line in fixed]
    return theirs


def _short(text: str) -> str:
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 3] + "..."
