"""The verb `export`: a graded class for something else, every format from the same records."""

from __future__ import annotations

import argparse
import difflib
import os
import sys
from collections.abc import Callable
from pathlib import Path

from grader.errors import UsageError
from grader.labs import Lab
from grader.records import Result

FORMATS = {
    "gradescope": "results.json for Gradescope; with --autograder, the ZIP of an autograder",
    "nbgrader": "the run in an nbgrader gradebook",
    "csv": "points per row for a learning management system",
    "junit": "JUnit XML: a test suite per submission, a test case per row",
    "markdown": "a job summary for GitHub; with --annotations, the lost rows at their TODOs as well",
}
EXAMPLE = "  ddpm-grader export csv grades --to marks.csv"


def main(args: list[str], lab: Lab) -> int:
    """Run the verb with its arguments; returns the exit code. Raises UsageError."""
    name = args[0] if args else "--help"
    if name in ("-h", "--help"):
        print(_overview())
        return 0
    run: dict[str, Callable[[list[str]], int]] = {
        "gradescope": _gradescope,
        "nbgrader": _nbgrader,
        "csv": _csv,
        "junit": _junit,
        "markdown": _markdown,
    }
    if name not in run:
        near = difflib.get_close_matches(name, FORMATS, 1)
        hint = f", did you mean '{near[0]}'?" if near else f"; formats are {', '.join(FORMATS)}"
        raise UsageError(f"no format '{name}'{hint}")
    return run[name](args[1:])


def _overview() -> str:
    formats = "\n".join(f"  {name:<12}{what}" for name, what in FORMATS.items())
    return (
        f"usage: ddpm-grader export FORMAT OUT ...\n\nOUT is the folder that `grade --out` wrote.\n\n{formats}\n\n"
        f"'ddpm-grader export FORMAT --help' tells more; for example:\n{EXAMPLE}"
    )


def _parser(name: str, epilog: str = "") -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        prog=f"ddpm-grader export {name}",
        description=FORMATS[name],
        epilog=epilog,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _class_parser(name: str, epilog: str = "") -> argparse.ArgumentParser:
    """The parser of a format that becomes one file."""
    parser = _parser(name, epilog)
    parser.add_argument("out", type=Path, metavar="OUT", help="the folder that `grade --out` wrote")
    parser.add_argument("--to", type=Path, metavar="FILE", help="where it goes (default: stdout)")
    _add_gradebook(parser)
    return parser


def _add_gradebook(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--gradebook",
        metavar="URL",
        help="the nbgrader gradebook with the points that people gave (default: that of OUT/desk)",
    )
    parser.add_argument("--automatic", action="store_true", help="leave out the points that people gave")


def _results(options: argparse.Namespace) -> list[Result]:
    """The graded class, with the points that people gave at the desk."""
    from grader.results import graded

    results = graded(options.out)
    if options.automatic or (options.gradebook is None and not (options.out / "desk" / "gradebook.db").is_file()):
        return results
    from grader.desk.gradebook import typed
    from grader.output.formats.manual import with_manual

    return with_manual(results, typed(options.out, options.gradebook))


def _deliver(text: str, to: Path | None) -> int:
    """Put `text` into the file `to`, or on stdout."""
    if to is None:
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode("utf-8"))  # as it is, line ends included
        sys.stdout.buffer.flush()
        return 0
    _write(text, to)
    print(f"wrote {to}", file=sys.stderr)
    return 0


def _write(text: str, to: Path) -> None:
    if to.is_dir():
        raise UsageError(f"{to} is a folder: --to takes the name of a file")
    from grader.files import write_atomically

    to.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(to, text)


# --- formats


def _csv(args: list[str]) -> int:
    parser = _class_parser(
        "csv",
        "Cells of rows that wait for a person are empty; `pending` is what they are worth. For example:\n" + EXAMPLE,
    )
    parser.add_argument(
        "--maxima",
        action="store_true",
        help="put a line with the most points of each row first, with the id 'Points Possible'",
    )
    options = parser.parse_args(args)
    from grader.output.formats.lms import to_csv

    return _deliver(to_csv(_results(options), options.maxima), options.to)


def _junit(args: list[str]) -> int:
    options = _class_parser("junit").parse_args(args)
    from grader.output.formats.junit import to_junit

    return _deliver(to_junit(_results(options)), options.to)


def _markdown(args: list[str]) -> int:
    parser = _class_parser(
        "markdown",
        "For example, in a job:\n  ddpm-grader export markdown grades --to "
        '"$GITHUB_STEP_SUMMARY" --annotations --source lab1',
    )
    parser.add_argument(
        "--annotations",
        action="store_true",
        help="print workflow commands that mark the lost rows at file and line of their TODO",
    )
    parser.add_argument(
        "--source",
        type=Path,
        metavar="PATH",
        help="the one submission that was graded, in which the lines are looked up",
    )
    parser.add_argument(
        "--root",
        type=Path,
        metavar="DIR",
        help="file names are given from this folder, the repository's (default: that of --source)",
    )
    options = parser.parse_args(args)
    if options.annotations and options.to is None:
        raise UsageError("--annotations prints to stdout: give the summary a file with --to")
    from grader.output.formats.annotations import to_commands
    from grader.output.formats.markdown import to_markdown

    results = _results(options)
    code = _deliver(to_markdown(results), options.to)
    if options.annotations:
        print("\n".join(to_commands(results, options.source, options.root)))
    return code


def _nbgrader(args: list[str]) -> int:
    from grader.desk.gradebook import export_nbgrader

    return int(export_nbgrader(args))


def _gradescope(args: list[str]) -> int:
    from grader.output.formats.autograder import DEFAULT_LIMIT_S, write_autograder
    from grader.output.formats.gradescope import VISIBILITIES, to_gradescope

    parser = _parser(
        "gradescope",
        "For example:\n  ddpm-grader export gradescope grades --to gradescope\n"
        "  ddpm-grader export gradescope --autograder autograder.zip --time-limit 1200",
    )
    add = parser.add_argument
    add("out", type=Path, metavar="OUT", nargs="?", help="the folder that `grade --out` wrote")
    add("--to", type=Path, metavar="DIR", help="writes DIR/<id>/results.json (one submission: default is stdout)")
    add(
        "--visibility",
        choices=VISIBILITIES,
        default="visible",
        help="when students see the rows: the wording of Gradescope (default: %(default)s)",
    )
    add("--autograder", type=Path, metavar="FILE.zip", help="write the ZIP that Gradescope takes as an autograder")
    add(
        "--time-limit",
        type=int,
        default=DEFAULT_LIMIT_S,
        metavar="S",
        help="seconds that the assignment's settings give the autograder (default: %(default)s)",
    )
    add("--policy", type=Path, metavar="FILE", help="with --autograder: a policy to grade by")
    add(
        "--pip-conf",
        type=Path,
        metavar="FILE",
        help="with --autograder: a pip.conf to install by, such as for a package index with CPU builds of torch",
    )
    _add_gradebook(parser)
    options = parser.parse_args(args)
    if (options.out is None) == (options.autograder is None):
        raise UsageError("give either OUT, a graded class, or --autograder FILE.zip")
    if options.autograder is not None:
        write_autograder(options.autograder, options.time_limit, options.visibility, options.policy, options.pip_conf)
        print(f"wrote {options.autograder}: upload it in the assignment's Configure Autograder", file=sys.stderr)
        return 0
    results = _results(options)
    texts = {result.id: to_gradescope(result, options.out / result.id, options.visibility) for result in results}
    if options.to is None:
        if len(texts) > 1:
            raise UsageError(f"{options.out} holds {len(texts)} submissions: name a folder with --to DIR")
        return _deliver("".join(texts.values()), None)
    for name, text in texts.items():
        _write(text, options.to / name / "results.json")
    print(f"wrote {options.to}{os.sep}<id>{os.sep}results.json for {len(texts)} submissions", file=sys.stderr)
    return 0
