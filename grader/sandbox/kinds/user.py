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
import shlex
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from .. import installation, seccomp
from ..account import OTHERWISE, Account, claim_uid
from ..base import SandboxKind, SandboxUnavailable
from ..launch import Launch, config, environment
from .base import Kind, spawn

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


class OwnUser(Kind):
    """A user that nobody else is, under the same limits."""

    name = SandboxKind.USER

    @classmethod
    def require(cls, gpu: bool = False, private: Iterable[Path] = ()) -> None:
        require(private)

    def __init__(self, launch: Launch) -> None:
        self._account = Account(launch.limits.scratch_mib)
        super().__init__(launch, self._account.folder)

    def must_copy(self, path: Path) -> bool:
        return True

    def start(self, fd: int, output: int) -> subprocess.Popen[bytes]:
        account, scratch = self._account, str(self.scratch)
        rights = {
            "uid": account.uid,
            "shared": account.shared,
            "landlock": account.landlock,
            "writable": [scratch],
            "filter": base64.b64encode(seccomp.program()).decode(),
        }
        argument = config(self.launch, fd, scratch, namespaced=False, drop_uid=False, user=rights)
        return spawn(
            [sys.executable, "-B", str(self.launch.worker / "main.py"), argument],
            (fd,),
            output,
            env=environment(scratch),
            cwd=scratch,
            user=account.uid,
            group=account.uid,
            extra_groups=[],
            umask=0o077,
        )

    def about(self) -> dict[str, str]:
        """How what it writes is kept in bounds."""
        place = "in memory of its own" if self._account.mounted else "watched"
        return {"writes": f"{'Landlock' if self._account.landlock else 'no Landlock'}, {place}"}

    def overfull(self, pids: list[int]) -> str:
        return self._account.overfull(pids, self.launch.limits.scratch_mib)

    def sweep(self) -> None:
        self._account.sweep()

    def close(self) -> None:
        self._account.close()


def private_paths() -> list[Path]:
    """What no submission may get to, whatever it knows: the answers, the grader, their history."""
    repository = installation.PACKAGE.parent
    inside = [repository / name for name in ("solutions", "build", ".git")]
    return [installation.PACKAGE, *(inside if (repository / "solutions").is_dir() else []), Path("/autograder")]


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
        looked_for = [*((path, False) for path in closed), *((path, True) for path in unlisted)]
        shown = json.loads(_run_as(uid, "-I", "-S", "-c", TRIAL, given=json.dumps(looked_for)))
        problem = installation.lacking(_run_as(uid, "-c", installation.LACKING))
    finally:
        claim.close()
    if shown:
        raise SandboxUnavailable(explain(shown, unlisted))
    if problem:
        raise SandboxUnavailable(problem)


def _run_as(uid: int, *arguments: str, given: str = "") -> str:
    """What this Python prints when it is run by another user. Raises SandboxUnavailable where it cannot be."""
    python = "this Python cannot be started by another user, which the sandbox 'user' needs"
    advice = f"`chmod o+x` the folders that lead to {sys.executable}, or install it outside of them"
    try:
        done = subprocess.run(
            [sys.executable, *arguments],
            input=given.encode(),
            capture_output=True,
            env={"PYTHONNOUSERSITE": "1"},
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
    return done.stdout.decode(errors="replace")


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
