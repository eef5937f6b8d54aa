"""A bound for the grader's own work on what a submission sent, in CPU time: a busy machine does not shorten it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

AGAIN_S = 1.0  # after which the exception is raised anew, if something swallowed it


class OutOfTime(BaseException):
    """The work took longer than it may. No Exception: what is prepared for those must not go on working."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"took the grader more than {seconds:g} s")


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raise OutOfTime in the block once this process has used so many seconds of CPU in it.

    Python's own code and its regular expressions are interrupted, a single call into another library after its end.
    Signals reach the main thread alone: in others nothing is bounded. Blocks may be nested.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def late(number: int, frame: FrameType | None) -> None:
        raise OutOfTime(seconds)

    handler = signal.signal(signal.SIGPROF, late)
    outer, again = signal.setitimer(signal.ITIMER_PROF, seconds, AGAIN_S)
    left = seconds
    try:
        yield
        left = signal.getitimer(signal.ITIMER_PROF)[0]
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, handler)
        if outer:
            signal.setitimer(signal.ITIMER_PROF, max(AGAIN_S, outer - (seconds - left)), again)
