"""One running worker: start it, talk with it, end it and everything that it started."""

from __future__ import annotations

import os
import secrets
import select
import socket
import time
from typing import Any

import numpy as np

from grader.records import Verdict
from grader.worker import wire

from .base import SandboxFault
from .kinds.base import Kind
from .output import MIB, Output
from .proc import descendants, end_descendants, kept_waiting, threads
from .watchdog import Watchdog

START_S = 120.0  # for importing torch on a slow disk
FORK_S = 20.0  # for a mount's process to begin
END_S = 5.0  # for a mount's process to end
POLL_S = 0.1
PATIENCE = 9.0  # of a limit: how much waiting for a busy machine's processor is excused at most


class Lost(Exception):
    """The worker cannot be used any more: it was stopped, died or broke the protocol."""

    def __init__(self, verdict: Verdict, message: str) -> None:
        super().__init__(message)
        self.verdict, self.message = verdict, message


class Worker:
    """A worker process tree. The thread that makes it must live as long: the kernel ties the two together."""

    def __init__(self, kind: Kind) -> None:
        self.reason: Lost | None = None
        self.mount: str | None = None  # whose process runs
        self.about: dict[str, Any] = {}  # python, torch, device
        self.probes: frozenset[str] = frozenset()
        self._waited, self._patience = 0.0, 0.0
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
            self._zygote = [self._process.pid, *descendants(self._process.pid)][-1]
        except (Lost, TimeoutError, wire.WireError, KeyError) as error:
            raise SandboxFault(f"the worker did not start: {self._said() or error}") from error

    def begin_mount(self, mount: str, blocked: list[str]) -> None:
        """Have a mount's process forked. Raises Lost, WireError or TimeoutError."""
        deadline = time.monotonic() + FORK_S
        self.mount = self.output.mount = mount
        self.send({"mount": mount, "blocked": blocked}, None, deadline)
        if self.receive(deadline)[0] != {"up": mount}:
            raise Lost(Verdict.GRADER_ERROR, self._said())

    def allow(self, seconds: float) -> float:
        """A deadline in so many seconds, not counting time for which a busy machine leaves the mount no processor."""
        self._waited, self._patience = self._kept_waiting(), PATIENCE * seconds
        return time.monotonic() + seconds

    def excused(self) -> float:
        """Seconds since `allow` for which the mount's process was ready to run, but other work was running."""
        return min(max(0.0, self._kept_waiting() - self._waited), self._patience)

    def _kept_waiting(self) -> float:
        return sum(kept_waiting(pid) for pid in descendants(self._zygote)[:1])

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
        """Send a frame. Raises Lost, or TimeoutError past `deadline` (time.monotonic)."""
        data = memoryview(wire.encode(message, arrays))
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
            if left <= 0 and left + self.excused() <= 0:
                raise TimeoutError
            if any(select.select([] if write else sockets, sockets if write else [], [], min(abs(left), POLL_S))):
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
        self._kind.sweep()
