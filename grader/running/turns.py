"""Turns on the machine, among the processes of a run: what takes all cores and memory is done by one at a time."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_agreed: list[tuple[Path, Callable[[bool], None]]] = []  # of this process


def agreed(place: Path, tell: Callable[[bool], None]) -> None:
    """Take turns with whoever locks `place`; `tell` is told when this process begins and ends to wait for its turn."""
    _agreed[:] = [(place, tell)]


@contextmanager
def alone() -> Iterator[None]:
    """Wait for this process's turn, and have it until the end of the block; a process of no run has it always."""
    if not _agreed:
        yield
        return
    [(place, tell)] = _agreed
    with open(place, "ab") as lock:
        tell(True)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)  # given back with the file, also by a process that is killed
        finally:
            tell(False)
        yield
