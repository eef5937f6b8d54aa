"""Workflow commands for GitHub that mark what a submission lost at the file and line of its TODO."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from grader.labs import Lab
from grader.output.wording import earned, lost
from grader.records import Result, Row, Verdict
from grader.submission.kept import code_of, read_kept
from grader.text import visible, word

LONGEST = 1500  # characters of a message
LEVEL = {Verdict.GRADER_ERROR: "warning", Verdict.PARTIAL: "warning", Verdict.SKIPPED: "notice"}

_WHERE = re.compile(r"([\w./-]+\.py):(\d+)\b")
_MARKER = re.compile(r"^[ \t]*#{3,}[ \t]*TODO[ \t]+([a-z0-9_]+\.[a-z0-9_]+)\b")


@dataclass(frozen=True)
class Place:
    """A line of a file, counted from 1; the file as GitHub is to name it."""

    file: str
    line: int


@dataclass(frozen=True)
class Source:
    """Where things are in a submission: its TODOs by row, and its files by half and name below it."""

    lab: Lab
    todos: dict[str, Place]
    files: dict[tuple[str, str], str]


def to_commands(results: list[Result], source: Source) -> Iterator[str]:
    """A workflow command for each lost row; pending points are none, the summary names them."""
    for result in results:
        if result.problem:
            yield command("error", f"{result.id} could not be graded", result.problem)
        else:
            yield from (_annotation(row, result, source) for row in lost(result))


def _annotation(row: Row, result: Result, source: Source) -> str:
    likely = f"likely: {row.diagnosis.title}\n{row.diagnosis.hint}\n\n" if row.diagnosis else ""
    return command(
        LEVEL.get(row.verdict, "error"),
        f"{result.id}, {row.id}: {word(row.verdict)}, {earned(row)} points",
        likely + row.message,
        _place(row, source),
    )


def _place(row: Row, source: Source) -> Place | None:
    """Where the student's code raised, if that is in a file of the row's half; else the TODO."""
    line = next((line for line in source.lab.rubric if line.id == row.id), None)
    if line is None:
        return None
    raised = _WHERE.match(row.worst.where) if row.worst else None
    if raised and (line.half, raised[1]) in source.files:
        return Place(source.files[line.half, raised[1]], int(raised[2]))
    return source.todos.get(row.id) or source.todos.get(line.todo)


def command(level: str, title: str, message: str, place: Place | None = None) -> str:
    """One workflow command on one line, in which no text can end a property, the line, or begin another command."""
    properties = {"file": place.file, "line": str(place.line)} if place else {}
    about = ",".join(f"{name}={_property(value)}" for name, value in {**properties, "title": title}.items())
    return f"::{level} {about}::{_data(visible(message.strip(), LONGEST))}"


def _data(text: str) -> str:
    apart = text.replace("##[", "## [")  # the older form of commands, which counts anywhere in a line
    return apart.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(visible(text, LONGEST)).replace(":", "%3A").replace(",", "%2C")


# --- the files


def handed_out(lab: Lab) -> Source:
    """The lab as it was handed out."""
    folders = {half.key: half.folder for half in lab.halves}
    return _read({half: lab.released / name for half, name in folders.items()}, folders, PurePosixPath(), lab)


def submitted(graded: Path, path: Path, root: Path | None, lab: Lab) -> Source:
    """The submission at `path`, by the code that was kept beside its result in the folder `graded`; empty without it.

    Its files are named from `root`.
    """
    kept = read_kept(graded)
    base = PurePosixPath(os.path.relpath(path, root)) if root is not None and path.is_dir() else PurePosixPath()
    return _read(code_of(graded), kept.folders, base, lab) if kept else Source(lab, {}, {})


def _read(halves: dict[str, Path], names: dict[str, str], base: PurePosixPath, lab: Lab) -> Source:
    """The files of the `halves` that lie in these folders, and that GitHub knows by these names below `base`."""
    source = Source(lab, {}, {})
    of = {row.id: row.half for row in lab.rubric}
    for half, folder in halves.items():
        for file in sorted(folder.rglob("*.py")):
            inside = file.relative_to(folder).as_posix()
            name = str(base / names[half] / inside)
            source.files[half, inside] = name
            for row_id, line in _todo_lines(file):
                if of.get(row_id) == half:
                    source.todos.setdefault(row_id, Place(name, line))
    return source


def _todo_lines(file: Path) -> Iterator[tuple[str, int]]:
    """Each begin marker, also where the markers of a file do not pair up any more."""
    lines = file.read_text(encoding="utf-8", errors="replace").split("\n")
    for place, line in enumerate(lines, 1):
        if marker := _MARKER.match(line):
            yield marker[1], place
