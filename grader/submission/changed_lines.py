"""What a submission changed outside the TODO regions: remarks for the TA, never a deduction."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from grader.alarm import OutOfTime, within
from grader.files import read_plain
from grader.submission.todo import blocks

MAX_REMARKS = 12  # a half
MAX_SHOWN = 80  # characters of a source line
MAX_LINES = 4000  # of a submitted file; larger ones are not compared
MAX_BYTES = 500_000  # the same
SECONDS = 10.0  # of CPU for a half; what is left then is not compared
SAME_EDITION = 0.5  # share of the released lines outside TODO regions that a file of this edition keeps


class Kind(StrEnum):
    """What a line is to the lab."""

    GIVEN = "given"  # outside of all TODO regions: students leave it as it is
    BEGIN = "begin"  # a marker
    END = "end"  # a marker
    BODY = "body"  # inside a TODO region: theirs to change


@dataclass(frozen=True)
class Line:
    """A line of code or a TODO marker: number from 1, text without line end."""

    number: int
    text: str
    kind: Kind = Kind.GIVEN


def changes_outside_todos(submitted: Path, released: Path) -> list[str]:
    """Remarks on what differs between a submitted half and the released one, outside of the TODO regions.

    Comments, blank lines, line ends and a BOM do not count. Files are compared by name, `.py` only; a released folder
    that is not there at all is one remark.
    """
    names = sorted(path.relative_to(released).as_posix() for path in released.rglob("*.py"))
    folders = {f"{name.partition('/')[0]}/" for name in names if "/" in name}
    absent = tuple(sorted(folder for folder in folders if not (submitted / folder).is_dir()))
    remarks = [f"{folder} is missing" for folder in absent]
    try:
        with within(SECONDS):
            for name in (name for name in names if not name.startswith(absent)):
                if not (submitted / name).is_file():
                    remarks.append(f"{name} is missing")
                elif remark := _compare(name, submitted / name, released / name):
                    remarks.append(remark)
    except OutOfTime:
        remarks.append("not all files were compared with the released ones: it took too long")
    extra = sorted(path.relative_to(submitted).as_posix() for path in submitted.rglob("*.py"))
    remarks += [f"extra file {_short(name)}" for name in extra if not (released / name).is_file()]
    if len(remarks) > MAX_REMARKS:
        remarks[MAX_REMARKS - 1 :] = [f"... and {len(remarks) - MAX_REMARKS + 1} more files that differ"]
    return remarks


def changed_lines(released: str, submitted: str) -> tuple[list[Line], float]:
    """Changed lines outside TODO regions, and the share (0..1) of the released lines there that were kept.

    A changed or new line is the submitted one; a removed line is the released one, numbered where it was.
    """
    ours = _lines(released, _kinds(released))
    # Markers are anchors in both files, but a submission may have lost some: the released ones rule.
    markers = frozenset(line.text for line in ours if line.kind in (Kind.BEGIN, Kind.END))
    theirs = _lines(submitted, {}, markers)
    matcher = difflib.SequenceMatcher(
        None, [line.text for line in ours], [line.text for line in theirs], autojunk=False
    )
    changed: list[Line] = []
    kept = 0
    for tag, i1, i2, j1, j2 in matcher.get_opcodes():
        if tag == "equal":
            kept += sum(line.kind is Kind.GIVEN for line in ours[i1:i2])
        elif tag == "insert":
            changed += [] if _inside(ours, i1) else theirs[j1:j2]
        else:
            changed += _replaced(ours[i1:i2], theirs[j1:j2])
    fixed = sum(line.kind is Kind.GIVEN for line in ours)
    return changed, kept / fixed if fixed else 1.0


def _compare(name: str, submitted: Path, released: Path) -> str | None:
    try:
        text = read_plain(submitted, MAX_BYTES).decode("utf-8-sig", errors="replace").replace("\r\n", "\n")
    except OSError as error:
        return f"{name} was not compared with the released file: {error.strerror}"
    if text.count("\n") > MAX_LINES:
        return f"{name} has {text.count(chr(10)):,} lines and was not compared with the released file"
    changed, kept = changed_lines(released.read_text(encoding="utf-8-sig"), text)
    if kept < SAME_EDITION:
        return f"{name} follows another edition of the lab: {kept:.0%} of the released lines are in it"
    if not changed:
        return None
    lines = "1 line" if len(changed) == 1 else f"{len(changed)} lines"
    return (
        f"{name}: {lines} changed outside the TODO regions, first at line {changed[0].number}: "
        f"`{_short(changed[0].text.strip())}`"
    )


def _kinds(text: str) -> dict[int, Kind]:
    """The kind of each line, by number from 1, that is not simply given."""
    kinds: dict[int, Kind] = {}
    for block in blocks(text):
        kinds |= dict.fromkeys(range(block.first + 1, block.last), Kind.BODY)
        kinds |= {block.first: Kind.BEGIN, block.last: Kind.END}
    return kinds


def _lines(text: str, kinds: dict[int, Kind], anchors: frozenset[str] = frozenset()) -> list[Line]:
    """Code lines and markers; comments and blank lines carry nothing that could be judged as an edit."""
    lines = []
    for number, raw in enumerate(text.split("\n"), 1):
        line, kind = raw.rstrip(), kinds.get(number, Kind.GIVEN)
        comment = not line or line.lstrip().startswith("#")
        if not comment or kind in (Kind.BEGIN, Kind.END) or line in anchors:
            lines.append(Line(number, line, kind))
    return lines


def _inside(ours: list[Line], position: int) -> bool:
    """Whether what was inserted before `position` stands in a TODO region."""
    return position > 0 and ours[position - 1].kind in (Kind.BODY, Kind.BEGIN)


def _replaced(ours: list[Line], theirs: list[Line]) -> list[Line]:
    """Changed lines of a replaced or deleted block; of one that touches a TODO region, what it lost."""
    fixed = [line for line in ours if line.kind is Kind.GIVEN]
    if not fixed:
        return []
    if len(fixed) < len(ours) or not theirs:
        place = theirs[0].number if theirs else ours[0].number
        return [Line(place, line.text) for line in fixed]
    return theirs


def _short(text: str) -> str:
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 3] + "..."
