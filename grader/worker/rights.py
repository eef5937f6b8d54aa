"""What the worker gives up before it loads anything of the submission's: another uid, limits, the network."""

from __future__ import annotations

import base64
import ctypes
import glob
import os
import random
import resource
import signal
from typing import Any

import landlock

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_CAPBSET_DROP, PR_SET_CHILD_SUBREAPER = 1, 4, 24, 36
PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 22, 38


DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty")


def become_harmless(config: dict[str, Any]) -> None:
    """Limits, and where we are root another uid, which also drops every capability."""
    if config["drop_uid"]:
        _drop_uid(keep_files=not config["namespaced"])
    _set_limits(config["limits"])
    if config["namespaced"] or config.get("user"):
        show_own_folder(False)  # the student's processes cannot look into this one
    prctl(PR_SET_CHILD_SUBREAPER, 1)  # what a mount leaves behind becomes ours, to be ended
    end_with_parent()  # in a PID namespace bwrap sees to it as well
    if config.get("user"):
        _close_network(config["user"])
    os.umask(0o077)
    for folder in (os.environ["HOME"], config["work"]):
        os.makedirs(folder, exist_ok=True)


def end_with_parent() -> None:
    """Have the kernel end this process with its parent."""
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def show_own_folder(shown: bool) -> None:
    """Open this process's folder in /proc to processes of the same user, or close it."""
    prctl(PR_SET_DUMPABLE, int(shown))


def prctl(option: int, value: int) -> None:
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _drop_uid(keep_files: bool) -> None:
    """A random uid, which RLIMIT_NPROC binds and by which it counts the processes of this worker alone.

    With `keep_files` only the real uid changes, and the capabilities go: root's own files stay readable.
    """
    if not keep_files:
        os.setgroups([])
    for low, high in ((1_000_000, 1_000_000_000), (20_000, 60_000)):
        uid = random.SystemRandom().randrange(low, high)
        try:
            if not keep_files:
                os.setresgid(uid, uid, uid)
            os.setresuid(uid, *((0, 0) if keep_files else (uid, uid)))
        except OSError:  # a container may map only 65536 uids
            continue
        return _drop_capabilities() if keep_files else None
    raise SystemExit("cannot change to an unprivileged uid")


def _drop_capabilities() -> None:
    for capability in range(64):
        prctl(PR_CAPBSET_DROP, capability)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # version 3 of the structure, this process
    if ctypes.CDLL(None).capset(header, (ctypes.c_uint32 * 6)()) != 0:
        raise SystemExit("cannot drop the capabilities")


def _close_network(user: dict[str, Any]) -> None:
    """Rights for good none but this user's, the walls around what it writes, the filter of system calls; or no start.

    Where the kernel has no Landlock, this user writes wherever everyone may.
    """
    uid = user["uid"]
    if os.getresuid() != (uid, uid, uid) or os.getresgid() != (uid, uid, uid) or set(os.getgroups()) - {uid}:
        raise SystemExit("the worker does not run as the user of its own")
    code = base64.b64decode(user["filter"])
    lines = ctypes.create_string_buffer(code, len(code))

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("lines", ctypes.c_void_p))

    program = Program(len(code) // 8, ctypes.addressof(lines))
    call = ctypes.CDLL(None, use_errno=True).prctl
    alone = call(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    if alone and user["landlock"]:
        gpu = [*glob.glob("/dev/nvidia*"), *glob.glob("/dev/nvidia-caps/*"), *glob.glob("/dev/dri/*")]
        landlock.write_only_below(user["writable"], [*DEVICES, *gpu, "/proc"], user["landlock"])
    if not alone or call(PR_SET_SECCOMP, 2, ctypes.byref(program)) != 0:
        raise SystemExit(f"the filter of system calls was refused: {os.strerror(ctypes.get_errno())}")


def _set_limits(limits: dict[str, int]) -> None:
    # RLIMIT_AS would keep torch from loading; RLIMIT_DATA counts private memory only
    mib = 1 << 20
    for name, value in (
        ("DATA", limits["memory_mib"] * mib),
        ("FSIZE", limits["file_mib"] * mib),
        ("CORE", 0),
        ("CPU", limits["cpu_s"]),
        ("NPROC", limits["processes"]),
        ("NOFILE", 512),
        ("SIGPENDING", 1024),  # timers as well
        ("MSGQUEUE", 0),
    ):
        number = getattr(resource, f"RLIMIT_{name}")
        _, hard = resource.getrlimit(number)
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(number, (value, value))
