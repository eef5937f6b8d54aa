"""A thread beside a worker that watches its memory and its processes."""

from __future__ import annotations

import threading
from collections.abc import Callable

from grader.policy import Limits
from grader.records import Verdict

from .proc import descendants, memory_of

POLL_S = 0.08
MIB = 1 << 20


class Watchdog:
    """Stops a worker whose processes together take too much memory, are too many, or for what `more` says of them."""

    def __init__(
        self, pid: int, limits: Limits, stop: Callable[[Verdict, str], None], more: Callable[[list[int]], str]
    ) -> None:
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
            elif reason := self._more([self._pid, *pids]):
                self._stop(Verdict.CRASHED, reason)

    def close(self) -> None:
        self._closing.set()
        self._thread.join()
