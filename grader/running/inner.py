"""What runs in the process of one submission (see apart.py): it grades, tells of each row, and writes the result."""

from __future__ import annotations

import ctypes
import json
import os
import pickle
import resource
import signal
import sys
import traceback
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from grader.alarm import OutOfTime

if TYPE_CHECKING:
    from grader.records import Result
    from grader.running.apart import Ask

PR_SET_PDEATHSIG = 1
MIB = 1 << 20
REPORT_S = 60.0  # of CPU


class Channel:
    """Lines of JSON to whoever started this process."""

    def __init__(self) -> None:
        self._fd = os.dup(1)
        os.dup2(2, 1)  # whatever else is printed is for people

    def tell(self, **said: Any) -> None:
        data = memoryview(json.dumps(said).encode() + b"\n")
        while data:
            data = data[os.write(self._fd, data) :]


def main() -> None:
    """Do what the Ask on stdin says."""
    channel = Channel()
    ask: Ask = pickle.load(sys.stdin.buffer)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != ask.parent:
        return  # it died before it could be told that we are to die with it
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = ask.memory_mib * MIB
    # The soft limit alone: workers set their own.
    resource.setrlimit(resource.RLIMIT_DATA, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))
    end = graded(ask, channel)
    sys.stdout.flush()
    channel.tell(end=end)
    os._exit(0)  # there is nothing left to tidy up, and to unload libraries takes a while


def graded(ask: Ask, channel: Channel) -> dict[str, Any]:
    """Grade, and say how it ended: done, for want of memory, by a fault of the machine or by one of ours."""
    from grader.files import of_the_machine
    from grader.running.grading import FAULTS

    try:
        _grade(ask, channel)
    except MemoryError:
        return {"how": "memory"}
    except BaseException as error:
        if isinstance(error, OSError) and of_the_machine(error):
            return {"how": "machine", "errno": error.errno, "file": error.filename and os.fsdecode(error.filename)}
        with open(ask.folder / FAULTS, "a", encoding="utf-8", errors="backslashreplace") as log:
            log.write(f"{ask.task.id}\n{traceback.format_exc()}\n")
        return {"how": "fault"}
    return {"how": "done"}


def _grade(ask: Ask, channel: Channel) -> None:
    from grader.running import turns
    from grader.running.grading import grade_submission

    def begun(result: Result) -> None:
        head = asdict(result)
        del head["rows"]
        channel.tell(head=head)

    turns.agreed(ask.turns, lambda waits: channel.tell(waits=waits))
    result = grade_submission(
        ask.task.path, ask.order, ask.folder, ask.task.id, lambda row: channel.tell(row=asdict(row)), begun
    )
    _write(result, ask)


def _write(result: Result, ask: Ask) -> None:
    """Report and result. Whatever a page cannot show is no reason to lose the points."""
    from grader.alarm import within
    from grader.files import of_the_machine
    from grader.running.apart import finish
    from grader.running.grading import FAULTS

    remarks = list(result.remarks)
    try:
        with within(REPORT_S):
            finish(result, ask.task, ask.order, ask.folder)
    except (Exception, OutOfTime) as error:
        if of_the_machine(error) or isinstance(error, MemoryError):
            raise
        with open(ask.folder / FAULTS, "a", encoding="utf-8", errors="backslashreplace") as log:
            log.write(f"report.html\n{traceback.format_exc()}\n")
        for row in result.rows:
            row.message, row.checks, row.remarks, row.evidence = f"no more can be shown: see {FAULTS}", [], [], []
        result.remarks = [*remarks, "the report could not be written with everything that it is to show"]
        finish(result, ask.task, ask.order, ask.folder)
