"""An HTML page of feedback for each student, by nbgrader's generate_feedback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from grader.desk.course import Course
from grader.errors import UsageError


def write_feedback(course: Course) -> Path:
    """Write feedback/<student>/<assignment>/evidence.html with the scores and comments of now; the folder of it all.

    Always by force: nbgrader leaves out what it thinks unchanged, and changed points are no change to it.
    """
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "nbgrader",
        "generate_feedback",
        course.lab.assignment,
        "--force",
        "--log-level=ERROR",
    ]
    done = subprocess.run(command, cwd=course.root, env=course.environment(), capture_output=True, text=True)
    if done.returncode:
        last = [line for line in done.stderr.splitlines() if line.strip()][-3:]
        raise UsageError(f"nbgrader generate_feedback failed: {' '.join(last)}")
    return course.root / "feedback"
