"""The sandbox of namespaces, by bubblewrap: whether it works here, and what to say where it does not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from .. import seccomp
from ..base import ENTRIES_CAP, SandboxKind, SandboxUnavailable
from ..copies import readable
from ..installation import LACKING, interpreter_folders, lacking
from ..launch import config, environment
from ..libraries import places
from ..mounts import PLACES, Mounts
from .base import Kind, spawn

INSTALLERS = {
    "apt-get": "sudo apt-get install bubblewrap",
    "dnf": "sudo dnf install bubblewrap",
    "pacman": "sudo pacman -S bubblewrap",
    "zypper": "sudo zypper install bubblewrap",
    "apk": "sudo apk add bubblewrap",
}
# Kernel settings that forbid what bubblewrap needs: name, the forbidding value, an allowing one.
SETTINGS = (
    ("kernel/apparmor_restrict_unprivileged_userns", "1", "0"),
    ("kernel/unprivileged_userns_clone", "0", "1"),
    ("user/max_user_namespaces", "0", "10000"),
)
NONE_HINT = "or ask for `--sandbox none`, which runs submissions without protection"


class Bubblewrap(Kind):
    """Namespaces: no network, no other processes, only the interpreter and one submission visible."""

    name = SandboxKind.BUBBLEWRAP
    masks = True

    @classmethod
    def require(cls, gpu: bool = False, private: Iterable[Path] = ()) -> None:
        _require(gpu)

    def must_copy(self, path: Path) -> bool:
        return os.geteuid() == 0 and not readable(path)

    def start(self, fd: int, output: int) -> subprocess.Popen[bytes]:
        launch = self.launch
        mounts = Mounts(launch.limits.scratch_mib, launch.gpu, places(launch.material.answers))
        inside: dict[str, Any] = {name: mounts.show(getattr(launch, name), name) for name in PLACES}
        argument = config(
            replace(launch, **inside),
            fd,
            mounts.scratch,
            namespaced=True,
            drop_uid=os.geteuid() == 0,
            sweep=mounts.writable,
        )
        return wrap(mounts, [sys.executable, "-B", f"{inside['worker']}/main.py", argument], (fd,), output)

    def overfull(self, pids: list[int]) -> str:
        """More files than memory is meant for: the kernel's own for each counts nowhere else."""
        count = max(
            (sum(_entries(f"/proc/{pid}/root{name}") for name in Mounts.writable) for pid in pids[1:4]), default=0
        )
        return f"made more than {ENTRIES_CAP} files" if count > ENTRIES_CAP else ""


def _entries(folder: str) -> int:
    """Files and folders of a folder that is a mount of its own; 0 where that cannot be told."""
    with suppress(OSError):
        if os.stat(folder).st_dev != os.stat(f"{folder}/..").st_dev:
            about = os.statvfs(folder)
            return about.f_files - about.f_ffree
    return 0


def wrap(mounts: Mounts, argv: list[str], fds: tuple[int, ...], output: int) -> subprocess.Popen[bytes]:
    """Start a command inside; it inherits `fds` and prints to `output`."""
    sealed = [*_namespaces(), *mounts.arguments(), "--chdir", mounts.start, "--clearenv"]
    for name, value in environment(mounts.scratch).items():
        sealed += ["--setenv", name, value]
    with tempfile.TemporaryFile() as arguments, tempfile.TemporaryFile() as calls:
        program = seccomp.program()
        sealed += ["--seccomp", str(calls.fileno())] if program else []
        # bwrap is pid 1 inside: what it is started with can be read in /proc/1, so arguments come by descriptor.
        for file, data in ((arguments, b"\0".join(map(os.fsencode, sealed))), (calls, program)):
            file.write(data)
            file.seek(0)
        outer = [_bwrap(), "--args", str(arguments.fileno()), "--", *argv]
        return spawn(outer, (*fds, arguments.fileno(), calls.fileno()), output, env={})


def _namespaces() -> list[str]:
    arguments = [
        "--unshare-ipc",
        "--unshare-pid",
        "--unshare-net",
        "--unshare-uts",
        "--unshare-cgroup-try",
        "--hostname",
        "sandbox",
        "--die-with-parent",
        "--new-session",
    ]
    if os.geteuid() == 0:  # no user namespace: the worker changes to a uid that RLIMIT_NPROC binds
        return [*arguments, "--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    return [*arguments, "--unshare-user", "--cap-drop", "ALL"]


def _bwrap() -> str:
    found = shutil.which("bwrap")
    if found is None:
        raise SandboxUnavailable(f"bubblewrap is not installed: {install_hint()}, {NONE_HINT}")
    return found


def install_hint() -> str:
    """The command that installs bubblewrap on this system."""
    found = [text for tool, text in INSTALLERS.items() if shutil.which(tool)]
    return f"install it with `{found[0]}`" if found else "install the package bubblewrap"


@cache
def _require(gpu: bool) -> None:
    """Start this Python in a sandbox once, and look for what a worker imports."""
    with tempfile.TemporaryFile() as output:
        process = wrap(Mounts(1, gpu), [sys.executable, "-c", LACKING], (), output.fileno())
        try:
            code = process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        output.seek(0)
        text = output.read().decode(errors="replace").strip()
    if code != 0:
        raise SandboxUnavailable(explain(text or f"bwrap: exit code {code}"))
    if problem := lacking(text):
        raise SandboxUnavailable(problem)


def explain(text: str, settings: Path = Path("/proc/sys")) -> str:
    """What to do where bubblewrap fails with `text`; the kernel's settings are read below `settings`."""
    line = text.splitlines()[-1]
    if "--size" in text or "--perms" in text:
        return f"this bubblewrap is too old ({line}): it takes version 0.8 or newer, {NONE_HINT}"
    if os.geteuid() != 0 and any(part in text for part in ("amespace", "uid map", "Permission denied")):
        for name, forbids, allows in SETTINGS:
            file = settings / name
            if file.is_file() and file.read_text().strip() == forbids:
                setting = name.replace("/", ".")
                return (
                    f"bubblewrap cannot make a user namespace ({line}): the kernel setting {setting} = "
                    f"{forbids} forbids it; `sudo sysctl -w {setting}={allows}` allows it, {NONE_HINT}"
                )
    if not line.startswith("bwrap:") or "execvp" in line:
        return (
            f"this Python does not start inside the sandbox ({line}): {sys.executable} needs something outside of the "
            f"folders that are shown there, which are the system's and {', '.join(map(str, interpreter_folders()))}; "
            f"use another Python for the virtual environment, {NONE_HINT}"
        )
    return f"bubblewrap does not work here ({line}): a container may forbid it, {NONE_HINT}"
