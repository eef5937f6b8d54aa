"""Grades the submission of an /autograder folder, as Gradescope lays it out, into results/results.json.

Two processes: one grades and notes each row; the other turns the notes into a results.json that is valid at every
moment, and ends the first where the time limit comes near. A container that is killed leaves what was judged by then.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grader import __version__
from grader.files import write_atomically
from grader.labs import COURSE, Lab, named
from grader.output.formats.gradescope.archive import CONFIG, DEFAULT_LIMIT_S, POLICY
from grader.output.formats.gradescope.results import VISIBILITIES, to_gradescope
from grader.records import Result, Row, Verdict
from grader.text import one_line

PARTIAL, FINAL = "partial.json", "result.json"  # notes of the process that grades
PR_SET_PDEATHSIG = 1  # to be told when the other process dies
POLL_S = 0.3
MARGIN = 0.1  # of the time limit, and at most MARGIN_S: kept back for ending the worker and writing
MARGIN_S = 30.0
GRACE_S = 5.0  # between asking the grading process to end and ending it

WAITING = "This was not judged yet when these results were written: its points are pending, and a person decides."
LATE = (
    "The time limit of the autograder came near before everything was judged. Rows that are left are pending: a "
    "person decides, or hand in again."
)
STOPPED = "The grader itself failed before everything was judged. That costs no marks: a person has to look at it."
RUNNING = "Grading goes on; if this is the last that you see, it was cut short. Rows that are left are pending."


@dataclass(frozen=True)
class Layout:
    """The folders and files that Gradescope gives an autograder."""

    root: Path

    @property
    def submission(self) -> Path:
        return self.root / "submission"

    @property
    def source(self) -> Path:
        return self.root / "source"

    @property
    def results(self) -> Path:
        return self.root / "results" / "results.json"

    @property
    def metadata(self) -> Path:
        return self.root / "submission_metadata.json"


@dataclass(frozen=True)
class Settings:
    """What the instructor chose when the autograder was exported."""

    limit_s: float = DEFAULT_LIMIT_S
    visibility: str = "visible"
    package: str = COURSE  # the lab's

    @property
    def lab(self) -> Lab:
        return named(self.package)

    @property
    def working_s(self) -> float:
        return self.limit_s - min(self.limit_s * MARGIN, MARGIN_S)


def main(argv: Sequence[str] | None = None) -> int:
    """0 if results.json tells all that there is to tell, 3 after a fault of the grader's own (it is valid then too)."""
    parser = argparse.ArgumentParser(prog="python -m grader.output.formats.gradescope.container", description=__doc__)
    parser.add_argument("--root", type=Path, default=Path("/autograder"), metavar="DIR", help="(default: %(default)s)")
    parser.add_argument("--work", type=Path, metavar="DIR", help=argparse.SUPPRESS)  # the process that grades
    options = parser.parse_args(argv)
    layout = Layout(options.root.resolve())
    settings = read_settings(layout.source / CONFIG)
    if options.work is not None:
        return _grade(layout, options.work, settings.lab)
    return _supervise(layout, settings)


def read_settings(path: Path) -> Settings:
    """The settings in the autograder's ZIP; Gradescope's defaults where there are none."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        settings = Settings(float(data["limit_s"]), str(data["visibility"]), str(data.get("lab", COURSE)))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Settings()
    return settings if settings.visibility in VISIBILITIES and settings.limit_s > 0 else Settings()


def read_name(metadata: Path, suffix: str) -> str:
    """The id that the submission gets: the student id of who handed it in, else the mail address, else its number."""
    from grader.submission.unpack import submission_id

    try:
        data = json.loads(metadata.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "submission"
    users = data.get("users") if isinstance(data, dict) else None
    user = users[0] if isinstance(users, list) and users and isinstance(users[0], dict) else {}
    names = [user.get("sid"), user.get("email"), data.get("id") if isinstance(data, dict) else None]
    said = next((str(name) for name in names if isinstance(name, str | int) and str(name).strip()), "submission")
    return submission_id(Path("/", said.replace("/", "_")), suffix)


# --- the process that writes results.json


def _supervise(layout: Layout, settings: Settings) -> int:
    began = time.monotonic()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))  # unwinds: the grading process is ended as well
    name = read_name(layout.metadata, settings.lab.suffix)
    if os.geteuid() == 0:  # metadata, earlier results and the answers are no business of the user that runs the code
        layout.root.chmod(0o700)
    notes = Notes(layout, settings, name, began)
    notes.publish(RUNNING)
    with tempfile.TemporaryDirectory(prefix="ddpm-grader-") as work:
        os.chmod(work, 0o711)  # a worker that is another user has to reach what is staged in it
        notes.folder = Path(work, "notes")
        notes.folder.mkdir(0o700)
        note = _watch(layout, notes, began + settings.working_s)
        notes.publish(note)
    print(
        f"{notes.judged} of {len(settings.lab.rubric)} rows judged in {time.monotonic() - began:.0f} s", file=sys.stderr
    )
    return 3 if note == STOPPED else 0


class Notes:
    """What the grading process has noted so far, as results.json tells it."""

    def __init__(self, layout: Layout, settings: Settings, name: str, began: float) -> None:
        self.layout, self.settings, self.name, self.began = layout, settings, name, began
        self.folder = layout.root  # where no notes are yet
        self.judged = 0

    def publish(self, note: str) -> None:
        """Write results.json, whole or not at all; a note that cannot be read changes nothing."""
        result = self._read(FINAL) or self._read(PARTIAL) or Result(self.name, "", __version__, 0, "", {}, [])
        self.judged = len(result.rows)
        result.rows = self._completed(result.rows, Verdict.GRADER_ERROR if note == STOPPED else Verdict.NEEDS_REVIEW)
        result.duration_s = result.duration_s or round(time.monotonic() - self.began, 2)
        self.layout.results.parent.mkdir(parents=True, exist_ok=True)
        text = to_gradescope(result, self.folder, self.settings.lab, self.settings.visibility, note)
        write_atomically(self.layout.results, text)

    def _completed(self, rows: list[Row], verdict: Verdict) -> list[Row]:
        """All rows of the rubric, in its order; those that were not judged wait for a person, if they have points."""
        rubric, judged = self.settings.lab.rubric, {row.id: row for row in rows}
        verdicts = {line.id: verdict if line.points else Verdict.SKIPPED for line in rubric}
        return [judged.get(line.id) or Row(line.id, line.points, verdicts[line.id], message=WAITING) for line in rubric]

    def _read(self, name: str) -> Result | None:
        try:
            return Result.from_json((self.folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def state(self) -> int:
        """A number that changes when something was noted."""
        with suppress(OSError):
            return (self.folder / PARTIAL).stat().st_mtime_ns
        return 0


def _watch(layout: Layout, notes: Notes, deadline: float) -> str:
    """Start the grading process, publish what it notes until it ends or has to; the note for the last results."""
    module = "grader.output.formats.gradescope.container"
    argv = [sys.executable, "-m", module, "--root", str(layout.root), "--work", str(notes.folder)]
    environment = os.environ | {"TMPDIR": str(notes.folder.parent)}
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, env=environment, start_new_session=True)
    try:
        seen = 0
        while (code := process.poll()) is None:
            if time.monotonic() > deadline:
                return LATE
            if notes.state() != seen:
                seen = notes.state()
                notes.publish(RUNNING)
            time.sleep(POLL_S)
        return "" if code == 0 else STOPPED
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask the grading process to end, so that it ends its sandbox; then end it and its group."""
    for number, patience in ((signal.SIGTERM, GRACE_S), (signal.SIGKILL, None)):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(patience)


# --- the process that grades


def _grade(layout: Layout, folder: Path, lab: Lab) -> int:
    """Grade, and note each row in `folder`."""
    from grader.running.grading import Order, grade_submission
    from grader.sandbox import SandboxUnavailable

    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))  # unwinds: the sandbox is ended on the way
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    policy = layout.source / POLICY
    name = read_name(layout.metadata, lab.suffix)
    try:
        kind = sandbox_kind()
    except SandboxUnavailable as error:
        print(f"no sandbox works here: {error}", file=sys.stderr)
        return 1
    order = Order(lab, secrets.randbits(53), lab.policy(policy if policy.is_file() else None), lab.rubric, kind)
    result = Result(name, "", __version__, order.seed, str(kind), {}, [])

    def note(row: Row) -> None:
        result.rows.append(row)
        write_atomically(folder / PARTIAL, result.to_json())

    done = grade_submission(layout.submission, order, folder, name, note)
    write_atomically(folder / FINAL, done.to_json())
    return 0


def sandbox_kind() -> Any:
    """bubblewrap, or where a container allows no namespaces the weaker sandbox. Raises SandboxUnavailable."""
    from grader.sandbox import SandboxKind, SandboxUnavailable, resolve

    try:
        return resolve(SandboxKind.AUTO)
    except SandboxUnavailable as error:
        print(f"the weaker sandbox takes over: {one_line(str(error))}", file=sys.stderr)
        return resolve(SandboxKind.USER)


if __name__ == "__main__":
    raise SystemExit(main())
