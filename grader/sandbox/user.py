"""The sandbox without namespaces: each submission runs as an unprivileged user of its own.

It is weaker than bubblewrap: the submission sees the machine's file system and process list as any user does.
What it must not read has to be closed to other users, which `require` tries out; the network is closed by a
filter of system calls, the disk by a watch on what the user owns.
"""

from __future__ import annotations

import base64
import ctypes
import json
import os
import pwd
import random
import shlex
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

from . import guard, seccomp
from . import launch as launching
from .base import SandboxFault, SandboxUnavailable
from .launch import Launch

SHARED = ("/tmp", "/var/tmp", "/dev/shm", "/dev/mqueue", "/run/lock", "/run/shm", "/var/crash")
UIDS = ((1_000_000, 1_000_000_000), (20_000, 60_000))  # to choose from: high ones, else what small containers map
ENTRIES_CAP = 50_000  # files and folders that a submission may make
MIB = 1 << 20
# Run as the unprivileged user: which paths of [path, whether only its listing matters] does it get to see?
TRIAL = """
import json, os, sys
def shown(path, listing_only):
    try:
        if os.path.isdir(path):
            if not listing_only:
                os.stat(os.path.join(path, "."))
                return True
            usual = os.listdir("/etc/skel") if os.path.isdir("/etc/skel") else []
            return bool(set(os.listdir(path)) - set(usual))
        open(path, "rb").close()
        return True
    except OSError:
        return False
print(json.dumps([path for path, listing_only in json.load(sys.stdin) if shown(path, listing_only)]))
"""
OTHERWISE = "or use bubblewrap where it works, or `--sandbox none`, which runs submissions without protection"


class Account:
    """A uid that nobody else uses, with a folder, for the workers of one submission."""

    def __init__(self) -> None:
        self.uid, self._claim = claim_uid()
        self.shared = shared_folders()
        self._checked, self._pause = 0.0, 0.0
        self.folder = Path(tempfile.mkdtemp(prefix="ddpm-grader-", dir=_place()))
        os.chown(self.folder, 0, self.uid)
        self.folder.chmod(0o710)  # the user passes through, other submissions' users do not
        self.scratch = self.folder / "scratch"
        self.clear()
        order = {"uid": self.uid, "folder": str(self.folder), "shared": self.shared}
        argv = [sys.executable, "-I", "-S", guard.__file__, json.dumps(order)]
        self._guard = subprocess.Popen(
            argv,
            env={},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def clear(self) -> None:
        """Make the scratch folder anew."""
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.scratch.mkdir(mode=0o700)
        os.chown(self.scratch, self.uid, self.uid)

    def sweep(self) -> None:
        """End the user's processes and remove its files. Raises SandboxFault where that fails."""
        assert self._guard.stdin
        assert self._guard.stdout
        try:
            self._guard.stdin.write(b"\n")
            self._guard.stdin.flush()
            said = self._guard.stdout.readline()
        except OSError as error:
            raise SandboxFault(f"the guard of the sandbox is gone: {error}") from error
        if said != b"\n":
            raise SandboxFault(said.decode(errors="replace").strip() or "the guard of the sandbox is gone")
        self.clear()

    def close(self) -> None:
        """End whatever is left of the user, and the folder. May be called again."""
        assert self._guard.stdin
        assert self._guard.stdout
        with suppress(OSError):
            self._guard.stdin.close()
        self._guard.wait()
        self._guard.stdout.close()
        self._claim.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def overfull(self, pids: list[int], cap_mib: int) -> str:
        """What is wrong with the space that the user takes, its processes being `pids`; empty where it is fine."""
        now = time.monotonic()
        if now < self._checked + self._pause:
            return ""
        size, count = self._taken(pids)
        self._checked = time.monotonic()
        self._pause = 10 * (self._checked - now)  # looking takes a tenth of the time at most
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
        for folder in [str(self.scratch), *self.shared]:
            yield from _below(folder, self.uid)
        for pid in pids:  # files without a name take room, too
            with suppress(OSError):
                for fd in os.listdir(f"/proc/{pid}/fd"):
                    with suppress(OSError):
                        status = os.stat(f"/proc/{pid}/fd/{fd}")
                        if stat.S_ISREG(status.st_mode):
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


def start(launch: Launch, account: Account, fd: int, output: int) -> subprocess.Popen[bytes]:
    """Start the worker as the user of `account`."""
    scratch = str(account.scratch)
    argument = launching.config(
        launch,
        str(launch.submission),
        scratch,
        fd,
        namespaced=False,
        drop_uid=False,
        sweep=[scratch],
        probes=str(launch.probes),
        user={
            "uid": account.uid,
            "shared": account.shared,
            "filter": base64.b64encode(seccomp.program(offline=True)).decode(),
        },
    )
    argv = [sys.executable, "-B", str(launch.worker / "main.py"), argument]
    return subprocess.Popen(
        argv,
        env=launching.environment(scratch),
        cwd=scratch,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        pass_fds=(fd,),
        start_new_session=True,
        user=account.uid,
        group=account.uid,
        extra_groups=[],
        umask=0o077,
    )


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
            if not _known(uid) and not guard.processes(uid):
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


def _place() -> str:
    """A folder for temporary files to which every user gets."""
    for name in (tempfile.gettempdir(), "/tmp", "/var/tmp"):
        folder = Path(name).resolve()
        if all(one.is_dir() and one.stat().st_mode & stat.S_IXOTH for one in (folder, *folder.parents)):
            return str(folder)
    raise SandboxUnavailable(
        "the sandbox 'user' finds no folder for its files: /tmp is closed to other users; `chmod 1777 /tmp` opens it"
    )


def private_paths() -> list[Path]:
    """What no submission may get to, whatever it knows: the answers, the grader, their history."""
    repository = launching.PACKAGE.parent
    inside = [repository / name for name in ("solutions", "build", ".git")]
    return [launching.PACKAGE, *(inside if (repository / "solutions").is_dir() else []), Path("/autograder")]


def homes() -> list[Path]:
    """Home folders: the interpreter may lie in one, so that they may be passed through, but not be listed."""
    return sorted({Path.home(), Path("/root"), *Path("/home").glob("*")})


def require(private: Iterable[Path] = ()) -> None:
    """Raise SandboxUnavailable, saying what to do, where this sandbox does not work or would show too much.

    `private`: more that no submission may get to, other submissions and results for instance.
    """
    if os.geteuid() != 0:
        raise SandboxUnavailable(
            "the sandbox 'user' runs each submission as another user, which only root may do: "
            f"start the grader as root, {OTHERWISE}"
        )
    if not seccomp.program():
        raise SandboxUnavailable(
            f"the sandbox 'user' knows no filter of system calls for this machine "
            f"({os.uname().machine}), so that it cannot close the network, {OTHERWISE}"
        )
    _require(tuple(str(path.resolve()) for path in [*private_paths(), *private]), tuple(map(str, homes())))


@cache
def _require(closed: tuple[str, ...], unlisted: tuple[str, ...]) -> None:
    hide_arguments()
    uid, claim = claim_uid()
    try:
        shown = _seen_by(uid, [*((path, False) for path in closed), *((path, True) for path in unlisted)])
    finally:
        claim.close()
    if shown:
        raise SandboxUnavailable(explain(shown, unlisted))


def _seen_by(uid: int, paths: list[tuple[str, bool]]) -> list[str]:
    """Which of some paths a user sees, found out by trying."""
    python = "this Python cannot be started by another user, which the sandbox 'user' needs"
    advice = f"`chmod o+x` the folders that lead to {sys.executable}, or install it outside of them"
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", TRIAL],
            input=json.dumps(paths).encode(),
            capture_output=True,
            env={},
            cwd="/",
            timeout=60,
            user=uid,
            group=uid,
            extra_groups=[],
        )
    except PermissionError as error:
        raise SandboxUnavailable(f"{python} ({error.strerror}: {error.filename}); {advice}") from error
    except OSError as error:
        raise SandboxUnavailable(
            f"the grader cannot become another user ({error.strerror}): the container withholds "
            f"CAP_SETUID or CAP_SETGID, {OTHERWISE}"
        ) from error
    if done.returncode != 0:
        raise SandboxUnavailable(f"{python} ({done.stderr.decode(errors='replace').strip()[-300:]}); {advice}")
    return list(json.loads(done.stdout))


def explain(shown: list[str], unlisted: Iterable[str]) -> str:
    """What to do about paths that a submission would see."""
    closed = " ".join(shlex.quote(path) for path in shown if path not in unlisted)
    listed = " ".join(shlex.quote(path) for path in shown if path in unlisted)
    commands = [*([f"chmod go-rwx {closed}"] if closed else []), *([f"chmod go-r {listed}"] if listed else [])]
    return (
        f"the sandbox 'user' would let submissions read {', '.join(shown[:5])}"
        f"{f' and {len(shown) - 5} more' if len(shown) > 5 else ''}: close that to other users with "
        f"`{' && '.join(commands)}`, {OTHERWISE}"
    )


def hide_arguments() -> None:
    """Blank this process's command line in /proc, which every user can read: it may hold the seed."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    begin, end = int(fields[45]), int(fields[46])  # arg_start and arg_end
    shown = Path("/proc/self/cmdline").read_bytes()
    first = shown.find(b"\0") + 1
    if 0 < first < end - begin == len(shown):
        ctypes.memset(begin + first, 0, end - begin - first)
