"""Grades one submission: stages it, runs its rows in the sandbox, draws what was observed."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from grader import __version__
from grader.artifacts.pages import FILE, HALF, Pages, draw_pages, read_report
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
Told = Callable[[Row], None]


@dataclass(frozen=True)
class Order:
    """How a run grades: the same for every submission of it."""

    seed: int
    policy: Policy
    rows: tuple[RubricRow, ...]
    sandbox: SandboxKind = SandboxKind.AUTO
    gpu: bool = False
    training: bool = True
    artifacts: Path | None = None  # a folder of results for each id
    data: Path = Path("data/afhq")  # with eval/, the reference of an FID, and train/
    fid: str = "images"  # artifacts.rows.Level
    budget_s: float = 1200.0  # of training for an FID

    @property
    def rules(self) -> str:
        """Digest of everything but the submission that decides about marks, the limits included."""
        return hashlib.sha256(repr((__version__, rubric(), self)).encode()).hexdigest()[:16]

    def rules_for(self, name: str) -> str:
        """`rules`, with the artifacts of the submission `name` where artifacts were handed in."""
        if self.artifacts is None:
            return self.rules
        listing = repr((self.rules, _listing(self.artifacts / name)))
        return hashlib.sha256(listing.encode()).hexdigest()[:16]


def _listing(folder: Path) -> list[tuple[str, int, int]]:
    """Names, sizes and times of a student's artifacts: they are too large to be read for a digest."""
    files = [(path, path.lstat()) for path in sorted(folder.rglob("*"))]
    return [(path.relative_to(folder).as_posix(), stat.st_size, stat.st_mtime_ns) for path, stat in files]


def _nobody(row: Row) -> None:
    """For who does not ask to be told of rows."""


def grade_submission(path: Path, order: Order, folder: Path, name: str | None = None, told: Told = _nobody) -> Result:
    """Grade one ZIP or folder. Figures go to `folder`; nothing else is written. Never raises for what is in it.

    `name` is the id that the run gives it, by which its artifacts are found; the ZIP's own without. `told` gets each
    row as soon as it is judged.
    """
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="ddpm-grader-") as scratch:
        try:
            submission = stage(path, Path(scratch) / "submission")
        except Unreadable as error:
            result = _unreadable(path, order, str(error))
        else:
            submission.id = name or submission.id
            result = _grade_guarded(submission, order, folder, told)
    result.id = name or result.id
    result.rules = order.rules_for(result.id)
    result.duration_s = round(time.monotonic() - began, 2)
    return result


def _unreadable(path: Path, order: Order, problem: str) -> Result:
    rows = [Row(row.id, row.points, Verdict.MISSING, message="the submission could not be read") for row in order.rows]
    return Result(
        submission_id(path), file_digest(path), __version__, order.seed, str(order.sandbox), {}, rows, problem=problem
    )


def _grade_guarded(submission: Submission, order: Order, folder: Path, told: Told) -> Result:
    """A fault of ours, such as a worker that does not start, leaves every row pending and the class going on."""
    result = Result(
        submission.id,
        submission.sha256,
        __version__,
        order.seed,
        str(order.sandbox),
        {},
        [],
        remarks=list(submission.remarks),
    )
    try:
        return _grade_staged(submission, order, folder, result, told)
    except Exception:
        result.rows = [_our_fault(row, folder) for row in order.rows]
        return result


# What is wrong with the machine and not with a submission: a full disk, a quota, a drive that is gone.
MACHINE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.EROFS})


def _our_fault(row: RubricRow, folder: Path) -> Row:
    """The row that an exception of ours leaves behind; the traceback goes to a file, students do not read it.

    Faults of the machine go on upwards: the next submission would meet them as well, so the run has to stop.
    """
    error = sys.exception()
    if isinstance(error, OSError) and error.errno in MACHINE:
        raise error
    with open(folder / FAULTS, "a", encoding="utf-8", errors="backslashreplace") as log:
        log.write(f"{row.id}\n{traceback.format_exc()}\n")
    return Row(
        row.id,
        row.points,
        Verdict.GRADER_ERROR,
        message=f"the grader itself failed here, which costs no marks: a person has to look at {FAULTS}",
    )


def _grade_staged(submission: Submission, order: Order, folder: Path, result: Result, told: Told) -> Result:
    halves = submission.halves | _report_half(submission, order)
    with Sandbox(submission.root, halves, order.policy.limits, order.sandbox, order.gpu) as sandbox:
        result.remarks += _edits(submission)  # while the worker imports torch
        result.sandbox = str(sandbox.kind)
        result.environment = sandbox.environment()
        for row in order.rows:
            if row.kind != "report":
                result.rows.append(_timed(lambda row=row: _grade_row(row, submission, sandbox, order, folder)))  # type: ignore[misc]
                told(result.rows[-1])
        result.remarks += _worker_remarks(submission, sandbox)
        result.rows += _grade_report(submission, sandbox, order, folder)
    result.rows.sort(key=lambda row: [one.id for one in order.rows].index(row.id))
    return result


def _report_half(submission: Submission, order: Order) -> dict[str, str]:
    """A folder with report.pdf alone, which the sandbox takes for one more half; none where nobody asks for it."""
    if submission.report is None or not any(row.kind == "report" for row in order.rows):
        return {}
    folder = Path(tempfile.mkdtemp(dir=submission.root, prefix="report-"))
    folder.chmod(0o755)
    shutil.copyfile(submission.report, folder / FILE)
    (folder / FILE).chmod(0o644)
    return {HALF: folder.name}


def _grade_report(submission: Submission, sandbox: Sandbox, order: Order, folder: Path) -> list[Row]:
    """The rows that a person judges, with the pages of the report that are about them."""
    rows = [row for row in order.rows if row.kind == "report"]
    if not rows:
        return []
    pages = read_report(sandbox) if submission.report else Pages(problem="no report.pdf was handed in")
    judge = _judge_of_reports(submission, pages, order, folder)
    return [_timed(lambda row=row: _report_row(row, judge, sandbox, pages, folder)) for row in rows]  # type: ignore[misc]


def _report_row(row: RubricRow, judge: Callable[[RubricRow], Row], sandbox: Sandbox, pages: Pages, folder: Path) -> Row:
    try:
        graded = judge(row)
        graded.evidence += draw_pages(sandbox, pages, row.id, folder)
        return graded
    except Exception:
        return _our_fault(row, folder)


def _judge_of_reports(submission: Submission, pages: Pages, order: Order, folder: Path) -> Callable[[RubricRow], Row]:
    """Judges a row by the artifacts where there are any to be had; without, names the place in the report."""
    if order.artifacts is None and order.fid != "retrain":
        return lambda row: Row(
            row.id, row.points, Verdict.NEEDS_REVIEW, message=f"a person judges this row: {pages.where(row.id)}"
        )
    from grader.artifacts.drawing import Machine  # late: images are measured with torch
    from grader.artifacts.rows import Evidence, Level, judge_report_row

    code = submission.root / submission.halves["task2"] if "task2" in submission.halves else None
    artifacts = order.artifacts / submission.id if order.artifacts else None
    evidence = Evidence(
        Machine(order.sandbox, order.gpu, order.policy),
        Level(order.fid),
        order.budget_s,
        order.seed,
        order.data,
        artifacts,
        code,
        pages,
    )
    return lambda row: judge_report_row(row, evidence, folder)


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


def file_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
