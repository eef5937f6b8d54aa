"""The sandbox of one submission: probes in, answers or failures out, whatever the submission does."""

from __future__ import annotations

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
NOTES_CAP = 1000  # imports that one probe may announce


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
        self._spent = 0.0
        self._number = 0
        self._blocked: dict[str, dict[str, ProbeFailure]] = {}  # mount -> module -> how importing it ended
        self._output: dict[str, bytearray] = {}
        self._renew = False

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

    def renew(self) -> None:
        """Have the next call answered by a fresh process of its mount, which remembers nothing."""
        self._renew = True

    @contextmanager
    def beside(self) -> Iterator[Sandbox]:
        """A second sandbox of the same submission, whose processes share nothing with this one's but the submission.

        Its worker starts at once, in the background; the time that its calls take is the submission's as well.
        """
        launch = self._launch
        other = Sandbox(launch.submission, launch.mounts, self.limits, launch.material, self.kind, launch.gpu)
        other._spent = before = self._spent
        with other:
            try:
                yield other
            finally:
                self._spent += other._spent - before

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
        """What the worker runs on: python, torch, device."""
        if not self._environment:
            self._environment = self._ready().about
        return dict(self._environment)

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
        left = self.limits.submission_s - self._spent
        if left <= 0:
            raise used_up(self.limits)
        blocked = self._blocked.setdefault(mount, {})
        worker = self._prepared(mount, sorted(blocked))
        if probe not in worker.probes:
            raise SandboxFault(f"the worker has no probe '{probe}'")
        began = time.monotonic()
        exchange = Exchange(worker, self.limits, blocked, began + left, asks)
        try:
            self._number += 1
            request = {"id": self._number, "probe": probe, "params": params or {}}
            answer = exchange.run(request, arrays, timeout_s or self.limits.probe_s)
            self._tidy(worker)
            return answer
        except ProbeFailure as failure:
            if exchange.importing:
                exchange.blocked[exchange.importing] = failure
            self._tidy(worker, exchange.broken or failure.verdict is Verdict.OUT_OF_MEMORY)
            raise
        except BaseException:  # Ctrl-C among others: an answer may still be on its way
            self._drop()
            raise
        finally:
            self._spent += time.monotonic() - began - exchange.excused

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
            worker = self._ready()
            try:
                if worker.mount not in (None, mount) or worker.spoilt() or (worker.mount and self._renew):
                    worker.end_mount()
                self._renew = False
                if worker.mount is None:
                    worker.begin_mount(mount, blocked)
                return worker
            except (Lost, TimeoutError, wire.WireError) as error:
                self._drop()
                if fresh:
                    raise SandboxFault(f"the process for {mount} did not start: {error!r}") from error
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
        self.broken = True
        self.excused = 0.0  # seconds that do not count, as the machine was busy with other work, or the grader
        self._asks, self._asked = asks, 0

    def run(self, request: dict[str, Any], arrays: dict[str, np.ndarray] | None, timeout_s: float) -> Answer:
        """The answer. Raises ProbeFailure."""
        self._timeout_s = timeout_s
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
            raise ProbeFailure(Verdict.CRASHED, text) from error
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
                raise ended(int(message["exit"]), printed)
            if message["id"] != number:
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
        self.worker.send({"id": message["id"], "reply": self._asked}, reply, self._deadline)

    def _note(self, message: dict[str, Any]) -> None:
        self.importing = str(message.get("importing", ""))
        self._allow(self.limits.import_s if self.importing else self._timeout_s)

    def _allow(self, seconds: float) -> None:
        self.excused += self.worker.excused()
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
        if kind == "blocked" and message.get("module") in self.blocked:
            past = self.blocked[message["module"]]
            raise ProbeFailure(past.verdict, past.message, past.where, past.traceback)
        raise ProbeFailure(ENDINGS[kind], *rest)

    def _timeout(self) -> ProbeFailure:
        if time.monotonic() >= self._end + self.excused:
            return used_up(self.limits)
        if self.importing:
            text = f"importing {self.importing}.py took longer than {self.limits.import_s:g} s"
        else:
            text = f"did not answer within {self._timeout_s:g} s"
        return ProbeFailure(Verdict.TIMEOUT, text)


def used_up(limits: Limits) -> ProbeFailure:
    """What every call gets once the submission has had its time."""
    return ProbeFailure(Verdict.TIMEOUT, f"the {limits.submission_s:g} s for the submission are used up")


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
