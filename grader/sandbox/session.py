"""The sandbox of one submission: probes in, answers or failures out, whatever the submission does."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from grader.labs import Material
from grader.policy import Limits
from grader.records import Verdict
from grader.worker import wire

from .base import Answer, ProbeFailure, SandboxFault, SandboxKind
from .kinds import KINDS, resolve
from .kinds.base import Kind
from .launch import Launch
from .process import Lost, Worker
from .questions import Questions

ENDINGS = {
    "missing": Verdict.MISSING,
    "not_implemented": Verdict.NOT_IMPLEMENTED,
    "crashed": Verdict.CRASHED,
    "out_of_memory": Verdict.OUT_OF_MEMORY,
}
NOTES_CAP = 200  # imports that one probe may announce
IMPORTS = 2  # limits of an import that all imports of one probe may take together
NAME_CAP = 200  # characters of a module's name


class Sandbox:
    """Runs the code of one submission. A context manager; calls come from the thread that entered it.

    `mounts` maps names to folders below `submission`: a process of its own runs the code of each, a half of the lab or
    what else is to be opened where it can do no harm. `material` is what of the lab the worker is
    shown. Raises SandboxUnavailable where `kind` does not work here.
    The worker starts when the context is entered and imports torch in the background until the first call.
    The thread that starts it must live as long: the kernel ends a sandbox with the thread that made it.
    """

    def __init__(
        self,
        submission: Path,
        mounts: dict[str, str],
        limits: Limits,
        material: Material,
        kind: SandboxKind = SandboxKind.AUTO,
        gpu: bool = False,
    ) -> None:
        self.kind = resolve(kind, gpu)
        self.limits = limits
        self._launch = Launch(Path(submission).resolve(), mounts, limits, gpu, material)
        self._made: Kind | None = None
        self._worker: Worker | None = None
        self._environment: dict[str, str] = {}
        self._spent = 0.0  # seconds of calls, without what was excused
        self._wall = 0.0  # seconds of calls, all of them
        self._began = False  # whether a worker has started: another one is paid for by the submission
        self._number = 0
        self._blocked: dict[tuple[str, tuple[str, ...]], dict[str, ProbeFailure]] = {}  # module -> how importing ended
        self._libraries: tuple[str, ...] = ()
        self._output: dict[str, bytearray] = {}
        self._renew = False
        self._imported: dict[str, set[str]] = {}  # mount -> modules that its processes imported

    def __enter__(self) -> Sandbox:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start the worker without waiting for it."""
        if self._made is None:
            self._made = KINDS[self.kind](self._launch)
        if self._worker is None:
            self._worker = Worker(self._made)
            self._worker.output.kept = self._output

    def renew(self, libraries: tuple[str, ...] | None = None) -> None:
        """Have the next call answered by a fresh process of its mount, which remembers nothing.

        From then on processes find, of the packages that hold answers, these `libraries`; as before without.

        Where the submission has harmed the worker itself, that is started anew.
        """
        self._renew = True
        self._libraries = self._libraries if libraries is None else libraries

    @contextmanager
    def beside(self) -> Iterator[Sandbox]:
        """A second sandbox of the same submission, whose processes share nothing with this one's but the submission.

        Its worker starts at once, in the background; the time that its calls take is the submission's as well.
        """
        launch = self._launch
        other = Sandbox(launch.submission, launch.mounts, self.limits, launch.material, self.kind, launch.gpu)
        other._libraries = self._libraries
        other._spent, other._wall = spent, wall = self._spent, self._wall
        with other:
            try:
                yield other
            finally:
                self._spent += other._spent - spent
                self._wall += other._wall - wall

    def close(self) -> None:
        """End the worker and everything that it started. May be called again."""
        self._drop()
        if self._made is not None:
            self._made.close()
            self._made = None

    def _drop(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.close()

    def environment(self) -> dict[str, str]:
        """What the worker runs on: python, torch, device; and what bounds its memory and processes."""
        if not self._environment:
            self._environment = self._ready().about
        return dict(self._environment)

    def imported(self, mount: str) -> list[str]:
        """The student's modules that probes of a mount imported, in any of its processes."""
        return sorted(self._imported.get(mount, ()))

    def output(self, mount: str) -> str:
        """The first 64 KiB that the student's code of a mount printed, stdout and stderr together."""
        if self._worker is not None:
            self._worker.output.settle()
        return bytes(self._output.get(mount, b"")).decode(errors="replace")

    def call(
        self,
        mount: str,
        probe: str,
        params: dict[str, Any] | None = None,
        arrays: dict[str, np.ndarray] | None = None,
        timeout_s: float | None = None,
        asks: Questions | None = None,
    ) -> Answer:
        """Ask a probe of a mount; `timeout_s` replaces the limit for one probe, imports have their own.

        `params["seed"]` seeds torch, numpy and random in the worker before the probe (0 without).
        `asks` answers what the probe asks in turn; without it no probe may ask.
        Raises ProbeFailure for what the submission did, SandboxFault for a fault of ours.
        """
        self._check_time()
        blocked = self._blocked.setdefault((mount, self._libraries), {})
        worker = self._prepared(mount, sorted(blocked))
        if probe not in worker.probes:
            raise SandboxFault(f"the worker has no probe '{probe}'")
        self._check_time()
        began, fresh = time.monotonic(), worker.fresh
        worker.end = began + self.limits.wall_s - self._wall
        exchange = Exchange(worker, self.limits, blocked, began + self.limits.submission_s - self._spent, asks)
        try:
            self._number += 1
            request = {"id": self._number, "probe": probe, "params": params or {}}
            answer = exchange.run(request, arrays, timeout_s or self.limits.probe_s)
            self._tidy(worker)
            return answer
        except ProbeFailure as failure:
            if exchange.importing and fresh:  # else it may be what an earlier call left behind
                exchange.blocked[exchange.importing] = failure
            self._tidy(worker, exchange.broken or failure.verdict is Verdict.OUT_OF_MEMORY)
            raise
        except BaseException:  # Ctrl-C among others: an answer may still be on its way
            self._drop()
            raise
        finally:
            worker.fresh, worker.end = False, math.inf
            self._imported.setdefault(mount, set()).update(exchange.imported)
            passed = time.monotonic() - began
            self._spent += passed - exchange.excused
            self._wall += passed

    def _check_time(self) -> None:
        """Raises ProbeFailure once the submission has had its time."""
        if self._spent >= self.limits.submission_s:
            raise used_up(self.limits)
        if self._wall >= self.limits.wall_s:
            raise used_up(self.limits, wall=True)

    def _tidy(self, worker: Worker, spoilt: bool = False) -> None:
        """What a call left behind must not cost the next one: processes, threads, or a `spoilt` mount."""
        try:
            processes, threads = worker.running()
            crowded = processes > 1 or threads > self.limits.processes // 2  # a few are a progress bar's
            if spoilt or (worker.mount is not None and crowded):
                worker.end_mount()
        except (Lost, TimeoutError, wire.WireError):
            self._drop()

    def _prepared(self, mount: str, blocked: list[str]) -> Worker:
        """A worker in which the process of `mount` runs; a fresh one, where the submission harmed the last."""
        for fresh in (self._worker is None, True):
            began, again, first = time.monotonic(), self._began and self._worker is None, not self._began
            worker = self._ready()
            self._began = True
            try:
                if worker.mount not in (None, mount) or worker.spoilt() or (worker.mount and self._renew):
                    worker.end_mount()
                self._renew = False
                if worker.mount is None:
                    worker.begin_mount(mount, blocked, self._libraries)
                return worker
            except (Lost, TimeoutError, wire.WireError) as error:
                self._drop()
                if fresh:
                    raise SandboxFault(f"the process for {mount} did not start: {error!r}") from error
            finally:
                passed = time.monotonic() - began
                self._wall += 0.0 if first else passed
                self._spent += passed if again or self._worker is None else 0.0
        raise AssertionError

    def _ready(self) -> Worker:
        self.start()
        assert self._worker
        try:
            self._worker.wait_ready()
        except BaseException:
            self._drop()
            raise
        return self._worker


class Exchange:
    """One request to the mount that runs. `broken` says afterwards whether its process must be ended."""

    def __init__(
        self,
        worker: Worker,
        limits: Limits,
        blocked: dict[str, ProbeFailure],
        end: float,
        asks: Questions | None = None,
    ) -> None:
        self.worker, self.limits, self.blocked, self._end = worker, limits, blocked, end
        self.importing = ""
        self.imported: set[str] = set()
        self.broken = True
        self.excused = 0.0  # seconds that do not count, as the machine was busy with other work, or the grader
        self._asks, self._asked = asks, 0

    def run(self, request: dict[str, Any], arrays: dict[str, np.ndarray] | None, timeout_s: float) -> Answer:
        """The answer. Raises ProbeFailure."""
        self._timeout_s = timeout_s
        self._left, self._left_to_import = timeout_s, IMPORTS * self.limits.import_s
        self._since = time.monotonic()
        self.worker.allow(0)  # what an earlier call was kept waiting is no excuse for this one
        try:
            self.worker.output.begin()
            self._allow(timeout_s)
            self.worker.send(request, arrays, self._deadline)
            answer = self._await(request["id"])
        except TimeoutError as error:
            raise self._timeout() from error
        except Lost as lost:
            raise ProbeFailure(lost.verdict, lost.message) from lost
        except (wire.WireError, KeyError, TypeError, ValueError) as error:
            text = f"the answer was not in the grader's format: {error}"
            raise ProbeFailure(Verdict.CRASHED, printable(text, 500)) from error
        finally:
            self.excused += self.worker.excused()
        return answer

    def _await(self, number: int) -> Answer:
        for _ in range(NOTES_CAP + (self._asks.most if self._asks else 0)):
            message, blob = self.worker.receive(self._deadline)
            if "exit" in message:
                self.broken = self.worker.running()[0] > 0  # then it was a forged frame
                printed = bytes(self.worker.output.kept.get(self.worker.mount or "", b""))
                self.worker.mount = None
                if type(message["exit"]) is not int:
                    raise wire.WireError("an end without its code")
                if self.worker.out_of_memory():
                    raise ProbeFailure(
                        Verdict.OUT_OF_MEMORY, f"took more than {self.limits.total_memory_mib} MiB of memory"
                    )
                raise ended(message["exit"], printed)
            if type(message["id"]) is not int or message["id"] != number:
                raise wire.WireError("an answer to another question")
            if "importing" in message or "imported" in message:
                self._note(message)
            elif "asks" in message:
                self._tell(message, blob)
            else:
                return self._answer(message, blob)
        raise wire.WireError("too many frames")

    def _tell(self, message: dict[str, Any], blob: bytes) -> None:
        """Answer a question of the probe's. The time that the grader needs for it is nobody's."""
        self._asked += 1
        if self._asks is None or self._asked > self._asks.most:
            raise wire.WireError("a question that nobody answers" if self._asks is None else "too many questions")
        began = time.monotonic()
        reply = dict(self._asks.reply(message["asks"], blob))
        taken = time.monotonic() - began
        self.excused += taken
        self._deadline += taken
        self._since += taken
        self.worker.send({"id": message["id"], "reply": self._asked}, reply, self._deadline)

    def _note(self, message: dict[str, Any]) -> None:
        name = message.get("importing", "")
        if not isinstance(name, str) or len(name) > NAME_CAP:
            raise wire.WireError("an import without its name")
        passed = time.monotonic() - self._since - self.worker.excused()
        if self.importing:
            self._left_to_import -= passed
        else:
            self._left -= passed
        self.importing = printable(name, NAME_CAP)
        self.imported |= {name} if name.isidentifier() else set()
        self._allow(max(0.0, min(self.limits.import_s, self._left_to_import) if self.importing else self._left))

    def _allow(self, seconds: float) -> None:
        self.excused += self.worker.excused()
        self._since = time.monotonic()
        self._deadline = min(self.worker.allow(seconds), self._end + self.excused)

    def _answer(self, message: dict[str, Any], blob: bytes) -> Answer:
        if message["ok"] is True:
            data, arrays = message["data"], wire.decode_arrays(blob)
            if not isinstance(data, dict):
                raise wire.WireError("data is not an object")
            self.broken = False
            return Answer(data, arrays)
        texts = [message[name] for name in ("kind", "message", "where", "traceback")]
        if not all(isinstance(text, str) for text in texts):
            raise wire.WireError("an error without its texts")
        self.broken = False
        kind, *rest = texts
        past = self.blocked.get(str(message.get("module"))) if kind == "blocked" else None
        if past is not None:
            raise ProbeFailure(past.verdict, past.message, past.where, past.traceback)
        raise ProbeFailure(ENDINGS[kind], *(printable(text) for text in rest))

    def _timeout(self) -> ProbeFailure:
        if time.monotonic() >= self.worker.end:
            return used_up(self.limits, wall=True)
        if time.monotonic() >= self._end + self.excused:
            return used_up(self.limits)
        if self.importing:
            text = f"importing {self.importing}.py took longer than {self.limits.import_s:g} s"
        else:
            text = f"did not answer within {self._timeout_s:g} s"
        return ProbeFailure(Verdict.TIMEOUT, text)


def used_up(limits: Limits, wall: bool = False) -> ProbeFailure:
    """What every call gets once the submission has had its time, or its `wall` time on a machine that is busy."""
    text = f"the {limits.submission_s:g} s for the submission are used up"
    if wall:
        text = f"the {limits.wall_s:g} s of wall time for the submission are used up"
    return ProbeFailure(Verdict.TIMEOUT, text)


def printable(text: str, cap: int = wire.TEXT_CAP) -> str:
    """At most `cap` characters of a text from the sandbox, in which nothing steers a terminal or a page."""
    shown = (c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text[:cap])
    return "".join(shown)[:cap]


def ended(code: int, output: bytes) -> ProbeFailure:
    """What a mount's process that ended with `code` (or minus a signal) means."""
    if code == -signal.SIGXCPU:
        return ProbeFailure(Verdict.TIMEOUT, "used up the CPU time of one process")
    if code == -signal.SIGABRT and b"bad_alloc" in output[-4096:]:
        return ProbeFailure(Verdict.OUT_OF_MEMORY, "memory could not be allocated")
    if code < 0:
        name = signal.Signals(-code).name if -code in signal.valid_signals() else str(-code)
        return ProbeFailure(Verdict.CRASHED, f"the process was ended by the signal {name}")
    return ProbeFailure(Verdict.CRASHED, f"the process ended itself (exit code {code})")
