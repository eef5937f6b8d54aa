"""The worker's first process: limits itself, imports torch once, and forks a process for a half on request.

Run as a script, with one argument, a JSON object: `fd` (the socket to the grader), `limits`, `halves` (name
to folder), `work` (scratch folder), `sweep` (folders to empty between processes), `namespaced` (whether it has a
PID namespace of its own), `drop_uid`, `gpu`, `probes` (a folder of modules that register probes), `modules` and `files`
(names of the lab's, see loading.Lab), and in the sandbox
USER `user`: its `uid`, the `filter` of system calls, `shared` (folders in which others have files as well). A frame
`{"half": name, "blocked": [modules]}` forks the half's process, which says `{"up": half}` and
answers requests; when it is gone, however that came, `{"exit": code}` goes back. `{"sync": text}` comes back as it is.
"""

from __future__ import annotations

import base64
import ctypes
import gc
import importlib
import json
import os
import platform
import random
import resource
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_CAPBSET_DROP, PR_SET_CHILD_SUBREAPER = 1, 4, 24, 36
PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 22, 38


def main(config: dict[str, Any]) -> None:
    """Serve until the grader closes the socket."""
    become_harmless(config)
    sock = socket.socket(fileno=config["fd"])
    sock.set_inheritable(False)
    sock.setblocking(True)
    import torch

    torch.set_num_threads(1)
    import wire
    from registry import PROBES
    from serving import serve

    load_probes(config["probes"])
    gc.collect()
    gc.freeze()  # the collector of a forked process leaves these pages shared
    # The name of the GPU would start CUDA, which a forked process cannot use then.
    device = "cuda" if config["gpu"] and torch.cuda.is_available() else "cpu"
    about = {
        "probes": sorted(PROBES),
        "device": device,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
    }
    sock.sendall(wire.encode({"ready": about}))
    while True:
        order, _ = wire.receive(sock, config["limits"]["answer_mib"] << 20)
        if "half" in order:
            code = run_half(lambda order=order: serve(sock, config, order), config)
            sock.sendall(wire.encode({"exit": code}))
        elif "sync" in order:  # anything else is a request that the half's process did not live to read
            sock.sendall(wire.encode(order))


def become_harmless(config: dict[str, Any]) -> None:
    """Limits, and where we are root another uid, which also drops every capability."""
    if config["drop_uid"]:
        _drop_uid(keep_files=not config["namespaced"])
    _set_limits(config["limits"])
    if config["namespaced"] or config.get("user"):
        prctl(PR_SET_DUMPABLE, 0)  # the student's processes cannot look into this one
    prctl(PR_SET_CHILD_SUBREAPER, 1)  # what a half leaves behind becomes ours, to be ended
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # in a PID namespace bwrap sees to it as well
    if config.get("user"):
        _close_network(config["user"])
    os.umask(0o077)
    for folder in (os.environ["HOME"], config["work"]):
        os.makedirs(folder, exist_ok=True)


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
    """Rights for good none but this user's, and the filter of system calls; or no start."""
    uid = user["uid"]
    if os.getresuid() != (uid, uid, uid) or os.getresgid() != (uid, uid, uid) or set(os.getgroups()) - {uid}:
        raise SystemExit("the worker does not run as the user of its own")
    code = base64.b64decode(user["filter"])
    lines = ctypes.create_string_buffer(code, len(code))

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("lines", ctypes.c_void_p))

    program = Program(len(code) // 8, ctypes.addressof(lines))
    call = ctypes.CDLL(None, use_errno=True).prctl
    if call(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 or call(PR_SET_SECCOMP, 2, ctypes.byref(program)) != 0:
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
    ):
        number = getattr(resource, f"RLIMIT_{name}")
        _, hard = resource.getrlimit(number)
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(number, (value, value))


def load_probes(probes: str) -> None:
    """Import the modules that register probes: this folder's own, and those of the folder `probes`.

    Afterwards both folders and the names of their modules are hidden: a student may have a loading.py, too.
    """
    folders = (HERE, Path(probes).resolve())
    sys.path.insert(0, probes)
    for name in ("loading", "report_pages", *sorted(file.stem for file in folders[1].glob("*.py"))):
        importlib.import_module(name)
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() not in folders]
    for name, module in list(sys.modules.items()):
        file = Path(str(getattr(module, "__file__", None) or "/"))
        if file.parent in folders and name != "__main__":
            del sys.modules[name]


def run_half(serve: Callable[[], None], config: dict[str, Any]) -> int:
    """Fork a half's process, wait for its end, end what it left. Its exit code, or minus its signal."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        try:
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            prctl(PR_SET_DUMPABLE, 1)  # else /proc/self would be closed
            serve()
        finally:
            os._exit(70)
    while True:
        pid, status = os.wait()
        if pid == child:
            break
    sweep(config)
    return os.waitstatus_to_exitcode(status)


def sweep(config: dict[str, Any]) -> None:
    """End the processes that a half left behind, and empty the scratch folders."""
    user = config.get("user")  # then no other process has our uid
    if user or (config["namespaced"] and Path("/proc/1/comm").read_text().strip() == "bwrap"):
        _signal_everyone()
    else:
        _end_children()
    for folder in config["sweep"]:
        for entry in os.scandir(folder):
            if not os.path.ismount(entry.path):  # an interpreter below /tmp is shown there
                _remove(entry.path)
    for folder in user["shared"] if user else []:
        _remove_ours(folder)
    os.makedirs(os.environ["HOME"], exist_ok=True)
    os.makedirs(config["work"], exist_ok=True)


def _remove_ours(folder: str) -> None:
    """Remove what is this user's in a folder of everyone's."""
    with suppress(OSError):
        for entry in list(os.scandir(folder)):
            with suppress(OSError):
                if entry.stat(follow_symlinks=False).st_uid == os.getuid():
                    _remove(entry.path)


def _signal_everyone() -> None:
    try:
        os.kill(-1, signal.SIGKILL)  # everyone in this PID namespace but pid 1 and us
    except ProcessLookupError:
        return
    _reap()


def _end_children() -> None:
    for _ in range(200):
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        if not children:
            return
        for pid in children:
            try:
                os.kill(int(pid), signal.SIGKILL)
            except ProcessLookupError:
                continue
        _reap()
    raise SystemExit("processes were left behind that cannot be ended")


def _reap() -> None:
    """Wait for the dead, at most 2 s."""
    for _ in range(200):
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                time.sleep(0.01)
        except ChildProcessError:
            return


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        for folder, _, _ in os.walk(path):
            os.chmod(folder, 0o700)
        shutil.rmtree(path, ignore_errors=True)
    else:
        os.unlink(path)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
