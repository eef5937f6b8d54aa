"""Which submission counts for which id, where files were handed in more than once or by clashing names.

Anybody can name a file as somebody else's, so neither a name nor a time says which of two is a student's own: where
they differ both are graded and a person is asked. Who knows says so by naming one of the files alone, or by asking for
the latest of each id.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

from grader.errors import UsageError
from grader.labs import Lab
from grader.submission.kept import content
from grader.submission.unpack import submission_id

SAME_TIME = 1.0  # seconds; copies and archives round the times of files
UNDECIDED = "a person has to say which counts"  # what a remark on such a submission ends in


NAMED = 4  # files in a remark


@dataclass
class Task:
    """One submission of a run: its id, where it is, and what is to be remarked about it."""

    id: str
    path: Path
    remarks: list[str] = field(default_factory=list)


def undecided(remarks: list[str]) -> bool:
    """Whether a submission is one of several different ones of its id."""
    return any(remark.endswith(UNDECIDED) for remark in remarks)


def tasks_of(
    paths: list[Path], lab: Lab, reserved: frozenset[str] = frozenset(), take_latest: bool = False
) -> list[Task]:
    """A task for each submission: files of one id and one content are one, different ones get numbers of their own.

    With `take_latest` the latest of an id counts alone, where the times of the files tell which it is, and the others
    are named in its remarks. A number also goes to an id that is one of the `reserved` names. Raises UsageError.
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
        counting, remarks = _counting(files, lab, take_latest)
        rivals = [
            Task(_free(name, taken) if ours or number else name, path, list(remarks))
            for number, path in enumerate(counting)
        ]
        if len(rivals) > 1:
            told = "; ".join(f"{_told(task.path)}, is graded as {task.id}" for task in rivals[:NAMED])
            told += f"; and {len(rivals) - NAMED} more" if len(rivals) > NAMED else ""
            for task in rivals:
                task.remarks.append(f"{len(rivals)} different submissions have the id {name} ({told}): {UNDECIDED}")
        tasks += rivals
    return tasks


def _free(name: str, taken: set[str]) -> str:
    number = 2
    while f"{name}~{number}".casefold() in taken:
        number += 1
    taken.add(f"{name}~{number}".casefold())
    return f"{name}~{number}"


def _counting(files: list[Path], lab: Lab, take_latest: bool) -> tuple[list[Path], list[str]]:
    """The files that count, the one that is named as the handout has it first, and remarks about the rest."""
    if len(files) == 1:
        return files, []
    files = sorted(files, key=lambda path: (path.stat().st_mtime, str(path)))
    different = list({content(path, lab): path for path in files}.values())  # of equal ones the latest stays
    different.sort(key=lambda path: (path.stat().st_mtime, str(path)), reverse=True)
    if not take_latest:
        return sorted(different, key=lambda path: not path.name.endswith(f"{lab.suffix}.zip")), []
    latest = different[0].stat().st_mtime
    close = [path for path in different if latest - path.stat().st_mtime < SAME_TIME]
    older = different[len(close) :]
    return close, [f"also handed in by this id, earlier and not graded: {_told(path)}" for path in older[:NAMED]]


def _told(path: Path) -> str:
    return f"{path.parent.name}/{path.name}, {time.strftime('%Y-%m-%d %H:%M', time.localtime(path.stat().st_mtime))}"
