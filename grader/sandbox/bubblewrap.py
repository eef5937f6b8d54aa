"""The bubblewrap sandbox: its command line, whether it works here, and what to say where it does not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from . import launch as launching
from . import seccomp
from .base import SandboxUnavailable
from .launch import Command, Launch

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store")
CONFIGURATION = ("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives")
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
WORKER, SUBMISSION, PROBES = "/grader/worker", "/submission", "/grader/probes"
MIB = 1 << 20


def command(launch: Launch, fd: int) -> Command:
    """bubblewrap around the worker of one submission; `fd` is the worker's inherited socket."""
    sources = {WORKER: launch.worker, PROBES: launch.probes, SUBMISSION: launch.submission}
    mounts = [("--ro-bind", source, target) for target, source in sources.items()]
    argument = launching.config(
        launch,
        SUBMISSION,
        "/tmp",
        fd,
        namespaced=True,
        drop_uid=os.geteuid() == 0,
        sweep=["/tmp", "/dev/shm"],
        probes=PROBES,
    )
    argv = [sys.executable, "-B", f"{WORKER}/main.py", argument]
    shown = [part for option, source, target in mounts for part in (option, str(source), target)]
    return _wrap(shown, argv, launch.limits.scratch_mib, launch.gpu)


def _wrap(mounts: list[str], argv: list[str], scratch_mib: int, gpu: bool) -> Command:
    arguments = [
        *_namespaces(),
        *_system(),
        *_interpreter(),
        "--dir",
        "/grader",
        *mounts,
        *_devices(gpu),
        "--perms",
        "1777",
        "--size",
        str(scratch_mib * MIB),
        "--tmpfs",
        "/tmp",
        "--remount-ro",
        "/",
        "--chdir",
        "/tmp",
    ]
    # bwrap is pid 1 inside: what it is started with can be read in /proc/1, so arguments come by descriptor.
    return Command(argv, launching.environment("/tmp"), arguments)


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


def _system() -> Iterator[str]:
    for name in SYSTEM:
        if os.path.islink(name):
            yield from ("--symlink", os.readlink(name), name)
        elif os.path.isdir(name):
            yield from (*_parents(Path(name)), "--ro-bind", name, name)
    for name in CONFIGURATION:
        yield from ("--ro-bind-try", name, name)


def _interpreter() -> Iterator[str]:
    """Binds and masks, outer folders first, so that a mask hides what a bind around it shows."""
    shown = [Path(name) for name in SYSTEM]
    masks = []
    mounts = [(folder, "show") for folder in launching.interpreter_folders()]
    mounts += [(folder, "hide") for folder in launching.private_folders()]
    for folder, what in sorted(mounts, key=lambda mount: (len(mount[0].parts), mount[0])):
        if what == "hide":
            if _covered(folder, shown):
                yield from ("--perms", "0755", "--tmpfs", str(folder))
                masks.append(folder)
        elif not _covered(folder, shown) or _masked(folder):
            yield from (*_parents(folder), "--ro-bind", str(folder), str(folder))
            shown.append(folder)
    for folder in masks:  # after what may have to be mounted inside, a virtual environment in a repository
        yield from ("--remount-ro", str(folder))
    for file in set(launching.telltale_files()):
        yield from ("--ro-bind", "/dev/null", str(file))


def _parents(folder: Path) -> Iterator[str]:
    """bwrap makes missing parents for their owner alone; the worker is another user."""
    for parent in reversed(folder.parents[:-1]):
        yield from ("--dir", str(parent))


def _covered(folder: Path, shown: list[Path]) -> bool:
    return any(folder.is_relative_to(other) for other in shown)


def _masked(folder: Path) -> bool:
    return any(folder.is_relative_to(private) for private in launching.private_folders())


def _devices(gpu: bool) -> Iterator[str]:
    yield from ("--proc", "/proc", "--dev", "/dev")
    if gpu:
        for device in [*sorted(Path("/dev").glob("nvidia*")), Path("/dev/dri")]:
            yield from ("--dev-bind-try", str(device), str(device))
        yield from ("--ro-bind-try", "/sys", "/sys")
    # bwrap's /dev is a tmpfs without a limit on its size
    yield from ("--remount-ro", "/dev", "--perms", "1777", "--size", str(64 * MIB), "--tmpfs", "/dev/shm")


def start(command: Command, fds: tuple[int, ...], output: int) -> subprocess.Popen[bytes]:
    """Start a command made here; `fds` are inherited, stdout and stderr go to `output`."""
    with tempfile.TemporaryFile() as arguments, tempfile.TemporaryFile() as calls:
        environment = [part for name, value in command.env.items() for part in ("--setenv", name, value)]
        program = seccomp.program()
        sealed = [*command.sealed, "--clearenv", *environment]
        sealed += ["--seccomp", str(calls.fileno())] if program else []
        for file, data in ((arguments, "\0".join(sealed).encode()), (calls, program)):
            file.write(data)
            file.seek(0)
        argv = [_bwrap(), "--args", str(arguments.fileno()), "--", *command.argv]
        # A session of its own: Ctrl-C at the terminal must not look like a crash of the submission.
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={},
            pass_fds=(*fds, arguments.fileno(), calls.fileno()),
            start_new_session=True,
        )


def _bwrap() -> str:
    found = shutil.which("bwrap")
    if found is None:
        raise SandboxUnavailable(f"bubblewrap is not installed: {install_hint()}, {NONE_HINT}")
    return found


NONE_HINT = "or ask for `--sandbox none`, which runs submissions without protection"


def install_hint() -> str:
    """The command that installs bubblewrap on this system."""
    found = [text for tool, text in INSTALLERS.items() if shutil.which(tool)]
    return f"install it with `{found[0]}`" if found else "install the package bubblewrap"


@cache
def require(gpu: bool = False) -> None:
    """Start this Python in a sandbox once. Raises SandboxUnavailable, saying what to do, where that fails."""
    with tempfile.TemporaryFile() as output:
        process = start(_wrap([], [sys.executable, "-S", "-c", ""], 1, gpu), (), output.fileno())
        try:
            code = process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        output.seek(0)
        text = output.read().decode(errors="replace").strip()
    if code != 0:
        raise SandboxUnavailable(explain(text or f"exit code {code}"))


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
    return f"bubblewrap does not work here ({line}): a container may forbid it, {NONE_HINT}"
