"""GitHub: a job summary, and workflow commands that mark lost rows in the code."""

from __future__ import annotations

import argparse
from pathlib import Path

from grader.errors import UsageError
from grader.labs import Lab
from grader.output.formats.base import Format, add_class, deliver, results_of
from grader.output.formats.markdown.summary import to_markdown


def _add_options(parser: argparse.ArgumentParser) -> None:
    add_class(parser)
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


def _run(options: argparse.Namespace, lab: Lab) -> int:
    if options.annotations and options.to is None:
        raise UsageError("--annotations prints to stdout: give the summary a file with --to")
    results = results_of(options, lab)
    code = deliver(to_markdown(results, lab), options.to)
    if options.annotations:
        from grader.output.formats.markdown.annotations import handed_out, submitted, to_commands

        if options.source is not None and len(results) != 1:
            raise UsageError(f"--source is one submission, and there are {len(results)} results")
        source = (
            handed_out(lab)
            if options.source is None
            else submitted(options.out / results[0].id, options.source, options.root, lab)
        )
        print("\n".join(to_commands(results, source)))
    return code


FORMAT = Format(
    "markdown",
    "a job summary for GitHub; with --annotations, the lost rows at their TODOs as well",
    _add_options,
    _run,
    "For example, in a job:\n  ddpm-grader export markdown grades --to "
    '"$GITHUB_STEP_SUMMARY" --annotations --source lab1',
)
