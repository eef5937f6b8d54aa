"""Threads beside a worker: one reads what the student's code prints, one watches memory and processes."""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

from grader.policy import Limits
from grader.records import Verdict

KEPT = 64 << 10  # bytes of output kept
POLL_S = 0.08
MIB = 1 << 20
PAGE = os.sysconf("SC_PAGE_SIZE")

Stop = Callable[[Verdict, str], None]


def descendants(pid: int) -> list[int]:
    """Processes below `pid`, parents first."""
    found, queue = [], [pid]
    while queue:
        children = list(_children(queue.pop(0)))
        found += children
        queue += children
    return found


def threads(pid: int) -> list[str]:
    """The threads of a process; none where it is gone."""
    with suppress(OSError):
        return os.listdir(f"/proc/{pid}/task")
    return []


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


class Output:
    """Drains a pipe, so that printing never blocks, and keeps the first 64 KiB for each half."""

    def __init__(self, fd: int, cap: int, stop: Stop) -> None:
        self.kept: dict[str, bytearray] = {}
        self.half = ""
        self._fd, self._cap, self._stop = fd, cap, stop
        self._count = 0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._drain, daemon=True, name="sandbox output")
        self._thread.start()

    def begin(self) -> None:
        """A probe starts: its output is counted from 0."""
        self._count = 0

    def _drain(self) -> None:
        while True:
            ready, _, _ = select.select([self._fd], [], [], 0.2)
            if self._closing.is_set() and (not ready or time.monotonic() > self._end):
                return
            if not ready:
                continue
            data = os.read(self._fd, 1 << 16)
            if not data:
                return
            self._count += len(data)
            kept = self.kept.setdefault(self.half, bytearray())
            kept += data[: max(0, KEPT - len(kept))]
            if self._count > self._cap:
                self._count = -(1 << 62)  # once a probe: what is left in the pipe is no news
                self._stop(Verdict.CRASHED, f"printed more than {self._cap // MIB} MiB")

    def settle(self) -> None:
        """Wait, at most 0.2 s, until what was printed so far has been read."""
        end = time.monotonic() + 0.2
        while time.monotonic() < end and self._thread.is_alive() and select.select([self._fd], [], [], 0)[0]:
            time.sleep(0.002)

    def close(self) -> None:
        """End the thread and close the pipe; processes that still hold its other end do not delay this."""
        self._end = time.monotonic() + 0.5
        self._closing.set()
        self._thread.join()
        os.close(self._fd)


class Watchdog:
    """Stops a worker whose processes together take too much memory, are too many, or for what `more` says of them."""

    def __init__(self, pid: int, limits: Limits, stop: Stop, more: Callable[[list[int]], str] | None = None) -> None:
        self._pid, self._limits, self._stop, self._more = pid, limits, stop, more
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="sandbox watchdog")
        self._thread.start()

    def _watch(self) -> None:
        cap = self._limits.total_memory_mib * MIB
        while not self._closing.wait(POLL_S):
            pids = descendants(self._pid)
            if len(pids) > self._limits.processes + 8:
                self._stop(Verdict.CRASHED, f"started more than {self._limits.processes} processes")
            elif memory_of([self._pid, *pids], cap) > cap:
                self._stop(Verdict.OUT_OF_MEMORY, f"took more than {cap // MIB} MiB of memory")
            elif self._more and (reason := self._more([self._pid, *pids])):
                self._stop(Verdict.CRASHED, reason)

    def close(self) -> None:
        self._closing.set()
        self._thread.join()
