"""Gradescope: `results.json` of each submission, or the ZIP of an autograder that writes it there."""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial
from pathlib import Path

from grader.errors import OK, UsageError
from grader.labs import Lab
from grader.output.formats.base import Format, add_gradebook, deliver, results_of, write
from grader.output.formats.gradescope.archive import DEFAULT_LIMIT_S, write_autograder
from grader.output.formats.gradescope.results import VISIBILITIES, to_gradescope


def _add_options(parser: argparse.ArgumentParser) -> None:
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
    seconds = "seconds that the assignment's settings give the autograder (default: %(default)s)"
    add("--time-limit", type=int, default=DEFAULT_LIMIT_S, metavar="S", help=seconds)
    file = partial(add, type=Path, metavar="FILE")
    file("--policy", help="with --autograder: a policy to grade by")
    pip_conf = "a pip.conf to install by, such as for a package index with CPU builds of torch"
    file("--pip-conf", help=f"with --autograder: {pip_conf}")
    add_gradebook(parser)


def _run(options: argparse.Namespace, lab: Lab) -> int:
    if (options.out is None) == (options.autograder is None):
        raise UsageError("give either OUT, a graded class, or --autograder FILE.zip")
    if options.autograder is not None:
        write_autograder(
            options.autograder, lab, options.time_limit, options.visibility, options.policy, options.pip_conf
        )
        print(f"wrote {options.autograder}: upload it in the assignment's Configure Autograder", file=sys.stderr)
        return OK
    results = results_of(options, lab)
    texts = {result.id: to_gradescope(result, options.out / result.id, lab, options.visibility) for result in results}
    if options.to is None:
        if len(texts) > 1:
            raise UsageError(f"{options.out} holds {len(texts)} submissions: name a folder with --to DIR")
        return deliver("".join(texts.values()), None)
    for name, text in texts.items():
        write(text, options.to / name / "results.json")
    print(f"wrote {options.to}{os.sep}<id>{os.sep}results.json for {len(texts)} submissions", file=sys.stderr)
    return OK


FORMAT = Format(
    "gradescope",
    "results.json for Gradescope; with --autograder, the ZIP of an autograder",
    _add_options,
    _run,
    "For example:\n  ddpm-grader export gradescope grades --to gradescope\n"
    "  ddpm-grader export gradescope --autograder autograder.zip --time-limit 1200",
)
