"""A thread beside a worker that reads what the student's code prints."""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable

from grader.records import Verdict

KEPT = 64 << 10  # bytes of output kept
MIB = 1 << 20


class Output:
    """Drains a pipe, so that printing never blocks, and keeps the first 64 KiB for each mount."""

    def __init__(self, fd: int, cap: int, stop: Callable[[Verdict, str], None]) -> None:
        self.kept: dict[str, bytearray] = {}
        self.mount = ""
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
            kept = self.kept.setdefault(self.mount, bytearray())
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
