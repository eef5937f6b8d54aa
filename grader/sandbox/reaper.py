"""A process of root's beside a worker of `--sandbox user`: ends what its uid runs, removes what it owns.

Run as a script, with one argument, a JSON object: `uid`, `folder` (the worker's own, removed at the end) and
`shared` (folders in which everyone may make files). A line on stdin has the uid's processes and files swept and
is answered by a line: empty, or what could not be done. When stdin closes or the grader is gone, however
that came, it sweeps for the last time. Standard library only, as it has to start fast.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import sys
import time
from contextlib import suppress
from typing import Any

if not __package__:  # a script finds nothing of the grader otherwise
    sys.path.append(os.path.abspath(f"{__file__}/../../.."))
from grader.worker.leftovers import remove_tree

ROUNDS = 200  # of killing before giving up, 10 ms apart
POLL_S = 1.0


def main(order: dict[str, Any]) -> None:
    """Serve until the grader is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C at the terminal is the grader's affair
    parent = os.getppid()
    while os.getppid() == parent:
        if select.select([0], [], [], POLL_S)[0]:
            if not os.read(0, 1):
                break
            with suppress(OSError):
                os.write(1, sweep(order["uid"], order["shared"]).encode() + b"\n")
    sweep(order["uid"], order["shared"])
    ctypes.CDLL(None).umount2(os.fsencode(f"{order['folder']}/scratch"), 2)  # at once, whoever still looks at it
    remove_tree(order["folder"])


def sweep(uid: int, shared: list[str]) -> str:
    """End every process of `uid`, then remove its files from the `shared` folders; empty, or what is left."""
    if not end_processes(uid):
        return f"processes of uid {uid} cannot be ended"
    for folder in shared:
        remove_from(folder, uid)
    return ""


def end_processes(uid: int) -> bool:
    """Kill until no process of `uid` is left. Whether that came about."""
    for _ in range(ROUNDS):
        if not processes(uid):
            return True
        _kill_as(uid)
        time.sleep(0.01)
    return not processes(uid)


def _kill_as(uid: int) -> None:
    """One signal from the uid itself reaches all of its processes at once: a fork bomb cannot outrun it."""
    child = os.fork()
    if child == 0:
        with suppress(OSError):
            os.setresuid(uid, uid, uid)
            os.kill(-1, signal.SIGKILL)
        os._exit(0)
    os.waitpid(child, 0)


def processes(uid: int) -> list[int]:
    """Processes of `uid` that are not dead yet; who owns their folder in /proc does not say it."""
    return [int(pid) for pid in os.listdir("/proc") if pid.isdigit() and _runs_as(pid, uid)]


def _runs_as(pid: str, uid: int) -> bool:
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            fields = dict(line.split(b":", 1) for line in file.read().splitlines() if b":" in line)
    except OSError:  # it ended meanwhile
        return False
    return fields[b"State"].split()[0] not in (b"Z", b"X") and str(uid).encode() in fields[b"Uid"].split()


def remove_from(folder: str, uid: int) -> None:
    """Remove what `uid` owns in a folder."""
    with suppress(OSError):
        for entry in list(os.scandir(folder)):
            with suppress(OSError):
                if entry.stat(follow_symlinks=False).st_uid != uid:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    remove_tree(entry.path)
                else:
                    os.unlink(entry.path)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
