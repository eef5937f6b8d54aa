"""What Linux says in /proc about running processes, and the end of those below one."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress

TICK = 1 / os.sysconf("SC_CLK_TCK")  # seconds
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


def processor_time(root: int) -> float:
    """Seconds of processor time that everything below `root` took, the dead included.

    A child counts with those who wait for it: what its parent does not wait for is missed.
    """
    return _times(root)[1][1] + sum(sum(_times(pid)[1]) for pid in descendants(root))


def ready_below(root: int, asked: int) -> bool:
    """Whether a process below `root` but `asked` runs, or is ready to."""
    return any(pid != asked and _times(pid)[0] == b"R" for pid in descendants(root))


def _times(pid: int) -> tuple[bytes, tuple[float, float]]:
    """State of a process, its seconds of processor time, and those of its children that are dead."""
    with suppress(OSError, ValueError, IndexError), open(f"/proc/{pid}/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
        user, system, of_dead_user, of_dead_system = (int(field) * TICK for field in fields[11:15])
        return fields[0], (user + system, of_dead_user + of_dead_system)
    return b"", (0.0, 0.0)


def _children(pid: int) -> Iterator[int]:
    for thread in threads(pid):
        with suppress(OSError), open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
            yield from map(int, file.read().split())


def memory_of(pids: list[int], over: int) -> int:
    """Bytes of memory of some processes together; shared pages are told apart only where a sum is `over`.

    What the kernel takes to know where their pages are, counts as well: maps of nothing may take gigabytes of it.
    """
    rough = [_sizes(pid) for pid in pids]
    if sum(map(sum, rough)) <= over:
        return sum(map(sum, rough))
    return sum(_proportional(pid, resident) + tables for pid, (resident, tables) in zip(pids, rough, strict=True))


def _sizes(pid: int) -> tuple[int, int]:
    """Bytes that are resident or swapped, and of page tables."""
    with suppress(OSError, ValueError, IndexError), open(f"/proc/{pid}/status", "rb") as file:
        text = file.read()
        resident, swapped, tables = (
            int(text.split(b"\n%s:" % name, 1)[1].split(None, 1)[0]) * 1024 if b"\n%s:" % name in text else 0
            for name in (b"VmRSS", b"VmSwap", b"VmPTE")
        )
        return resident + swapped, tables
    return 0, 0


def _proportional(pid: int, resident: int) -> int:
    with suppress(OSError, ValueError, IndexError), open(f"/proc/{pid}/smaps_rollup", "rb") as file:
        return int(file.read().split(b"\nPss:", 1)[1].split(None, 1)[0]) * 1024
    return resident
