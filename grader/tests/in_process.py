"""Judges one row of a made-up submission without a class run: a worker that imports torch once serves all of them.

Judge, probes, worker and the frames between them are the real ones. Each row gets a process of its own, forked from the
worker, which is a plain process: made-up submissions are trusted. For whole gradings in the sandbox see class_run.py.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from types import TracebackType
from typing import Any

from grader.judging.made_up import Case
from grader.lab import LAB
from grader.records import Result, Row, Verdict
from grader.running.apart import finish
from grader.running.grading import Order, grade_submission, judge_row
from grader.sandbox import Sandbox, SandboxKind
from grader.submission.resubmissions import Task
from grader.tools.builder import build

HOURS = {"submission_s": 36_000, "wall_s": 36_000, "cpu_s": 36_000}  # for one worker that serves a whole session
# After these a sandbox remembers which modules not to import again, which are another submission's by then.
MEMORABLE = frozenset({Verdict.TIMEOUT, Verdict.OUT_OF_MEMORY, Verdict.CRASHED})


def grade_here(task: Task, order: Order, folder: Path, stopped: object = None) -> Result:
    """What class_run.grade_into does, in this process: for tests that replace a part of the grader."""
    result = grade_submission(task.path, order, folder, task.id)
    finish(result, task, order, folder)
    return result


class Workbench:
    """Judges rows one after the other. A context manager; submissions are written to `folder`."""

    def __init__(self, folder: Path, policy: Any = None) -> None:
        policy = policy or LAB.policy()
        self._submission = folder / "submission"
        self._policy = policy.model_copy(update={"limits": policy.limits.model_copy(update=HOURS)})
        self._sandbox = self._started()

    def _started(self) -> Sandbox:
        halves = {half.key: half.folder for half in LAB.halves}
        return Sandbox(self._submission, halves, self._policy.limits, LAB.material, SandboxKind.NONE)

    def __enter__(self) -> Workbench:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sandbox.close()

    def judged(self, case: Case, row_id: str, seed: int = 0) -> Row:
        """A row of a submission, judged and diagnosed under a seed."""
        shutil.rmtree(self._submission, ignore_errors=True)
        build(self._submission, case.bodies, case.files, case.replace)
        self._sandbox.renew()
        row = LAB.row(row_id)
        graded = judge_row(row, self._sandbox, Order(LAB, seed, self._policy, (row,)))
        if graded.verdict in MEMORABLE:
            self._sandbox.close()
            self._sandbox = self._started()
        return graded


def account(row: Row) -> str:
    """A row as a failed test shows it."""
    checks = "\n".join(f"  {one.id}: {one.verdict} {one.points}/{one.max} {one.message}" for one in row.checks)
    found = row.diagnosis.id if row.diagnosis else None
    return (
        f"{row.id}: {row.verdict} {row.points}/{row.max}, diagnosis {found}, remarks {row.remarks}\n"
        f"{row.message}\n{checks}"
    )
