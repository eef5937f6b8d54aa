"""Grades one submission: stages it, runs its rows in the sandbox, draws what was observed."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from grader import __version__
from grader.checks import JUDGES, Bench
from grader.checks.training import StripObservation, TrainingObservation
from grader.diagnosis import diagnose
from grader.edits import edits_outside_todos
from grader.figures import draw_forward_strip, draw_loss_curve, draw_samples
from grader.intake import Submission, Unreadable, stage, submission_id
from grader.records import Result, Row, Verdict
from grader.rubric import Policy, RubricRow, rubric
from grader.sandbox import ProbeFailure, Sandbox, SandboxKind

REPOSITORY = Path(__file__).resolve().parent.parent
FAULTS = "grader_error.log"
HALVES = {"task1": "2d_plot_diffusion_todo", "task2": "image_diffusion_todo"}


@dataclass(frozen=True)
class Order:
    """How a run grades: the same for every submission of it."""

    seed: int
    policy: Policy
    rows: tuple[RubricRow, ...]
    sandbox: SandboxKind = SandboxKind.AUTO
    gpu: bool = False
    training: bool = True

    @property
    def rules(self) -> str:
        """Digest of everything but the submission that decides about marks, the limits included."""
        return hashlib.sha256(repr((__version__, rubric(), self)).encode()).hexdigest()[:16]


def grade_submission(path: Path, order: Order, folder: Path) -> Result:
    """Grade one ZIP or folder. Figures go to `folder`; nothing else is written. Never raises for what is in it."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="ddpm-grader-") as scratch:
        try:
            submission = stage(path, Path(scratch) / "submission")
        except Unreadable as error:
            result = _unreadable(path, order, str(error))
        else:
            result = _grade_guarded(submission, order, folder)
    result.rules = order.rules
    result.duration_s = round(time.monotonic() - began, 2)
    return result


def _unreadable(path: Path, order: Order, problem: str) -> Result:
    rows = [Row(row.id, row.points, Verdict.MISSING, message="the submission could not be read") for row in order.rows]
    return Result(submission_id(path), file_digest(path), __version__, order.seed, str(order.sandbox), {}, rows,
                  problem=problem)


def _grade_guarded(submission: Submission, order: Order, folder: Path) -> Result:
    """A fault of ours, such as a worker that does not start, leaves every row pending and the class going on."""
    result = Result(submission.id, submission.sha256, __version__, order.seed, str(order.sandbox), {}, [],
                    remarks=list(submission.remarks))
    try:
        return _grade_staged(submission, order, folder, result)
    except Exception:
        result.rows = [_our_fault(row, folder) for row in order.rows]
        return result


def _our_fault(row: RubricRow, folder: Path) -> Row:
    """The row that an exception of ours leaves behind; the traceback goes to a file, students do not read it."""
    with open(folder / FAULTS, "a", encoding="utf-8", errors="backslashreplace") as log:
        log.write(f"{row.id}\n{traceback.format_exc()}\n")
    return Row(row.id, row.points, Verdict.GRADER_ERROR,
               message=f"the grader itself failed here, which costs no marks: a person has to look at {FAULTS}")


def _grade_staged(submission: Submission, order: Order, folder: Path, result: Result) -> Result:
    with Sandbox(submission.root, submission.halves, order.policy.limits, order.sandbox, order.gpu) as sandbox:
        result.remarks += _edits(submission)  # while the worker imports torch
        result.sandbox = str(sandbox.kind)
        result.environment = sandbox.environment()
        for row in order.rows:
            result.rows.append(_timed(lambda row=row: _grade_row(row, submission, sandbox, order, folder)))  # type: ignore[misc]
        result.remarks += _worker_remarks(submission, sandbox)
    return result


def _edits(submission: Submission) -> list[str]:
    remarks = []
    for half, name in submission.halves.items():
        remarks += edits_outside_todos(submission.root / name, REPOSITORY / HALVES[half])
    return remarks


def _worker_remarks(submission: Submission, sandbox: Sandbox) -> list[str]:
    """What the worker did to make the code run here, such as placeholders for modules that are not installed."""
    remarks = []
    for half, name in submission.halves.items():
        with contextlib.suppress(ProbeFailure):
            texts = sandbox.call(half, "about").data.get("remarks", [])
            remarks += [f"{Path(name).name}: {text}" for text in texts if isinstance(text, str)][:20]
    return remarks


def _timed(grade: Callable[[], Row]) -> Row:
    began = time.monotonic()
    row = grade()
    row.duration_s = round(time.monotonic() - began, 3)
    return row


def _grade_row(row: RubricRow, submission: Submission, sandbox: Sandbox, order: Order, folder: Path) -> Row:
    """One row, whatever happens: a fault of ours is `grader_error` and costs no marks."""
    try:
        if row.kind == "report":
            return _for_a_person(row, submission)
        if row.half not in submission.halves:
            return Row(row.id, row.points, Verdict.MISSING, message=f"{HALVES[row.half]}/ was not handed in")
        if row.id == "task1.training" and not order.training:
            return Row(row.id, row.points, Verdict.NEEDS_REVIEW, message="not trained, as --no-training was asked for")
        return judge_row(row, sandbox, order, folder)
    except Exception:
        return _our_fault(row, folder)


def judge_row(row: RubricRow, sandbox: Sandbox, order: Order, folder: Path | None = None) -> Row:
    """Judge a row under the order's seed, and diagnose it where it is wrong; figures go to `folder` if there is one.

    Raises for faults of ours.
    """
    # The generator depends on the row, so that --only draws the same numbers as a whole run.
    salt = int.from_bytes(hashlib.sha256(row.id.encode()).digest()[:4], "big")
    bench = Bench(sandbox, row.half, np.random.default_rng([order.seed, salt]), order.policy)
    judgement = JUDGES[row.id](bench)
    graded = Row.from_checks(row.id, row.points, judgement.checks, remarks=judgement.remarks)
    if graded.verdict in (Verdict.FAILED, Verdict.PARTIAL):
        found = diagnose(row.id, judgement.observations)
        graded.diagnosis = found[0] if found else None
        graded.remarks += [f"also likely: {other.title}" for other in found[1:]]
    if folder is not None:
        for observation in judgement.observations:
            graded.evidence += _draw(observation, folder, order.policy)
    return graded


def _draw(observation: Any, folder: Path, policy: Policy) -> list[str]:
    """Figures of what was observed: names of the files written to `folder`."""
    drawn = []
    if isinstance(observation, StripObservation) and observation.panels:
        draw_forward_strip(observation.panels, folder / "q_sample.png")
        drawn.append("q_sample.png")
    if isinstance(observation, TrainingObservation):
        if len(observation.losses):
            draw_loss_curve(observation.losses, policy.training.loss_range, folder / "loss_curve.png")
            drawn.append("loss_curve.png")
        if observation.points is not None:
            draw_samples(observation.points, observation.target, folder / "samples.png")
            drawn.append("samples.png")
    return drawn


def _for_a_person(row: RubricRow, submission: Submission) -> Row:
    where = f"see {submission.report.name}" if submission.report else "no report.pdf was handed in"
    return Row(row.id, row.points, Verdict.NEEDS_REVIEW, message=f"a person judges this row: {where}")


def file_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
