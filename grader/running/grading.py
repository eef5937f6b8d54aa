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
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from grader import __version__
from grader.judging.bench import Bench
from grader.judging.diagnosis import diagnose
from grader.labs import Lab, RowKind, RubricRow
from grader.records import Result, Row, Verdict
from grader.running.evidence import Evidence
from grader.running.report_pages import FILE, MOUNT, Pages, draw_pages, read_report
from grader.sandbox import ProbeFailure, Sandbox, SandboxKind
from grader.submission.changed_lines import changes_outside_todos
from grader.submission.kept import digest_of_file, keep
from grader.submission.unpack import Submission, Unreadable, stage, submission_id

PACKAGE = Path(__file__).resolve().parents[1]
FAULTS = "grader_error.log"
Told = Callable[[Row], None]


@dataclass(frozen=True)
class Order:
    """How a run grades: the same for every submission of it."""

    lab: Lab
    seed: int
    policy: Any  # of the lab's own class of Policy
    rows: tuple[RubricRow, ...]
    sandbox: SandboxKind = SandboxKind.AUTO
    gpu: bool = False
    training: bool = True
    artifacts: Path | None = None  # a folder of results for each id
    extra: Any = None  # what the lab's own options ask for

    @property
    def rules(self) -> str:
        """Digest of everything but the submission that decides about marks, the limits included."""
        asked = (self.seed, self.rows, self.sandbox, self.gpu, self.training, self.artifacts, self.extra)
        text = repr((deciding_sources(self.lab), self.policy.digest, asked))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def rules_for(self, name: str) -> str:
        """`rules`, with the artifacts of the submission `name` where artifacts were handed in."""
        if self.artifacts is None:
            return self.rules
        listing = repr((self.rules, _listing(self.artifacts / name)))
        return hashlib.sha256(listing.encode()).hexdigest()[:16]


# What decides about marks, below grader/ and below the folder of a lab; a change of it ends what results stand on.
DECIDING = (
    "finding.py",
    "records.py",
    "labs.py",
    "policy.py",
    "judging",
    "worker",
    "sandbox",
    "submission",
    "fid",
    "running",
)
NOT_DECIDING = frozenset(
    {
        *("edition", "release.py", "clearing.py", "publishing.py", "released", "public.py", "verbs.py"),  # for students
        *("catalogue.py", "made_up.py", "styles.py", "golden_public.py", "goldens.py"),  # for tests
        *("progress.py", "cluster.py"),
    }
)


@cache
def deciding_sources(lab: Lab) -> str:
    """Digest of the sources that decide about marks: with a mended judge, earlier results no longer stand."""
    digest = hashlib.sha256()
    for top, names in ((PACKAGE, DECIDING), (lab.folder, (".",))):
        for name in names:
            place = top / name
            files = [place] if place.is_file() else sorted(place.rglob("*"))
            for file in files:
                inside = file.relative_to(top)
                if file.suffix in (".py", ".toml") and not NOT_DECIDING & set(inside.parts):
                    digest.update(f"{inside.as_posix()}\0{file.stat().st_size}\0".encode() + file.read_bytes())
    return digest.hexdigest()


def _listing(folder: Path) -> list[tuple[str, int, int]]:
    """Names, sizes and times of a student's artifacts: they are too large to be read for a digest."""
    files = [(path, path.lstat()) for path in sorted(folder.rglob("*"))]
    return [(path.relative_to(folder).as_posix(), stat.st_size, stat.st_mtime_ns) for path, stat in files]


def _nobody(row: Row) -> None:
    """For who does not ask to be told of rows."""


def grade_submission(path: Path, order: Order, folder: Path, name: str | None = None, told: Told = _nobody) -> Result:
    """Grade one ZIP or folder. Figures and the code go to `folder`. Never raises for what is in the submission.

    `name` is the id that the run gives it, by which its artifacts are found; the ZIP's own without. `told` gets each
    row as soon as it is judged.
    """
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="ddpm-grader-") as scratch:
        try:
            submission = stage(path, Path(scratch) / "submission", order.lab)
        except Unreadable as error:
            result = _unreadable(path, order, str(error))
            keep(path, None, folder)
        else:
            submission.id = name or submission.id
            keep(path, submission, folder)
            result = _grade_guarded(submission, order, folder, told)
    result.id = name or result.id
    result.rules = order.rules_for(result.id)
    result.duration_s = round(time.monotonic() - began, 2)
    return result


def _unreadable(path: Path, order: Order, problem: str) -> Result:
    rows = [Row(row.id, row.points, Verdict.MISSING, message="the submission could not be read") for row in order.rows]
    return Result(
        submission_id(path, order.lab.suffix),
        digest_of_file(path),
        __version__,
        order.seed,
        str(order.sandbox),
        {},
        rows,
        problem=problem,
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
    mounts = submission.halves | _report_mount(submission, order)
    with Sandbox(submission.root, mounts, order.policy.limits, order.lab.material, order.sandbox, order.gpu) as sandbox:
        result.remarks += _changes(submission, order.lab)  # while the worker imports torch
        result.sandbox = str(sandbox.kind)
        result.environment = sandbox.environment()
        for row in order.rows:
            if row.kind is not RowKind.PERSON:
                result.rows.append(_timed(lambda row=row: _grade_row(row, submission, sandbox, order, folder)))  # type: ignore[misc]
                told(result.rows[-1])
        result.remarks += _worker_remarks(submission, sandbox)
        result.rows += _grade_report(submission, sandbox, order, folder)
    result.rows.sort(key=lambda row: [one.id for one in order.rows].index(row.id))
    return result


def _report_mount(submission: Submission, order: Order) -> dict[str, str]:
    """A folder with report.pdf alone, which the sandbox mounts beside the halves; none where nobody asks for it."""
    if submission.report is None or not any(row.kind is RowKind.PERSON for row in order.rows):
        return {}
    folder = Path(tempfile.mkdtemp(dir=submission.root, prefix="report-"))
    folder.chmod(0o755)
    shutil.copyfile(submission.report, folder / FILE)
    (folder / FILE).chmod(0o644)
    return {MOUNT: folder.name}


def _grade_report(submission: Submission, sandbox: Sandbox, order: Order, folder: Path) -> list[Row]:
    """The rows that a person judges, with the pages of the report that are about them."""
    rows = [row for row in order.rows if row.kind is RowKind.PERSON]
    if not rows:
        return []
    pages = read_report(sandbox) if submission.report else Pages(problem="no report.pdf was handed in")
    code = {half: submission.root / name for half, name in submission.halves.items()}
    artifacts = order.artifacts / submission.id if order.artifacts else None
    evidence = Evidence(order, pages, code, artifacts, folder)
    return [_timed(lambda row=row: _person_row(row, evidence, sandbox)) for row in rows]  # type: ignore[misc]


def _person_row(row: RubricRow, evidence: Evidence, sandbox: Sandbox) -> Row:
    try:
        graded = evidence.order.lab.judge_evidence(row, evidence)
        graded.evidence += draw_pages(sandbox, evidence.pages, row, evidence.folder)
        return graded
    except Exception:
        return _our_fault(row, evidence.folder)


def _changes(submission: Submission, lab: Lab) -> list[str]:
    remarks = []
    for half, name in submission.halves.items():
        remarks += changes_outside_todos(submission.root / name, lab.released / lab.half(half).folder)
    return remarks


def _worker_remarks(submission: Submission, sandbox: Sandbox) -> list[str]:
    """What the worker did to make the code run here, such as placeholders for modules that are not installed."""
    remarks = []
    for half, name in submission.halves.items():
        with contextlib.suppress(ProbeFailure):
            sandbox.renew(libraries=())
            texts = sandbox.call(half, "about", {"modules": sandbox.imported(half)}).data.get("remarks", [])
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
            return Row(
                row.id, row.points, Verdict.MISSING, message=f"{order.lab.half(row.half).folder}/ was not handed in"
            )
        if row.trains and not order.training:
            return Row(row.id, row.points, Verdict.NEEDS_REVIEW, message="not trained, as --no-training was asked for")
        return judge_row(row, sandbox, order, folder)
    except Exception:
        return _our_fault(row, folder)


def judge_row(row: RubricRow, sandbox: Sandbox, order: Order, folder: Path | None = None) -> Row:
    """Judge a row under the order's seed, and diagnose it where it is wrong; figures go to `folder` if there is one.

    Raises for faults of ours.
    """
    sandbox.renew(row.libraries)  # no row meets what an earlier one left behind
    # The generator depends on the row, so that --only draws the same numbers as a whole run.
    salt = int.from_bytes(hashlib.sha256(row.id.encode()).digest()[:4], "big")
    bench = Bench(sandbox, row.half, np.random.default_rng([order.seed, salt]), order.policy)
    judgement = order.lab.judge(row.id)(bench)
    graded = Row.from_checks(row.id, row.points, judgement.checks, remarks=judgement.remarks)
    if graded.verdict in (Verdict.FAILED, Verdict.PARTIAL):
        found = diagnose(order.lab.misconceptions(row.id), judgement.observations)
        graded.diagnosis = found[0] if found else None
        graded.remarks += [f"also likely: {other.title}" for other in found[1:]]
    if folder is not None:
        for observation in judgement.observations:
            graded.evidence += observation.draw(folder)
    return graded
