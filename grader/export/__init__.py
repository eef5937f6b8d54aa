"""The verb `export`: a graded class for something else, every format from the same records."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Callable
from pathlib import Path

from grader.records import Result
from grader.rubric import UsageError

FORMATS = {
    "gradescope": "results.json for Gradescope; with --autograder, the ZIP of an autograder",
    "nbgrader": "the run in an nbgrader gradebook",
    "csv": "points per row for a learning management system",
    "junit": "JUnit XML: a test suite per submission, a test case per row",
    "markdown": "a job summary for GitHub; with --annotations, the lost rows at their TODOs as well",
}
EXAMPLE = "  ddpm-grader export csv grades --to marks.csv"


def main(args: list[str]) -> int:
    """Run the verb with its arguments; returns the exit code. Raises UsageError."""
    name = args[0] if args else "--help"
    if name in ("-h", "--help"):
        print(_overview())
        return 0
    run: dict[str, Callable[[list[str]], int]] = {"gradescope": _gradescope, "nbgrader": _nbgrader, "csv": _csv,
                                                  "junit": _junit, "markdown": _markdown}
    if name not in run:
        near = difflib.get_close_matches(name, FORMATS, 1)
        hint = f", did you mean '{near[0]}'?" if near else f"; formats are {', '.join(FORMATS)}"
        raise UsageError(f"no format '{name}'{hint}")
    return run[name](args[1:])


def _overview() -> str:
    formats = "\n".join(f"  {name:<12}{what}" for name, what in FORMATS.items())
    return (f"usage: ddpm-grader export FORMAT OUT ...\n\nOUT is the folder that `grade --out` wrote.\n\n{formats}\n\n"
            f"'ddpm-grader export FORMAT --help' tells more; for example:\n{EXAMPLE}")


def _parser(name: str, epilog: str = "") -> argparse.ArgumentParser:
    return argparse.ArgumentParser(prog=f"ddpm-grader export {name}", description=FORMATS[name], epilog=epilog,
                                   allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter)


def _class_parser(name: str, epilog: str = "") -> argparse.ArgumentParser:
    """The parser of a format that becomes one file."""
    parser = _parser(name, epilog)
    parser.add_argument("out", type=Path, metavar="OUT", help="the folder that `grade --out` wrote")
    parser.add_argument("--to", type=Path, metavar="FILE", help="where it goes (default: stdout)")
    _add_gradebook(parser)
    return parser


def _add_gradebook(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--gradebook", metavar="URL",
                        help="take the points that people gave from this nbgrader gradebook, as in sqlite:///gradebook.db")


def _results(options: argparse.Namespace) -> list[Result]:
    from grader.export.manual import with_manual
    from grader.run import graded

    results = graded(options.out)
    if options.gradebook is None:
        return results
    from grader.desk.gradebook import manual_points

    return with_manual(results, manual_points(options.gradebook))


def _deliver(text: str, to: Path | None) -> int:
    """Write `text` as it is, line ends included."""
    if to is None:
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode("utf-8"))
        sys.stdout.buffer.flush()
        return 0
    if to.is_dir():
        raise UsageError(f"{to} is a folder: --to takes the name of a file")
    from grader.summary import write_atomically

    to.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(to, text)
    print(f"wrote {to}", file=sys.stderr)
    return 0


# --- formats


def _csv(args: list[str]) -> int:
    parser = _class_parser("csv", "Cells of rows that wait for a person are empty; `pending` is what they are worth. "
                                  "For example:\n" + EXAMPLE)
    parser.add_argument("--maxima", metavar="NAME", nargs="?", const="Points Possible",
                        help="put a line with the most points of each row first, under this id (default: %(const)s)")
    options = parser.parse_args(args)
    from grader.export.lms import to_csv

    return _deliver(to_csv(_results(options), options.maxima), options.to)


def _junit(args: list[str]) -> int:
    options = _class_parser("junit").parse_args(args)
    from grader.export.junit import to_junit

    return _deliver(to_junit(_results(options)), options.to)


def _markdown(args: list[str]) -> int:
    parser = _class_parser("markdown", 'For example, in a job:\n  ddpm-grader export markdown grades --to '
                                       '"$GITHUB_STEP_SUMMARY" --annotations --source lab1')
    parser.add_argument("--annotations", action="store_true",
                        help="print workflow commands that mark the lost rows at file and line of their TODO")
    parser.add_argument("--source", type=Path, metavar="PATH",
                        help="the one submission that was graded, in which the lines are looked up")
    parser.add_argument("--root", type=Path, metavar="DIR",
                        help="file names are given from this folder, the repository's (default: that of --source)")
    options = parser.parse_args(args)
    if options.annotations and options.to is None:
        raise UsageError("--annotations prints to stdout: give the summary a file with --to")
    from grader.export.annotations import annotations
    from grader.export.markdown import to_markdown

    results = _results(options)
    code = _deliver(to_markdown(results), options.to)
    if options.annotations:
        print("\n".join(annotations(results, options.source, options.root)))
    return code


def _nbgrader(args: list[str]) -> int:
    from grader.desk.gradebook import export_nbgrader

    return int(export_nbgrader(args))


def _gradescope(args: list[str]) -> int:
    from grader.export.autograder import DEFAULT_LIMIT_S, write_autograder
    from grader.export.gradescope import VISIBILITIES, to_gradescope

    parser = _parser("gradescope", "For example:\n  ddpm-grader export gradescope grades --to gradescope\n"
                                   "  ddpm-grader export gradescope --autograder autograder.zip --time-limit 1200")
    add = parser.add_argument
    add("out", type=Path, metavar="OUT", nargs="?", help="the folder that `grade --out` wrote")
    add("--to", type=Path, metavar="DIR", help="writes DIR/<id>/results.json (one submission: default is stdout)")
    add("--visibility", choices=VISIBILITIES, default="visible",
        help="when students see the rows: the wording of Gradescope (default: %(default)s)")
    add("--autograder", type=Path, metavar="FILE.zip", help="write the ZIP that Gradescope takes as an autograder")
    add("--time-limit", type=int, default=DEFAULT_LIMIT_S, metavar="S",
        help="seconds that the assignment's settings give the autograder (default: %(default)s)")
    add("--policy", type=Path, metavar="FILE", help="with --autograder: a policy to grade by")
    add("--pip-conf", type=Path, metavar="FILE", help="with --autograder: a pip.conf to install by, such as for a "
                                                       "package index with CPU builds of torch")
    _add_gradebook(parser)
    options = parser.parse_args(args)
    if (options.out is None) == (options.autograder is None):
        raise UsageError("give either OUT, a graded class, or --autograder FILE.zip")
    if options.autograder is not None:
        write_autograder(options.autograder, options.time_limit, options.visibility, options.policy, options.pip_conf)
        print(f"wrote {options.autograder}: upload it in the assignment's Configure Autograder", file=sys.stderr)
        return 0
    results = _results(options)
    if options.to is None and len(results) > 1:
        raise UsageError(f"{options.out} holds {len(results)} submissions: name a folder with --to DIR")
    for result in results:
        folder = options.out / result.id
        text = to_gradescope(result, folder, options.visibility)
        _deliver(text, options.to / result.id / "results.json" if options.to else None)
    return 0
