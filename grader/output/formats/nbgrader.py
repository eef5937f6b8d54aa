"""The class in an nbgrader gradebook, in which people go on."""

from __future__ import annotations

import argparse
from pathlib import Path

from grader.errors import OK
from grader.labs import Lab
from grader.output.formats.base import Format


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", type=Path, metavar="OUT", help="the folder that `grade --out` wrote")
    parser.add_argument("--gradebook", metavar="URL", help="default: SQLite in OUT/desk")


def _run(options: argparse.Namespace, lab: Lab) -> int:
    from grader.desk.course import Course, without_password
    from grader.desk.gradebook import write_class
    from grader.results import graded

    results = graded(options.out)
    course = Course.of(options.out, options.gradebook, lab)
    count = write_class(course, results)
    print(
        f"{len(results)} students in {without_password(course.url)}, {count} of them written now; "
        f"notebooks in {course.root / 'autograded'}"
    )
    return OK


FORMAT = Format("nbgrader", "the run in an nbgrader gradebook", _add_options, _run)
