"""A user that exists for one submission only: a uid, a folder, and the end of whatever ran and was written as it."""

from __future__ import annotations

import ctypes
import json
import os
import pwd
import random
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

from grader.worker import landlock
from grader.worker.leftovers import remove_tree

from . import reaper
from .base import ENTRIES_CAP, SandboxFault, SandboxUnavailable

SHARED = ("/tmp", "/var/tmp", "/dev/shm", "/dev/mqueue", "/run/lock", "/run/shm", "/var/crash")
UIDS = ((1_000_000, 1_000_000_000), (20_000, 60_000))  # to choose from: high ones, else what small containers map
MIB = 1 << 20
NOSUID_NODEV, MNT_DETACH = 6, 2
# Not a disk: what the kernel shows, and others' disks, on which this machine's users are nobody's.
ELSEWHERE = frozenset(
    {
        *("proc", "sysfs", "cgroup", "cgroup2", "debugfs", "tracefs", "securityfs", "configfs", "devpts", "bpf"),
        *("nfs", "nfs4", "cifs", "fuse.sshfs", "autofs", "binfmt_misc", "pstore", "efivarfs", "nsfs", "ramfs"),
    }
)
OTHERWISE = "or use bubblewrap where it works, or `--sandbox none`, which runs submissions without protection"


class Account:
    """A uid that nobody else uses, with a folder, for the workers of one submission."""

    def __init__(self, scratch_mib: int) -> None:
        self.uid, self._claim = claim_uid()
        self.landlock = landlock.version()
        elsewhere = () if self.landlock else open_folders()
        self.shared = list(dict.fromkeys((*shared_folders(), *elsewhere)))
        self.mounted = True  # whether the scratch folder is a file system of its own, of `scratch_mib`
        self._size = scratch_mib * MIB
        self._checked, self._pause = 0.0, 0.0
        self.folder = Path(tempfile.mkdtemp(prefix="ddpm-grader-", dir=temporary_folder()))
        os.chown(self.folder, 0, self.uid)
        self.folder.chmod(0o710)  # the user passes through, other submissions' users do not
        self.scratch = self.folder / "scratch"
        self.clear()
        order = {"uid": self.uid, "folder": str(self.folder), "shared": self.shared}
        argv = [sys.executable, "-I", "-S", reaper.__file__, json.dumps(order)]
        self._reaper = subprocess.Popen(
            argv,
            env={},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def clear(self) -> None:
        """Make the scratch folder anew."""
        unmount(self.scratch)
        remove_tree(str(self.scratch))
        self.scratch.mkdir(mode=0o700)
        self.mounted = self.mounted and mount_memory(self.scratch, self._size)
        self.scratch.chmod(0o700)
        os.chown(self.scratch, self.uid, self.uid)

    def sweep(self) -> None:
        """End the user's processes and remove its files. Raises SandboxFault where that fails."""
        assert self._reaper.stdin
        assert self._reaper.stdout
        try:
            self._reaper.stdin.write(b"\n")
            self._reaper.stdin.flush()
            said = self._reaper.stdout.readline()
        except OSError as error:
            raise SandboxFault(f"the sandbox's process that ends the user's processes is gone: {error}") from error
        if said != b"\n":
            raise SandboxFault(
                said.decode(errors="replace").strip() or "the sandbox's process that ends the user's processes is gone"
            )
        self.clear()

    def close(self) -> None:
        """End whatever is left of the user, and the folder. May be called again."""
        assert self._reaper.stdin
        assert self._reaper.stdout
        with suppress(OSError):
            self._reaper.stdin.close()
        self._reaper.wait()
        self._reaper.stdout.close()
        self._claim.close()
        unmount(self.scratch)
        remove_tree(str(self.folder))

    def overfull(self, pids: list[int], cap_mib: int) -> str:
        """What is wrong with the space that the user takes, its processes being `pids`; empty where it is fine."""
        now = time.monotonic()
        if now < self._checked + self._pause:
            return ""
        size, count = self._taken(pids)
        self._checked = time.monotonic()
        self._pause = 2 * (self._checked - now)  # looking takes a third of the time at most
        if size > cap_mib * MIB:
            return f"wrote more than {cap_mib} MiB of files"
        return f"made more than {ENTRIES_CAP} files" if count > ENTRIES_CAP else ""

    def _taken(self, pids: list[int]) -> tuple[int, int]:
        """Bytes and number of the user's files; one is counted once, under whichever names."""
        sizes: dict[tuple[int, int], int] = {}
        for status in self._files(pids):
            if status.st_uid == self.uid:
                sizes[status.st_dev, status.st_ino] = status.st_blocks * 512
            if len(sizes) > ENTRIES_CAP:
                break
        return sum(sizes.values()), len(sizes)

    def _files(self, pids: list[int]) -> Iterator[os.stat_result]:
        device = self.scratch.stat().st_dev
        for folder in [*([] if self.mounted else [str(self.scratch)]), *self.shared]:
            yield from _below(folder, self.uid)
        for pid in pids:  # files without a name take room, too
            with suppress(OSError):
                for fd in os.listdir(f"/proc/{pid}/fd"):
                    with suppress(OSError):
                        status = os.stat(f"/proc/{pid}/fd/{fd}")
                        if stat.S_ISREG(status.st_mode) and not (self.mounted and status.st_dev == device):
                            yield status


def _below(folder: str, uid: int) -> Iterator[os.stat_result]:
    """What is in a folder, and in those of its folders that are the user's."""
    queue = [folder]
    while queue:
        with suppress(OSError), os.scandir(queue.pop()) as entries:
            for entry in entries:
                with suppress(OSError):
                    status = entry.stat(follow_symlinks=False)
                    yield status
                    if stat.S_ISDIR(status.st_mode) and status.st_uid == uid:
                        queue.append(entry.path)


def claim_uid() -> tuple[int, socket.socket]:
    """A uid without a name and processes, and the claim to it: a socket's name, which ends with its process."""
    mapped = _mapped()
    for low, high in UIDS:
        for _ in range(20):
            uid = random.SystemRandom().randrange(low, high)
            if not any(uid in span for span in mapped):
                break  # the container maps few uids: the lower ones
            claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            try:
                claim.bind(f"\0ddpm-grader-uid-{uid}")
            except OSError:
                claim.close()
                continue
            if not _known(uid) and not reaper.processes(uid):
                return uid, claim
            claim.close()
    raise SandboxUnavailable(
        f"this container has no unused uid for the sandbox 'user': it takes some from "
        f"{UIDS[-1][0]} to {UIDS[-1][1]}, {OTHERWISE}"
    )


def _mapped() -> list[range]:
    """The uids that are also gids in this container."""
    spans = []
    for kind in ("uid", "gid"):
        lines = [line.split() for line in Path(f"/proc/self/{kind}_map").read_text().splitlines()]
        spans.append([range(int(first), int(first) + int(count)) for first, _, count in lines])
    return [range(max(one.start, other.start), min(one.stop, other.stop)) for one in spans[0] for other in spans[1]]


def _known(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def shared_folders() -> list[str]:
    """Folders in which everyone may make files: the usual ones, and such folders in them."""
    found = []
    for name in dict.fromkeys(os.path.realpath(name) for name in SHARED):
        with suppress(OSError):
            found.append(name)
            found += [
                entry.path
                for entry in os.scandir(name)
                if entry.is_dir(follow_symlinks=False) and entry.stat(follow_symlinks=False).st_mode & stat.S_IWOTH
            ]
    return found


@cache
def open_folders() -> tuple[str, ...]:
    """Every folder of this machine's disks in which everyone may make files, and to which everyone gets."""
    found, seen, queue = [], set(), ["/"]
    while queue:
        folder = queue.pop()
        with suppress(OSError):
            status = os.lstat(folder)
            if not stat.S_ISDIR(status.st_mode) or not status.st_mode & stat.S_IXOTH:
                continue
            if status.st_dev not in seen and _kind_of_disk(folder) in ELSEWHERE:
                continue
            seen.add(status.st_dev)
            if status.st_mode & stat.S_IWOTH:
                found.append(folder)
            with os.scandir(folder) as entries:
                queue += [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    return tuple(sorted(found))


def _kind_of_disk(folder: str) -> str:
    """The kind of file system that is mounted at or above a folder."""
    best, kind = "", ""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, name, *_ = line.split()
        if (folder == place or folder.startswith(place.rstrip("/") + "/")) and len(place) >= len(best):
            best, kind = place, name
    return kind


def mount_memory(folder: Path, size: int) -> bool:
    """Mount a file system in memory over a folder, of so many bytes; whether this container lets us."""
    options = f"size={size},nr_inodes={ENTRIES_CAP},mode=0700".encode()
    return _libc().mount(b"tmpfs", os.fsencode(folder), b"tmpfs", NOSUID_NODEV, options) == 0


def unmount(folder: Path) -> None:
    """Take away what is mounted over a folder, if anything is."""
    with suppress(OSError):
        if os.path.ismount(folder):
            _libc().umount2(os.fsencode(folder), MNT_DETACH)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def temporary_folder() -> str:
    """A folder for temporary files to which every user gets."""
    for name in (tempfile.gettempdir(), "/tmp", "/var/tmp"):
        folder = Path(name).resolve()
        if all(one.is_dir() and one.stat().st_mode & stat.S_IXOTH for one in (folder, *folder.parents)):
            return str(folder)
    raise SandboxUnavailable(
        "the sandbox 'user' finds no folder for its files: /tmp is closed to other users; `chmod 1777 /tmp` opens it"
    )
