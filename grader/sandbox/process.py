"""One running worker: start it, talk with it, end it and everything that it started."""

from __future__ import annotations

import math
import os
import secrets
import select
import socket
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from grader.records import Verdict
from grader.worker import wire

from . import cgroups
from .base import SandboxFault
from .kinds.base import Kind
from .libraries import packed
from .output import MIB, Output
from .proc import descendants, end_descendants, kept_waiting, processor_time, ready_below, threads
from .watchdog import Watchdog

START_S = 120.0  # for importing torch on a slow disk
FORK_S = 60.0  # for a mount's process to begin, on a machine that is busy otherwise
END_S = 5.0  # for a mount's process to end
POLL_S = 0.1
PATIENCE = 9.0  # of a limit: how much waiting for a busy machine's processor is excused at most
SHORT_S = 0.05  # too short for anything to be excused: to look costs something as well
GLANCE_S = 1.0  # what one look at the processes that are ready to run tells about, at most


class Lost(Exception):
    """The worker cannot be used any more: it was stopped, died or broke the protocol."""

    def __init__(self, verdict: Verdict, message: str) -> None:
        super().__init__(message)
        self.verdict, self.message = verdict, message


@dataclass
class Allowance:
    """What the processes of a mount had used up when they were allowed some seconds, and what is known since."""

    patience: float = 0.0  # seconds of waiting that are excused at most
    began: float = 0.0
    waited: float = 0.0
    used: float = 0.0
    looked: float = 0.0
    crowded: float = 0.0  # seconds in which the mount had more processes ready to run than the one that was asked


class Worker:
    """A worker process tree. The thread that makes it must live as long: the kernel ties the two together."""

    def __init__(self, kind: Kind) -> None:
        self.reason: Lost | None = None
        self.mount: str | None = None  # whose process runs
        self.fresh = False  # whether that process has not been asked anything yet
        self.end = math.inf  # a deadline without any patience (time.monotonic)
        self.about: dict[str, Any] = {}  # python, torch, device
        self.probes: frozenset[str] = frozenset()
        self._allowance = Allowance()
        self._group: cgroups.Group | None = None
        self._killed = 0
        self._pid = 0  # the mount's process
        self._kind, limits = kind, kind.launch.limits
        self._socket, theirs = socket.socketpair()
        ours, output = os.pipe()
        try:
            self._process = kind.start(theirs.fileno(), output)
        except BaseException:
            os.close(ours)
            self._socket.close()
            kind.sweep()
            raise
        finally:
            theirs.close()
            os.close(output)
        self._socket.setblocking(False)
        self.output = Output(ours, limits.output_mib * MIB, self.stop)
        self._zygote = self._process.pid
        self._watchdog = Watchdog(self._process.pid, limits, self.stop, kind.overfull)
        self._blob_cap = limits.answer_mib * MIB + MIB

    def wait_ready(self) -> None:
        """Wait for torch's import in the worker. Raises SandboxFault with what it printed if it fails."""
        if self.about:
            return
        try:
            message, _ = self.receive(time.monotonic() + START_S)
            self.about = message["ready"]
            self.probes = frozenset(self.about.pop("probes"))
            pids = [self._process.pid, *descendants(self._process.pid)]
            self._zygote = pids[-1]
            self._bound(pids)
        except (Lost, TimeoutError, wire.WireError, KeyError) as error:
            raise SandboxFault(f"the worker did not start: {self._said() or error}") from error

    def _bound(self, pids: list[int]) -> None:
        """Move the worker, which has not met the submission yet, into a control group, where one can be had."""
        parents = cgroups.here() if self._kind.bounded else None
        self._group = parents.make(self._kind.launch.limits) if parents else None
        if self._group:
            try:
                self._group.add(pids)
            except OSError:
                self._group.remove()
                self._group = None
        self.about |= self._kind.about()
        self.about["bounds"] = f"cgroup v{self._group.version}" if self._group else cgroups.COUNTED

    def out_of_memory(self) -> bool:
        """Whether, since this was asked last, the kernel ended a process for want of memory in the control group."""
        before, self._killed = self._killed, self._group.killed() if self._group else 0
        return self._killed > before

    def _used(self) -> float:
        """Seconds of processor time of everything that the mount ran."""
        exact = self._group.processor_time() if self._group else None
        return processor_time(self._zygote) if exact is None else exact

    def begin_mount(self, mount: str, blocked: list[str], libraries: tuple[str, ...] = ()) -> None:
        """Have a mount's process forked, which finds some `libraries`. Raises Lost, WireError or TimeoutError."""
        deadline = time.monotonic() + FORK_S
        self.mount = self.output.mount = mount
        given = packed(libraries) if libraries and self._kind.masks else b""
        arrays = {"libraries": np.frombuffer(given, np.uint8)} if given else None
        self.send({"mount": mount, "blocked": blocked, "libraries": list(libraries)}, arrays, deadline)
        if self.receive(deadline)[0] != {"up": mount}:
            raise Lost(Verdict.GRADER_ERROR, self._said())
        self.fresh = True
        self._pid = next(iter(descendants(self._zygote)), 0)

    def allow(self, seconds: float) -> float:
        """A deadline in so many seconds, not counting time for which a busy machine leaves the mount no processor."""
        now = time.monotonic()
        self._allowance = Allowance()
        if seconds > 0:
            self._allowance = Allowance(PATIENCE * seconds, now, kept_waiting(self._pid), self._used(), now)
        return now + seconds

    def excused(self) -> float:
        """Seconds since `allow` for which the mount's process was ready to run, but other people's work was running.

        Waiting that the mount's own processes and threads cause is none of it: the processor time that they took is
        taken off, on whichever cores that was, and every moment in which one of them wants a processor besides.
        """
        given, now = self._allowance, time.monotonic()
        if not given.patience or now - given.began < SHORT_S:
            return 0.0
        used = self._used()
        if ready_below(self._zygote, self._pid):
            given.crowded += min(now - given.looked, GLANCE_S)
        given.looked = now
        waited = kept_waiting(self._pid) - given.waited
        by_others = now - given.began - (used - given.used) - given.crowded
        return max(0.0, min(waited, by_others, given.patience))

    def running(self) -> tuple[int, int]:
        """How many processes the mount has, its own and what it started, and how many threads these."""
        pids = descendants(self._zygote)
        return len(pids), sum(len(threads(pid)) for pid in pids)

    def spoilt(self) -> bool:
        """Whether something happened since the last answer: it was stopped, it died, somebody wrote."""
        return self.reason is not None or bool(select.select([self._socket], [], [], 0)[0])

    def end_mount(self) -> None:
        """End the mount's process and what it started; another can be forked. Raises Lost or TimeoutError.

        Whatever these processes wrote last is skipped, up to an echo that they could not know.
        """
        deadline = time.monotonic() + END_S
        end_descendants(self._zygote)
        self.reason = self.mount = None
        echo = {"sync": secrets.token_hex(16)}
        self.send(echo, None, deadline)
        data, end = b"", wire.encode(echo)
        while not data.endswith(end):
            data = data[-len(end) :] + self._read(1, deadline, MIB)

    def _said(self) -> str:
        self.output.settle()
        return bytes(self.output.kept.get(self.mount or "", b""))[-2000:].decode(errors="replace").strip()

    def stop(self, verdict: Verdict, message: str) -> None:
        """Kill the mount's processes, and have whoever waits for an answer told why."""
        self.reason = self.reason or Lost(verdict, message)
        end_descendants(self._zygote)

    def send(self, message: dict[str, Any], arrays: dict[str, np.ndarray] | None, deadline: float) -> None:
        """Send a frame. Raises Lost, TimeoutError past `deadline` (time.monotonic), SandboxFault where it is none."""
        try:
            data = memoryview(wire.encode(message, arrays))
        except (TypeError, ValueError) as error:
            raise SandboxFault(f"a request that cannot be sent: {error}") from error
        while data:
            self._wait(deadline, write=True)
            try:
                data = data[self._socket.send(data) :]
            except BlockingIOError:
                continue
            except OSError as error:
                raise self.reason or Lost(Verdict.CRASHED, "the sandbox ended") from error

    def receive(self, deadline: float) -> tuple[dict[str, Any], bytes]:
        """The next frame. Raises Lost, WireError, or TimeoutError past `deadline` (time.monotonic)."""
        return wire.read_frame(lambda count: self._read(count, deadline), self._blob_cap)

    def _read(self, count: int, deadline: float, most: int = 0) -> bytes:
        """`count` bytes, or up to `most` if more are there."""
        data = bytearray()
        while len(data) < count:
            self._wait(deadline)
            try:
                part = self._socket.recv(min(max(count, most) - len(data), MIB))
            except BlockingIOError:
                continue
            except OSError:
                part = b""
            if not part:
                raise self.reason or Lost(Verdict.CRASHED, "the sandbox ended")
            data += part
        return bytes(data)

    def _wait(self, deadline: float, write: bool = False) -> None:
        sockets = [self._socket]
        while True:
            left = deadline - time.monotonic()
            if self.reason:
                raise self.reason
            if time.monotonic() >= self.end or (left <= 0 and left + self.excused() <= 0):
                raise TimeoutError
            wait = min(abs(left), self.end - time.monotonic(), POLL_S)
            if any(select.select([] if write else sockets, sockets if write else [], [], max(0.0, wait))):
                return

    def close(self) -> None:
        """End the worker, and remove what it left."""
        self._watchdog.close()
        end_descendants(self._process.pid)
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._socket.close()
        self.output.close()
        if self._group:
            self._group.remove()
        self._kind.sweep()
