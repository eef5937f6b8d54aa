"""Control groups, where this machine lets us make some: the kernel's own memory counts there, and nobody outruns them.

Version 2 takes a group whose children have the controllers of memory and processes, and in which we may make
children: as root, or delegated (`systemd-run --user --scope -p Delegate=yes`). Version 1 takes the same of each
hierarchy. Where there is neither, limits of processes and a watchdog that counts are what there is.
"""

from __future__ import annotations

import itertools
import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from grader.policy import Limits

MIB = 1 << 20
SHARED_MIB = 64  # of /dev/shm
SPARE_PROCESSES = 24  # of the sandbox's own
NAME = re.compile(r"ddpm-grader-(\d+)-(\d+)-\d+")
NEEDED = ("memory", "pids")
REMOVE_S = 2.0
COUNTED = "counted"  # what bounds memory and processes where there are no groups
_numbers = itertools.count()


@dataclass(frozen=True)
class Parents:
    """Groups of this process's in which a worker's may be made: one of version 2, or one a controller."""

    version: int
    folders: dict[str, Path]

    def make(self, limits: Limits) -> Group | None:
        """A group for a worker, None where it cannot be made after all."""
        name = f"ddpm-grader-{os.getpid()}-{_started(os.getpid())}-{next(_numbers)}"
        group = Group(self.version, {controller: parent / name for controller, parent in self.folders.items()})
        try:
            group.begin(limits)
        except OSError:
            group.remove()
            return None
        return group

    def tidy(self) -> None:
        """Remove the groups of graders that were killed."""
        for parent in set(self.folders.values()):
            with suppress(OSError):
                for entry in list(os.scandir(parent)):
                    owner = NAME.fullmatch(entry.name)
                    if owner and _started(int(owner[1])) != owner[2]:
                        with suppress(OSError):
                            os.rmdir(entry.path)


class Group:
    """The control group of one worker: `folders` by controller, all the same in version 2."""

    def __init__(self, version: int, folders: dict[str, Path]) -> None:
        self.version, self._folders = version, folders

    def begin(self, limits: Limits) -> None:
        """Make it, with its limits. Raises OSError."""
        for folder in set(self._folders.values()):
            folder.mkdir()
        memory = (limits.total_memory_mib + limits.scratch_mib + SHARED_MIB) * MIB
        first, swap = ("memory.max", "memory.swap.max") if self.version == 2 else ("memory.limit_in_bytes", None)
        (self._folders["memory"] / first).write_text(str(memory))
        if swap and (self._folders["memory"] / swap).exists():
            (self._folders["memory"] / swap).write_text("0")
        (self._folders["pids"] / "pids.max").write_text(str(limits.processes + SPARE_PROCESSES))

    def add(self, pids: list[int]) -> None:
        """Move processes here. Raises OSError."""
        for folder in set(self._folders.values()):
            for pid in pids:
                (folder / "cgroup.procs").write_text(str(pid))

    def processor_time(self) -> float | None:
        """Seconds that everything in it took, the dead included; None where they are not counted."""
        with suppress(OSError, ValueError, IndexError, KeyError):
            if self.version == 1:
                return int((self._folders["cpuacct"] / "cpuacct.usage").read_text()) / 1e9
            return int((self._folders["memory"] / "cpu.stat").read_text().split()[1]) / 1e6
        return None

    def killed(self) -> int:
        """How many processes the kernel has ended for want of memory."""
        name = "memory.events" if self.version == 2 else "memory.oom_control"
        with suppress(OSError, ValueError):
            fields = (self._folders["memory"] / name).read_text().split()
            return int(dict(zip(fields[::2], fields[1::2], strict=True)).get("oom_kill", 0))
        return 0

    def remove(self) -> None:
        """Remove it, once its last process has ended; the next run removes what is left."""
        end = time.monotonic() + REMOVE_S
        for folder in set(self._folders.values()):
            while folder.is_dir():
                try:
                    folder.rmdir()
                except OSError:
                    if time.monotonic() > end:
                        break
                    time.sleep(0.01)


@cache
def here() -> Parents | None:
    """Where groups can be had on this machine; what killed graders left there is removed."""
    parents = find(Path("/proc/self/mountinfo").read_text(), Path("/proc/self/cgroup").read_text())
    if parents is not None:
        parents.tidy()
    return parents


def find(mountinfo: str, membership: str) -> Parents | None:
    """Where groups can be had, by what /proc says of mounts, and of the groups of this process."""
    unified: Path | None = None
    of_version_1: dict[str, Path] = {}
    paths = dict(_memberships(membership))
    for root, mount, kind, options in _mounts(mountinfo):
        if kind == "cgroup2" and "" in paths:
            unified = _usable(_below(mount, root, paths[""]), mount)
        elif kind == "cgroup":
            for controller in {"memory", "pids", "cpu", "cpuacct"} & set(options) & set(paths):
                folder = _below(mount, root, paths[controller])
                if os.access(folder, os.W_OK):
                    of_version_1[controller] = folder
    if unified is not None:
        return Parents(2, dict.fromkeys(NEEDED, unified))
    return Parents(1, of_version_1) if set(NEEDED) <= set(of_version_1) else None


def _usable(own: Path, top: Path) -> Path | None:
    """The nearest group of version 2 from our own upwards whose children are bounded, and where we may make one."""
    for folder in (own, *own.parents):
        with suppress(OSError):
            given = (folder / "cgroup.subtree_control").read_text().split()
            if set(NEEDED) <= set(given) and os.access(folder, os.W_OK) and os.access(folder / "cgroup.procs", os.W_OK):
                return folder
        if folder == top:
            return None
    return None


def _memberships(text: str) -> Iterator[tuple[str, str]]:
    """(controller, path) of the groups of a process; the controller of version 2 is empty."""
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        yield from ((controller, path) for controller in controllers.split(","))


def _mounts(text: str) -> Iterator[tuple[str, Path, str, list[str]]]:
    """(root, place, kind, options of the file system) of each mount."""
    for line in text.splitlines():
        ours, _, theirs = line.partition(" - ")
        fields, about = ours.split(), theirs.split()
        if len(fields) > 4 and len(about) > 2:
            yield fields[3], Path(fields[4]), about[0], about[2].split(",")


def _below(mount: Path, root: str, path: str) -> Path:
    """Where a group lies that a process has by `path`, of a mount that shows what is below `root`."""
    inside = os.path.relpath(path, root)
    return mount if inside.startswith("..") else mount / inside


def _started(pid: int) -> str:
    """When a process started, which tells it from others of the same number; empty where there is none."""
    with suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return ""
