"""`make demo`: builds a small class in a folder, grades it through the command line, and says where the reports are."""

from __future__ import annotations

import shutil
import sys
import tempfile
import zipfile
from pathlib import Path

from grader.cli import main as command_line
from grader.errors import FAULT, OK, UNGRADED
from grader.judging.made_up import Case, combined
from grader.lab.catalogue import mistakes
from grader.lab.release import release
from grader.running.grading import FAULTS
from grader.tools.builder import pack, write

# One student each: the mistakes that they made (none: the solved lab).
STUDENTS = {
    "412551001": (),
    "412551002": ("q_sample-lost-square-root",),
    "412551003": ("p_sample-noise-at-t0", "step_x0-clamped-alpha-bar-at-t0"),
    "412551004": ("p_sample_loop-upwards", "cosine-cosine-without-clip"),
    "412551005": ("simplenet-linear", "loss_mean-noise-for-mean-target"),
    "412551006": ("compute_loss-x0-as-target",),
}


def build_class(folder: Path) -> list[Path]:
    """ZIPs of a small class: solved, flawed, untouched, hostile. Returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    by_name = {case.name: case for case in mistakes()}
    with tempfile.TemporaryDirectory() as scratch:
        archives = [
            _zip(student, [by_name[name] for name in names], Path(scratch), folder)
            for student, names in STUDENTS.items()
        ]
        archives.append(_untouched("412551007", Path(scratch), folder))
    return [*archives, _hostile(folder / "412551008_lab1.zip")]


def _zip(student: str, cases: list[Case], scratch: Path, folder: Path) -> Path:
    built = write(combined(student, cases), scratch)
    return pack(built, folder / f"{student}_lab1.zip", top=f"{student}_lab1")


def _untouched(student: str, scratch: Path, folder: Path) -> Path:
    """The student edition as it was released."""
    release(scratch / student)
    return pack(scratch / student, folder / f"{student}_lab1.zip")


def _hostile(path: Path) -> Path:
    """An archive that tries to write outside of its folder."""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("2d_plot_diffusion_todo/ddpm.py", "print('hello')\n")
        file.writestr("../../../../tmp/owned.txt", "owned\n")
    return path


def main() -> int:
    """Grade the class into the folder named on the command line. 0 where the grader did what it should."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "build/demo")
    shutil.rmtree(folder, ignore_errors=True)
    print(f"building a class of {len(STUDENTS) + 2} in {folder / 'submissions'}", file=sys.stderr)
    archives = build_class(folder / "submissions")
    grades = folder / "grades"
    code = command_line(["grade", *map(str, archives), "--out", str(grades), "--no-training"])
    if code != UNGRADED:  # the hostile archive could not be graded, which is right
        return failed(code, grades)
    print(f"open {(grades / '412551003' / 'report.html').resolve()} in a browser")
    return OK


def failed(code: int, grades: Path) -> int:
    """Say why the demo failed, with the last line of each fault of the grader's own."""
    logs = [path.read_text(encoding="utf-8").strip() for path in sorted(grades.glob(f"*/{FAULTS}"))]
    reasons = dict.fromkeys(line for log in logs for line in log.splitlines()[-1:])
    for line in reasons:
        print(line, file=sys.stderr)
    print(f"the demo failed: `grade` ended with exit code {code} where {UNGRADED} is right", file=sys.stderr)
    return code or FAULT


if __name__ == "__main__":
    raise SystemExit(main())
