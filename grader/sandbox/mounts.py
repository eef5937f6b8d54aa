"""What a submission sees inside bubblewrap: the system, this Python, its own files, and two folders to write in.

The order decides. The private /tmp and /dev/shm come before the folders of the interpreter, as these may lie
below the real /tmp; the worker's own folders get names where nothing else that is shown lies.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from .base import SandboxUnavailable
from .installation import interpreter_folders, private_folders, telltale_files

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store")
CONFIGURATION = ("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives")
PLACES = {"worker": "/grader/worker", "probes": "/grader/probes", "submission": "/submission"}
TMP, SHM = "/tmp", "/dev/shm"
SHM_MIB = 64
MIB = 1 << 20


class Mounts:
    """The mounts of one worker, as arguments of bwrap. Raises SandboxUnavailable where Python is in the way."""

    start = TMP  # the folder in which the worker starts
    writable = (TMP, SHM)

    def __init__(self, scratch_mib: int, gpu: bool, hidden: Iterable[Path] = ()) -> None:
        self._sizes, self._gpu = {TMP: scratch_mib * MIB, SHM: SHM_MIB * MIB}, gpu
        self._taken, self._hidden = interpreter_folders(), list(hidden)
        self._shown: list[str] = []
        self.scratch = free(f"{TMP}/scratch", self._taken)  # the worker makes it
        for folder in self._taken:
            for name in self.writable:
                if Path(name).is_relative_to(folder):
                    raise SandboxUnavailable(f"this Python's folder is {folder}, and submissions write into {name}")

    def show(self, folder: Path, name: str) -> Path:
        """Show a folder, and say where it is inside; `name` is one of PLACES."""
        top, *rest = Path(PLACES[name]).parts[1:]
        place = Path(free(f"/{top}", self._taken), *rest)
        self._shown += [*_parents(place), "--ro-bind", str(folder), str(place)]
        return place

    def arguments(self) -> list[str]:
        """All of them, in order."""
        closing = ["--remount-ro", "/"]
        python = _python(self._taken, self._hidden)
        return [*_system(), *self._devices(), *self._writable(), *python, *self._shown, *closing]

    def _devices(self) -> Iterator[str]:
        yield from ("--proc", "/proc", "--dev", "/dev")
        if self._gpu:
            for device in [*sorted(Path("/dev").glob("nvidia*")), Path("/dev/dri")]:
                yield from ("--dev-bind-try", str(device), str(device))
            yield from ("--ro-bind-try", "/sys", "/sys")
        yield from ("--remount-ro", "/dev")  # bwrap's is a tmpfs without a limit on its size

    def _writable(self) -> Iterator[str]:
        for name, size in self._sizes.items():
            yield from ("--perms", "1777", "--size", str(size), "--tmpfs", name)


def free(place: str, taken: Iterable[Path]) -> str:
    """`place`, or something like it, at which none of the folders lies that are shown where they are."""
    while any(folder.is_relative_to(place) for folder in taken):
        place += "-"
    return place


def _system() -> Iterator[str]:
    for name in SYSTEM:
        if os.path.islink(name):
            yield from ("--symlink", os.readlink(name), name)
        elif os.path.isdir(name):
            yield from (*_parents(Path(name)), "--ro-bind", name, name)
    for name in CONFIGURATION:
        yield from ("--ro-bind-try", name, name)


def _python(folders: list[Path], hidden: Iterable[Path]) -> Iterator[str]:
    """Binds and masks, outer folders first, so that a mask hides what a bind around it shows.

    `hidden` are packages, each a folder or a file.
    """
    shown = [Path(name) for name in SYSTEM]
    private = private_folders()
    empty: list[Path] = []
    mounts = [(folder, "show") for folder in folders] + [(folder, "hide") for folder in private]
    for folder, what in sorted(mounts, key=lambda mount: (len(mount[0].parts), mount[0])):
        if what == "hide":
            if _covered(folder, shown):
                yield from _emptied(folder)
                empty.append(folder)
        elif not _covered(folder, shown) or _covered(folder, private):
            top = _top(folder)
            if top is not None and not _covered(top, [*shown, *empty]):
                yield from _emptied(top)
                empty.append(top)
            yield from (*_parents(folder), "--ro-bind", str(folder), str(folder))
            shown.append(folder)
    for folder in empty:  # after what may have to be mounted inside, a virtual environment in a repository
        yield from ("--remount-ro", str(folder))
    for file in [*telltale_files(), *hidden]:
        if file.is_dir() and _covered(file, shown):
            yield from (*_emptied(file), "--remount-ro", str(file))
        elif _covered(file, shown):
            yield from ("--ro-bind", "/dev/null", str(file))


def _top(folder: Path) -> Path | None:
    """The uppermost folder above one in which a submission could write, rename or remove what leads there."""
    for name in Mounts.writable:
        if folder.is_relative_to(name) and folder.parent != Path(name):
            return Path(name, folder.relative_to(name).parts[0])
    return None


def _emptied(folder: Path) -> Iterator[str]:
    """An empty mount over a folder; it is closed to writing once what belongs into it is mounted."""
    yield from ("--perms", "0755", "--tmpfs", str(folder))


def _parents(folder: Path) -> Iterator[str]:
    """bwrap makes missing parents for their owner alone; the worker is another user."""
    for parent in reversed(folder.parents[:-1]):
        yield from ("--dir", str(parent))


def _covered(folder: Path, shown: Iterable[Path]) -> bool:
    return any(folder.is_relative_to(other) for other in shown)
