"""Which submission counts for which id, where files were handed in more than once or by clashing names."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

from grader.errors import UsageError
from grader.labs import Lab
from grader.submission.kept import content
from grader.submission.unpack import submission_id

SAME_TIME = 1.0  # seconds; copies and archives round the times of files


@dataclass
class Task:
    """One submission of a run: its id, where it is, and what is to be remarked about it."""

    id: str
    path: Path
    remarks: list[str] = field(default_factory=list)


def tasks_of(paths: list[Path], lab: Lab, reserved: frozenset[str] = frozenset()) -> list[Task]:
    """One task an id: of several files of one id the latest counts, and the others are named in its remarks.

    Where their times do not tell which is the latest, each is graded, under a number of its own; so is an id that is
    one of the `reserved` names. Raises UsageError.
    """
    absent = [str(path) for path in paths if not path.exists()]
    if absent:
        raise UsageError(
            f"no such file or folder: {', '.join(absent[:5])}"
            + (f" and {len(absent) - 5} more" if len(absent) > 5 else "")
        )
    for path in paths:
        if len(handed_in := list(path.glob(f"*{lab.suffix}.zip"))) > 1:
            raise UsageError(
                f"{path} is a folder with {len(handed_in)} submissions and not one of them: "
                f"name the files, as in `{path}/*.zip`"
            )
    named: dict[str, list[Path]] = {}
    for path in dict.fromkeys(path.resolve() for path in paths):
        named.setdefault(submission_id(path, lab.suffix), []).append(path)
    taken = {name.casefold() for name in named} | reserved
    tasks = []
    for name, files in named.items():
        ours = name.casefold() in reserved
        tasks += [
            Task(_free(name, taken) if ours or number else name, path, remarks)
            for number, (path, remarks) in enumerate(_counting(files, lab))
        ]
    return tasks


def _free(name: str, taken: set[str]) -> str:
    number = 2
    while f"{name}~{number}".casefold() in taken:
        number += 1
    taken.add(f"{name}~{number}".casefold())
    return f"{name}~{number}"


def _counting(files: list[Path], lab: Lab) -> list[tuple[Path, list[str]]]:
    """The file that counts, or those among which the times do not decide, each with remarks about the rest."""
    if len(files) == 1:
        return [(files[0], [])]
    files = sorted(files, key=lambda path: (path.stat().st_mtime, str(path)))
    different = {content(path, lab): path for path in files}  # of equal ones the latest stays
    latest = list(different.values())[-1]
    close = [path for path in different.values() if latest.stat().st_mtime - path.stat().st_mtime < SAME_TIME]
    older = [path for path in different.values() if path not in close]
    remarks = [f"also handed in by this id, earlier and not graded: {_told(path)}" for path in older]
    if len(close) > 1:
        remarks.append(f"{len(close)} submissions of this id are of the same time: a person has to say which counts")
    return [(path, list(remarks)) for path in reversed(close)]


def _told(path: Path) -> str:
    return f"{path.parent.name}/{path.name}, {time.strftime('%Y-%m-%d %H:%M', time.localtime(path.stat().st_mtime))}"
