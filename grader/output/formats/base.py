"""What a format of the verb `export` is, and what several share: options, the graded class, delivery of a text."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from grader.commands import command_parser
from grader.errors import OK, UsageError
from grader.files import write_atomically
from grader.labs import Lab
from grader.records import Result

EXAMPLE = "  ddpm-grader export csv grades --to marks.csv"


@dataclass(frozen=True)
class Format:
    """A format: what it is called, a line about it, its options, and what runs it, which returns the exit code."""

    name: str
    about: str
    add_options: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace, Lab], int]
    epilog: str = ""

    def export(self, args: list[str], lab: Lab) -> int:
        """Run it with the arguments of a command line. Raises UsageError."""
        parser = command_parser(f"export {self.name}", self.about, epilog=self.epilog)
        self.add_options(parser)
        return self.run(parser.parse_args(args), lab)


def add_class(parser: argparse.ArgumentParser) -> None:
    """Options of a format that becomes one file."""
    parser.add_argument("out", type=Path, metavar="OUT", help="the folder that `grade --out` wrote")
    parser.add_argument("--to", type=Path, metavar="FILE", help="where it goes (default: stdout)")
    add_gradebook(parser)


def add_gradebook(parser: argparse.ArgumentParser) -> None:
    """Options about the points that people gave."""
    parser.add_argument(
        "--gradebook",
        metavar="URL",
        help="the nbgrader gradebook with the points that people gave (default: that of OUT/desk)",
    )
    parser.add_argument("--automatic", action="store_true", help="leave out the points that people gave")


def results_of(options: argparse.Namespace, lab: Lab) -> list[Result]:
    """The graded class, with the points that people gave at the desk."""
    from grader.results import graded

    results = graded(options.out)
    if options.automatic or (options.gradebook is None and not (options.out / "desk" / "gradebook.db").is_file()):
        return results
    from grader.desk.course import Course
    from grader.desk.gradebook import typed
    from grader.desk.manual import with_manual

    return with_manual(results, typed(Course.of(options.out, options.gradebook, lab)))


def deliver(text: str, to: Path | None) -> int:
    """Put `text` into the file `to`, or on stdout."""
    if to is None:
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode("utf-8"))  # as it is, line ends included
        sys.stdout.buffer.flush()
        return OK
    write(text, to)
    print(f"wrote {to}", file=sys.stderr)
    return OK


def write(text: str, to: Path) -> None:
    """Put `text` into the file `to`, whose folder need not be there. Raises UsageError for a folder."""
    if to.is_dir():
        raise UsageError(f"{to} is a folder: --to takes the name of a file")
    to.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(to, text)
