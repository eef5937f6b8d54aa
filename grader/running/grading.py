"""Grades one submission: stages it, runs its rows in the sandbox, draws what was observed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from grader import __version__
from grader.alarm import OutOfTime, within
from grader.files import of_the_machine
from grader.judging.bench import Bench, Observation
from grader.judging.diagnosis import diagnose
from grader.labs import Lab, RowKind, RubricRow
from grader.records import Result, Row, Verdict
from grader.running import bounded
from grader.running.evidence import Evidence
from grader.running.report_pages import FILE, MOUNT, Pages, draw_pages, read_report
from grader.sandbox import ProbeFailure, Sandbox, SandboxFault, SandboxKind
from grader.submission.changed_lines import changes_outside_todos
from grader.submission.kept import digest_of_file, keep
from grader.submission.unpack import Submission, Unreadable, stage, submission_id

NOT_TRAINED = "not trained, as --no-training was asked for"
PACKAGE = Path(__file__).resolve().parents[1]
FAULTS = "grader_error.log"
JUDGE_S = 180.0  # of CPU for the grader's own work on a row; the sandbox has its own limits
MOST_ARTIFACTS = 100_000  # files of a student that are listed
Told = Callable[[Row], None]
Begun = Callable[[Result], None]


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
    found: list[tuple[str, int, int]] = []
    for here, below, files in os.walk(folder):
        below.sort()
        for path in (Path(here, name) for name in sorted(files)):
            with contextlib.suppress(OSError):
                status = path.lstat()
                found.append((path.relative_to(folder).as_posix(), status.st_size, status.st_mtime_ns))
        if len(found) > MOST_ARTIFACTS:
            break
    return found


def _nobody(about: object) -> None:
    """For who does not ask to be told."""


def grade_submission(
    path: Path,
    order: Order,
    folder: Path,
    name: str | None = None,
    told: Told = _nobody,
    begun: Begun = _nobody,
) -> Result:
    """Grade one ZIP or folder. Figures and the code go to `folder`. Never raises for what is in the submission.

    `name` is the id that the run gives it, by which its artifacts are found; the ZIP's own without. `begun` gets the
    result before there are rows in it, `told` each row as soon as it is judged.
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
            result = _grade_guarded(submission, order, folder, told, begun)
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


def _grade_guarded(submission: Submission, order: Order, folder: Path, told: Told, begun: Begun) -> Result:
    """A fault of ours, such as a worker that does not start, leaves rows pending and the class going on."""
    result = Result(
        submission.id,
        submission.sha256,
        __version__,
        order.seed,
        str(order.sandbox),
        {},
        [],
        remarks=bounded.remarks(submission.remarks),
    )
    try:
        _grade_staged(submission, order, folder, result, told, begun)
    except Exception as error:
        judged = {row.id for row in result.rows}
        result.rows += [_ended(row, error, order, folder) for row in order.rows if row.id not in judged]
    result.remarks = bounded.remarks(result.remarks)
    result.rows.sort(key=lambda row: [one.id for one in order.rows].index(row.id))
    return result


def not_judged(row: RubricRow, order: Order, verdict: Verdict, why: str) -> Row:
    """A row that was not come to. What a person judges is still there to be judged, and costs nothing."""
    if row.kind is RowKind.PERSON and verdict is not Verdict.GRADER_ERROR:
        return Row(
            row.id, row.points, Verdict.NEEDS_REVIEW, message=f"a person judges this row; not prepared, as {why}"
        )
    if row.trains and not order.training:
        return Row(row.id, row.points, Verdict.NEEDS_REVIEW, message=NOT_TRAINED)
    return Row(row.id, row.points, verdict, message=why)


def _ended(row: RubricRow, error: BaseException, order: Order, folder: Path) -> Row:
    """The row that an exception leaves behind: of what the submission sent where it can only be that, else of ours."""
    if isinstance(error, ProbeFailure) and error.verdict is not Verdict.GRADER_ERROR:
        text = error.message + (f"\nwhere: {error.where}" if error.where else "")
        return not_judged(row, order, error.verdict, text)
    if isinstance(error, MemoryError):
        text = "what the submission sent took more memory than the grader has for it"
        return not_judged(row, order, Verdict.OUT_OF_MEMORY, text)
    if isinstance(error, OutOfTime):
        return not_judged(row, order, Verdict.TIMEOUT, f"to judge what the submission sent {error}")
    if isinstance(error, RecursionError):
        return not_judged(row, order, Verdict.FAILED, "what the submission sent is nested too deeply to be judged")
    return _our_fault(row, folder)


def _our_fault(row: RubricRow, folder: Path) -> Row:
    """The row that an exception of ours leaves behind; the traceback goes to a file, students do not read it.

    Faults of the machine go on upwards: the next submission would meet them as well, so the run has to stop.
    """
    error = sys.exception()
    if error is not None and of_the_machine(error):
        raise error
    with open(folder / FAULTS, "a", encoding="utf-8", errors="backslashreplace") as log:
        log.write(f"{row.id}\n{traceback.format_exc()}\n")
    return Row(
        row.id,
        row.points,
        Verdict.GRADER_ERROR,
        message=f"the grader itself failed here, which costs no marks: a person has to look at {FAULTS}",
    )


def _grade_staged(submission: Submission, order: Order, folder: Path, result: Result, told: Told, begun: Begun) -> None:
    mounts = submission.halves | _report_mount(submission, order)
    begun(result)
    with Sandbox(submission.root, mounts, order.policy.limits, order.lab.material, order.sandbox, order.gpu) as sandbox:
        result.remarks += _changes(submission, order.lab)  # while the worker imports torch
        result.sandbox = str(sandbox.kind)
        result.environment = sandbox.environment()
        begun(result)
        for row in order.rows:
            if row.kind is not RowKind.PERSON:
                result.rows.append(_timed(lambda row=row: _grade_row(row, submission, sandbox, order, folder)))  # type: ignore[misc]
                told(result.rows[-1])
        result.remarks += _worker_remarks(submission, sandbox)
        for graded in _grade_report(submission, sandbox, order, folder):
            result.rows.append(graded)
            told(graded)


def _report_mount(submission: Submission, order: Order) -> dict[str, str]:
    """A folder with report.pdf alone, which the sandbox mounts beside the halves; none where nobody asks for it."""
    if submission.report is None or not any(row.kind is RowKind.PERSON for row in order.rows):
        return {}
    folder = Path(tempfile.mkdtemp(dir=submission.root, prefix="report-"))
    folder.chmod(0o755)
    shutil.copyfile(submission.report, folder / FILE)
    (folder / FILE).chmod(0o644)
    return {MOUNT: folder.name}


def _grade_report(submission: Submission, sandbox: Sandbox, order: Order, folder: Path) -> Iterator[Row]:
    """The rows that a person judges, with the pages of the report that are about them."""
    rows = [row for row in order.rows if row.kind is RowKind.PERSON]
    if not rows:
        return
    pages = read_report(sandbox) if submission.report else Pages(problem="no report.pdf was handed in")
    code = {half: submission.root / name for half, name in submission.halves.items()}
    artifacts = order.artifacts / submission.id if order.artifacts else None
    seed = _seed_of(order, submission.sha256) % 2**31
    evidence = Evidence(order, pages, code, artifacts, folder, seed=seed)
    for row in rows:
        yield _timed(lambda row=row: _person_row(row, evidence, sandbox))  # type: ignore[misc]


def _person_row(row: RubricRow, evidence: Evidence, sandbox: Sandbox) -> Row:
    try:
        graded = evidence.order.lab.judge_evidence(row, evidence)
        graded.evidence += draw_pages(sandbox, evidence.pages, row, evidence.folder)
        return graded
    except Exception as error:
        return _ended(row, error, evidence.order, evidence.folder)


def _changes(submission: Submission, lab: Lab) -> list[str]:
    remarks = []
    for half, name in submission.halves.items():
        remarks += changes_outside_todos(submission.root / name, lab.released / lab.half(half).folder)
    return remarks


def _worker_remarks(submission: Submission, sandbox: Sandbox) -> list[str]:
    """What the worker did to make the code run here, such as placeholders for modules that are not installed."""
    remarks = []
    for half, name in submission.halves.items():
        with contextlib.suppress(ProbeFailure, SandboxFault):
            sandbox.renew(libraries=())
            texts = sandbox.call(half, "about", {"modules": sandbox.imported(half)}).data.get("remarks")
            if isinstance(texts, list):
                remarks += [f"{Path(name).name}: {text[:300]}" for text in texts if isinstance(text, str)][:20]
    return remarks


def _timed(grade: Callable[[], Row]) -> Row:
    began = time.monotonic()
    row = bounded.row(grade())
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
            return Row(row.id, row.points, Verdict.NEEDS_REVIEW, message=NOT_TRAINED)
        with within(JUDGE_S):
            return judge_row(row, sandbox, order, folder, submission.sha256)
    except (Exception, OutOfTime) as error:
        return _ended(row, error, order, folder)


def _seed_of(order: Order, content: str) -> int:
    """A seed for one submission of a run: another content gets other draws, the same gets the same.

    No code of a submission ever learns the run's own seed.
    """
    return int.from_bytes(hashlib.sha256(f"{order.seed}\0{content}".encode()).digest()[:8], "big")


def judge_row(
    row: RubricRow, sandbox: Sandbox, order: Order, folder: Path | None = None, content: str | None = None
) -> Row:
    """Judge a row under the order's seed, and diagnose it where it is wrong; figures go to `folder` if there is one.

    With the digest of a submission's `content`, what is drawn depends on that as well: whoever hands in again meets
    other numbers. Raises for faults of ours, ProbeFailure and MemoryError for what a judge did not expect.
    """
    sandbox.renew(row.libraries)  # no row meets what an earlier one left behind
    # The generator depends on the row, so that --only draws the same numbers as a whole run.
    salt = int.from_bytes(hashlib.sha256(row.id.encode()).digest()[:4], "big")
    seed = order.seed if content is None else _seed_of(order, content)
    bench = Bench(sandbox, row.half, np.random.default_rng([seed, salt]), order.policy)
    judgement = order.lab.judge(row.id)(bench)
    graded = Row.from_checks(row.id, row.points, judgement.checks, remarks=judgement.remarks)
    if graded.verdict in (Verdict.FAILED, Verdict.PARTIAL):
        found = diagnose(order.lab.misconceptions(row.id), judgement.observations)
        graded.diagnosis = found[0] if found else None
        graded.remarks += [f"also likely: {other.title}" for other in found[1:]]
    if folder is not None:
        for observation in judgement.observations:
            _draw(observation, graded, folder)
    return graded


def _draw(observation: Observation, graded: Row, folder: Path) -> None:
    """The figures of a row; one that cannot be drawn from what the submission sent costs no verdict."""
    try:
        graded.evidence += observation.draw(folder)
    except (Exception, OutOfTime) as error:
        if of_the_machine(error):
            raise
        graded.remarks.append(f"a figure could not be drawn: {type(error).__name__}")
