"""Grades one submission in a process of its own, which has an end whatever the submission makes of it.

The process (running/inner.py) gets its order pickled on stdin and tells what it has come to in lines of JSON on stdout:
nothing of it is unpickled. It dies with this one. Whoever waits here sees to a bound in wall time, and makes a result
of what was told where there is no whole one.
"""

from __future__ import annotations

import json
import os
import pickle
import select
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from grader import __version__
from grader.files import read_plain
from grader.labs import Lab
from grader.output.report import write_report
from grader.records import SCHEMA_VERSION, Result, Row, Verdict
from grader.running.grading import FAULTS, Order, not_judged
from grader.sandbox.proc import descendants
from grader.submission.kept import CODE, RECORD, digest_of_file, keep
from grader.submission.resubmissions import Task

MARGIN_S = 180.0  # for unpacking, for judging and for a start on a busy machine, beyond the sandbox's own bound
POLL_S = 0.2  # between two looks at whether to stop
MOST_LINE, MOST_TOLD = 16 << 20, 256 << 20  # bytes
MOST_RESULT = 64 << 20  # bytes of a result.json
END_S = 10.0  # for what runs below a process that was killed to follow it
TRIES = 2  # of a process that somebody else killed
RESULT = "result.json"
START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from grader.running.inner import main; main()"


def began(process: int) -> str:
    """When a process began, in the kernel's ticks; "" for one that is not there."""
    try:
        text = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return text.rpartition(")")[2].split()[19]


QUICK = {"PYDANTIC_DISABLE_PLUGINS": "__all__"}  # to look for plugins takes as long as to import all the rest


class Stopped(Exception):
    """The run was stopped while this submission was graded."""


@dataclass(frozen=True)
class Ask:
    """What the process is to do: everything that it needs to know."""

    task: Task
    order: Order
    folder: Path
    parent: int  # a process without which nobody wants the result
    memory_mib: int
    turns: Path  # a file that is locked by whoever has the machine to itself


@dataclass
class Told:
    """What the process has said so far."""

    head: dict[str, Any] = field(default_factory=dict)  # the Result's fields without its rows
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)  # id -> a judged Row's fields
    end: dict[str, Any] = field(default_factory=dict)  # how it says that it ended; empty if it did not come to it
    waiting_s: float = 0.0  # for its turn on the machine
    waits_since: float | None = None
    size: int = 0

    def take(self, line: bytes) -> None:
        """A line of it. Raises ValueError for one that is none."""
        self.size += len(line)
        said = json.loads(line)
        if "row" in said:
            self.rows[str(said["row"]["id"])] = said["row"]
        elif "head" in said:
            self.head = dict(said["head"])
        elif "waits" in said:
            self.wait(bool(said["waits"]))
        else:
            self.end = dict(said["end"])

    def wait(self, waits: bool) -> None:
        if self.waits_since is not None:
            self.waiting_s += time.monotonic() - self.waits_since
        self.waits_since = time.monotonic() if waits else None

    @property
    def excused_s(self) -> float:
        """Seconds in which it could do nothing, as another submission had the machine to itself."""
        return self.waiting_s + (0.0 if self.waits_since is None else time.monotonic() - self.waits_since)


def wall_bound(order: Order) -> float:
    """Seconds after which a submission's process is ended: later than every bound of the sandbox in it."""
    seconds, _ = order.lab.beyond(order)
    return float(order.policy.limits.wall_s) + seconds + MARGIN_S


def grade_apart(task: Task, order: Order, folder: Path, stopped: Callable[[], bool] = lambda: False) -> Result:
    """Grade one submission and write everything about it to `folder`, which is empty.

    Raises Stopped soon after `stopped` says so, and OSError for a fault of the machine, such as a full disk.
    """
    for _ in range(TRIES):
        told, code = _run(task, order, folder, stopped)
        if code != -signal.SIGKILL or told.end:
            break
        shutil.rmtree(folder / CODE, ignore_errors=True)
        for file in folder.iterdir():
            file.unlink()
    return _result(task, order, folder, told, code)


def _run(task: Task, order: Order, folder: Path, stopped: Callable[[], bool]) -> tuple[Told, int]:
    """What the process told, and its exit code: 0 if it was ended at its bound, which `end` then says."""
    place = Path(tempfile.mkdtemp(prefix="ddpm-grader-"))
    place.chmod(0o711)  # a worker that is another user has to reach what is staged in it
    _, mib = order.lab.beyond(order)
    shared = Path(tempfile.gettempdir())
    turns = (place if shared.stat().st_mode & stat.S_IWOTH else shared) / ".turns"  # of this run, not of the machine
    ask = Ask(task, order, folder.resolve(), os.getpid(), max(mib, order.policy.limits.grader_mib), turns)
    process = subprocess.Popen(
        [sys.executable, "-c", START, json.dumps(_places(order.lab))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(place), **QUICK},
        start_new_session=True,  # Ctrl-C at the terminal is this process's affair
    )
    told = Told()
    try:
        with suppress(BrokenPipeError):
            assert process.stdin
            process.stdin.write(pickle.dumps(ask))
            process.stdin.close()
        if not _listen(process, told, time.monotonic() + wall_bound(order), stopped):
            told.end = {"how": "late"}
            return told, 0
        with suppress(subprocess.TimeoutExpired):
            return told, process.wait(END_S)
        return told, 0  # it has said how it ended, and does not come to its end
    finally:
        _end(process)
        shutil.rmtree(place, ignore_errors=True)


def _places(lab: Lab) -> list[str]:
    """Where modules are found: as here, and where the grader and the lab are."""
    ours = Path(__file__).resolve().parents[2]
    theirs = lab.folder.resolve().parents[lab.package.count(".")]
    return list(dict.fromkeys([*sys.path, str(ours), str(theirs)]))


def _listen(process: subprocess.Popen[bytes], told: Told, deadline: float, stopped: Callable[[], bool]) -> bool:
    """Take what the process tells until it has said its last; False if its time was up before. Raises Stopped."""
    assert process.stdout
    pipe, rest = process.stdout.fileno(), b""
    while True:
        if stopped():
            raise Stopped
        if time.monotonic() > deadline + told.excused_s or told.size > MOST_TOLD or len(rest) > MOST_LINE:
            return False
        if not select.select([pipe], [], [], POLL_S)[0]:
            continue
        data = os.read(pipe, 1 << 20)
        if not data:
            return True
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            with suppress(ValueError, KeyError, TypeError):
                told.take(line)
        if told.end:
            return True


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the process; what runs below it follows, and is killed as well where it does not."""
    if process.poll() is None:
        below = {pid: began(pid) for pid in descendants(process.pid)}
        process.kill()
        process.wait()
        until = time.monotonic() + END_S
        while below := {pid: since for pid, since in below.items() if since and began(pid) == since}:
            if time.monotonic() > until:
                for pid in below:
                    with suppress(OSError):
                        os.kill(pid, signal.SIGKILL)
                break
            time.sleep(0.02)
    for pipe in (process.stdin, process.stdout):
        assert pipe
        with suppress(OSError):
            pipe.close()


def _result(task: Task, order: Order, folder: Path, told: Told, code: int) -> Result:
    how = told.end.get("how")
    if how == "done":
        return Result.from_json(read_plain(folder / RESULT, MOST_RESULT).decode("utf-8"))
    if how == "machine":
        number = int(told.end["errno"])
        raise OSError(number, os.strerror(number), told.end.get("file"))
    if how == "late":
        limit = wall_bound(order)
        return _cut_short(task, order, folder, told, Verdict.TIMEOUT, f"the {limit:g} s for the submission were over")
    if how == "memory":
        text = "what the submission sent took more memory than the grader has for it"
        return _cut_short(task, order, folder, told, Verdict.OUT_OF_MEMORY, text)
    if how is None:
        ended = f"signal {signal.Signals(-code).name}" if -code in signal.valid_signals() else f"exit code {code}"
        with open(folder / FAULTS, "a", encoding="utf-8", errors="backslashreplace") as log:
            log.write(f"{task.id}: the process that graded this submission ended with {ended}\n")
    text = f"the grader itself failed here, which costs no marks: a person has to look at {FAULTS}"
    return _cut_short(task, order, folder, told, Verdict.GRADER_ERROR, text)


def _cut_short(task: Task, order: Order, folder: Path, told: Told, verdict: Verdict, why: str) -> Result:
    """The result of a submission whose process did not come to its end: rows that were told keep their verdicts."""
    head = {"id": task.id, "submission_sha256": digest_of_file(task.path), "sandbox": str(order.sandbox)} | told.head
    rows = [told.rows.get(row.id) or asdict(not_judged(row, order, verdict, why)) for row in order.rows]
    fixed = {
        "schema": SCHEMA_VERSION,
        "grader_version": __version__,
        "seed": order.seed,
        "rules": order.rules_for(task.id),
        "environment": {},
    }
    result = Result.from_json(json.dumps(fixed | head | {"rows": rows}))
    _clear(folder, result.rows)
    if not (folder / RECORD).is_file():
        keep(task.path, None, folder)
    finish(result, task, order, folder)
    return result


def _clear(folder: Path, rows: list[Row]) -> None:
    """Remove what nobody came to name, such as half of a figure."""
    named = {RECORD, CODE, FAULTS, *(name for row in rows for name in row.evidence)}
    for file in folder.iterdir():
        if file.name not in named:
            file.unlink()


def finish(result: Result, task: Task, order: Order, folder: Path) -> None:
    """Write the report and, last of all, the result. Raises OSError."""
    result.remarks += task.remarks
    write_report(result, folder, order.lab)
    (folder / RESULT).write_text(result.to_json(), encoding="utf-8")
