"""A folder that is published whole or not at all, and replaced only where nobody has worked in it."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from grader.errors import UsageError
from grader.files import write_atomically

MANIFEST = ".ddpm-lab-edition.json"  # in an edition's folder: the files that it was released with

Files = dict[str, bytes]  # relative path with forward slashes -> contents


@dataclass(frozen=True)
class Edition:
    """A released edition. `set_aside` is where `force` moved what had stood in its place, else None."""

    path: Path
    files: tuple[str, ...]
    set_aside: Path | None = None


def refuse_occupied(destination: Path) -> None:
    """Raises UsageError where `destination` holds something else than an unchanged edition."""
    if is_occupied(destination) and not _is_untouched(destination):
        raise UsageError(
            f"{destination} is not empty, and not an unchanged edition of this lab: name another"
            " folder, or use --force, which keeps what is there under another name"
        )


def publish(destination: Path, files: Files) -> Edition:
    """Writes `files` to `destination`, all of them or nothing.

    An edition that nobody has edited since is replaced; anything else is renamed to `NAME.before-1` and so on.
    """
    occupied = is_occupied(destination)
    destination.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{destination.name}-", dir=destination.parent) as scratch:
        fresh = Path(scratch) / "edition"
        write_files(fresh, {**files, MANIFEST: _manifest(files)})
        set_aside = None
        if occupied and not _is_untouched(destination):
            set_aside = _free_name(destination)
            destination.rename(set_aside)
        elif destination.exists():
            destination.rename(Path(scratch) / "old")
        fresh.rename(destination)
    return Edition(destination, tuple(sorted(files)), set_aside)


def write_files(folder: Path, files: Files) -> None:
    """Each file so that a reader sees the old or the new one whole; one that is there already is left alone."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file() or path.read_bytes() != data:
            write_atomically(path, data)


def sources(folder: Path, left_out: Collection[str] = ()) -> list[Path]:
    """All files below a folder, without caches and what lies in a folder of a name in `left_out`."""
    hidden = {"__pycache__", ".ipynb_checkpoints", *left_out}
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not hidden & set(path.relative_to(folder).parts) and path.suffix != ".pyc"
    ]


def is_occupied(destination: Path) -> bool:
    if destination.is_dir():
        return any(destination.iterdir())
    if destination.exists():
        raise UsageError(f"{destination} is a file, not a folder")
    return False


def _is_untouched(folder: Path) -> bool:
    """Whether `folder` holds exactly what its manifest lists; Python's own caches aside."""
    try:
        listed = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["sha256"]
        there = {
            path.relative_to(folder).as_posix(): _digest(path.read_bytes())
            for path in sources(folder)
            if path.name != MANIFEST
        }
        return bool(there == listed)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _manifest(files: Files) -> bytes:
    digests = {name: _digest(data) for name, data in sorted(files.items())}
    return (json.dumps({"sha256": digests}, indent=1) + "\n").encode()


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _free_name(destination: Path) -> Path:
    number = 1
    while (name := destination.with_name(f"{destination.name}.before-{number}")).exists():
        number += 1
    return name
