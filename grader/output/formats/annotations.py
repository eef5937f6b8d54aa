"""Workflow commands for GitHub that mark what a submission lost at the file and line of its TODO."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

from grader.errors import UsageError
from grader.lab import LAB
from grader.records import Result, Row, Verdict
from grader.submission.unpack import Unreadable, stage
from grader.text import number, visible, word

LONGEST = 1500  # characters of a message
LEVEL = {Verdict.GRADER_ERROR: "warning", Verdict.PARTIAL: "warning", Verdict.SKIPPED: "notice"}
QUIET = frozenset({Verdict.PASSED, Verdict.NEEDS_REVIEW})  # pending points are no finding, the summary names them
SHARED = {"task1.fig_q_sample": "task1.q_sample", "task1.training": "task1.p_sample_loop"}  # rows without a TODO

_WHERE = re.compile(r"^where:\s*([\w./-]+\.py):(\d+)", re.MULTILINE)
_MARKER = re.compile(r"^[ \t]*#{3,}[ \t]*TODO[ \t]+([a-z0-9_]+\.[a-z0-9_]+)\b")


@dataclass(frozen=True)
class Place:
    """A line of a file, counted from 1; the file as GitHub is to name it."""

    file: str
    line: int


@dataclass(frozen=True)
class Source:
    """Where things are in a submission: its TODOs, and its files by half and name below it."""

    todos: dict[str, Place]
    files: dict[tuple[str, str], str]


def to_commands(results: list[Result], source: Path | None = None, root: Path | None = None) -> Iterator[str]:
    """A workflow command for each lost row. `source` is the submission, ZIP or folder, that the one result is of;
    without it, lines are those of the lab as it was handed out. Raises UsageError for a source of several results."""
    if source is not None and len(results) != 1:
        raise UsageError(f"--source is one submission, and there are {len(results)} results")
    places = submitted(source, root) if source is not None else lab()
    for result in results:
        if result.problem:
            yield command("error", f"{result.id} could not be graded", result.problem)
        else:
            yield from (_annotation(row, result, places) for row in result.told if row.verdict not in QUIET)


def _annotation(row: Row, result: Result, source: Source) -> str:
    earned = f"{number(row.points)} of {number(row.max)} points"
    likely = f"likely: {row.diagnosis.title}\n{row.diagnosis.hint}\n\n" if row.diagnosis else ""
    return command(
        LEVEL.get(row.verdict, "error"),
        f"{result.id}, {row.id}: {word(row.verdict)}, {earned}",
        likely + row.message,
        _place(row, source),
    )


def _place(row: Row, source: Source) -> Place | None:
    """Where the student's code raised, if the message says and the file is one of the row's half; else the TODO."""
    half = _halves().get(row.id, "")
    said = _WHERE.search(row.message)
    if said and (half, said[1]) in source.files:
        return Place(source.files[half, said[1]], int(said[2]))
    return source.todos.get(row.id) or source.todos.get(SHARED.get(row.id, ""))


def command(level: str, title: str, message: str, place: Place | None = None) -> str:
    """One workflow command on one line, in which no text can end a property, the line, or begin another command."""
    properties = {"file": place.file, "line": str(place.line)} if place else {}
    told = ",".join(f"{name}={_property(value)}" for name, value in {**properties, "title": title}.items())
    return f"::{level} {told}::{_data(visible(message.strip(), LONGEST))}"


def _data(text: str) -> str:
    apart = text.replace("##[", "## [")  # the older form of commands, which counts anywhere in a line
    return apart.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(visible(text, LONGEST)).replace(":", "%3A").replace(",", "%2C")


# --- the files


def lab() -> Source:
    """The lab as it was handed out."""
    return _read({half.key: LAB.released / half.folder for half in LAB.halves}, LAB.released, PurePosixPath())


def submitted(path: Path, root: Path | None = None) -> Source:
    """A submission, read from a safe copy; empty if it cannot be read. Its files are named from `root`."""
    base = PurePosixPath(os.path.relpath(path, root)) if root is not None and path.is_dir() else PurePosixPath()
    with tempfile.TemporaryDirectory(prefix="ddpm-grader-") as scratch:
        top = Path(scratch) / "submission"
        try:
            halves = stage(path, top, LAB).halves
        except Unreadable:
            return Source({}, {})
        return _read({half: top / folder for half, folder in halves.items()}, top, base)


def _read(halves: dict[str, Path], top: Path, base: PurePosixPath) -> Source:
    source = Source({}, {})
    for half, folder in halves.items():
        for file in sorted(folder.rglob("*.py")):
            name = str(base / file.relative_to(top).as_posix())
            source.files[half, file.relative_to(folder).as_posix()] = name
            for row_id, line in _todo_lines(file):
                if _halves().get(row_id) == half:
                    source.todos.setdefault(row_id, Place(name, line))
    return source


@cache
def _halves() -> dict[str, str]:
    """The half of each row of the rubric."""
    return {row.id: row.half for row in LAB.rubric}


def _todo_lines(file: Path) -> Iterator[tuple[str, int]]:
    """Each begin marker, also where the markers of a file do not pair up any more."""
    lines = file.read_text(encoding="utf-8", errors="replace").split("\n")
    for place, line in enumerate(lines, 1):
        if marker := _MARKER.match(line):
            yield marker[1], place
