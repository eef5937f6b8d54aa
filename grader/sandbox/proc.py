"""What Linux says in /proc about running processes, and the end of those below one."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress

PAGE = os.sysconf("SC_PAGE_SIZE")
ROUNDS = 50  # of killing, 2 ms apart


def descendants(pid: int) -> list[int]:
    """Processes below `pid`, parents first."""
    found, queue = [], [pid]
    while queue:
        children = list(_children(queue.pop(0)))
        found += children
        queue += children
    return found


def end_descendants(pid: int) -> None:
    """Kill what runs below `pid`; what escapes one round was started by a process that still lived."""
    for _ in range(ROUNDS):
        pids = descendants(pid)
        if not pids:
            return
        for child in pids:
            with suppress(OSError):
                os.kill(child, signal.SIGKILL)
        time.sleep(0.002)


def threads(pid: int) -> list[str]:
    """The threads of a process; none where it is gone."""
    with suppress(OSError):
        return os.listdir(f"/proc/{pid}/task")
    return []


def threads_of_this_user() -> int:
    """Threads that this user runs now: RLIMIT_NPROC counts them all where there is no namespace."""
    total = 0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):
            if os.stat(f"/proc/{pid}").st_uid == os.getuid():
                total += len(threads(int(pid)))
    return total


def kept_waiting(pid: int) -> float:
    """Seconds for which a process could have run, but no processor was free; 0 where the kernel does not count."""
    with suppress(OSError, ValueError, IndexError), open(f"/proc/{pid}/schedstat", "rb") as file:
        return int(file.read().split()[1]) / 1e9
    return 0.0


def _children(pid: int) -> Iterator[int]:
    for thread in threads(pid):
        with suppress(OSError), open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
            yield from map(int, file.read().split())


def memory_of(pids: list[int], over: int) -> int:
    """Bytes of memory of some processes together; shared pages are told apart only where a sum is `over`."""
    rough = sum(_resident(pid) for pid in pids)
    return rough if rough <= over else sum(_proportional(pid) for pid in pids)


def _resident(pid: int) -> int:
    with suppress(OSError), open(f"/proc/{pid}/statm", "rb") as file:
        return int(file.read().split()[1]) * PAGE
    return 0


def _proportional(pid: int) -> int:
    with suppress(OSError, ValueError, IndexError), open(f"/proc/{pid}/smaps_rollup", "rb") as file:
        return int(file.read().split(b"\nPss:", 1)[1].split(None, 1)[0]) * 1024
    return _resident(pid)
