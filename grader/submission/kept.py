"""What is kept of a submission beside its result, so that nobody has to unpack it again: its code, and what it was."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path

from grader.files import is_plain, of_the_machine, opened, write_atomically
from grader.labs import Lab
from grader.submission.unpack import Submission, Unreadable, stage

CODE, RECORD = "code", "submission.json"
MOST_LISTED = 100_000  # files of a folder as it was handed in
MOST_FILES, MOST_BYTES = 200, 4 << 20  # of code; what is more is not kept


@dataclass(frozen=True)
class Kept:
    """`handed_in` is a digest of the file or folder as it lay there, `folders` are the halves' within it."""

    handed_in: str
    folders: dict[str, str] = field(default_factory=dict)


def keep(source: Path, submission: Submission | None, folder: Path) -> None:
    """Put the code of a submission, and what it was, beside its result; None for one that cannot be read."""
    halves = submission.halves if submission else {}
    left_files, left_bytes = MOST_FILES, MOST_BYTES
    for half, name in halves.items():
        assert submission
        top = submission.root / name
        for file in filter(is_plain, sorted(top.rglob("*.py"))):
            left_files, left_bytes = left_files - 1, left_bytes - file.stat().st_size
            if left_files < 0 or left_bytes < 0:
                break
            target = folder / CODE / half / file.relative_to(top)
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, target)
            except OSError as error:
                if of_the_machine(error):
                    raise  # the disk is full; a name that it does not take costs no more than its copy
    record = Kept(as_handed_in(source), dict(halves))
    write_atomically(folder / RECORD, json.dumps(asdict(record)) + "\n")


def read_kept(folder: Path) -> Kept | None:
    """What was kept beside a result; None where nothing was, as by an older version."""
    try:
        data = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        return Kept(str(data["handed_in"]), {str(half): str(name) for half, name in data["folders"].items()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def code_of(folder: Path) -> dict[str, Path]:
    """The folders of the halves whose code was kept beside a result, by their keys."""
    return {half.name: half for half in sorted((folder / CODE).glob("*")) if half.is_dir()}


def as_handed_in(path: Path) -> str:
    """Digest of a ZIP's bytes; of a folder, of the names, sizes and times of what is in it: "" for what is not there.

    A folder's files change their time with every edit (`ctime` cannot be set back). "" also stands for a folder with
    more files than a submission can have.
    """
    digest, count = hashlib.sha256(), 0
    try:
        if path.is_dir():
            for place, below, files in os.walk(path):
                below.sort()
                count += len(files)
                if count > MOST_LISTED:
                    return ""
                for name in sorted(files):
                    file = Path(place, name)
                    status = file.lstat()
                    about = (file.relative_to(path).as_posix(), status.st_size, status.st_mtime_ns, status.st_ctime_ns)
                    digest.update(repr(about).encode("utf-8", "surrogatepass"))
        else:
            return digest_of_file(path)
    except OSError:
        return ""
    return digest.hexdigest()


def digest_of_file(path: Path) -> str:
    """SHA-256 of a regular file, "" for anything else."""
    try:
        with opened(path, links=True) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def content(path: Path, lab: Lab) -> str:
    """Digest of what would be graded of a submission, whatever wraps it; it has to be unpacked for that."""
    with tempfile.TemporaryDirectory(prefix="ddpm-grader-") as scratch:
        try:
            return stage(path, Path(scratch) / "submission", lab).sha256
        except Unreadable:
            return digest_of_file(path)
