"""The verb `export`: a graded class for something else, every format from the same records.

A format is a module or a folder here, with a `FORMAT`; the list below is all that knows of it.
"""

from __future__ import annotations

from grader.errors import OK, UsageError
from grader.labs import Lab
from grader.output.formats import csv, gradescope, junit, markdown, nbgrader
from grader.output.formats.base import EXAMPLE
from grader.text import unknown

FORMATS = {module.FORMAT.name: module.FORMAT for module in (gradescope, nbgrader, csv, junit, markdown)}


def main(args: list[str], lab: Lab) -> int:
    """Run the verb with its arguments; returns the exit code. Raises UsageError."""
    name = args[0] if args else "--help"
    if name in ("-h", "--help"):
        print(_overview())
        return OK
    if name not in FORMATS:
        raise UsageError(unknown("format", name, FORMATS))
    return FORMATS[name].export(args[1:], lab)


def _overview() -> str:
    formats = "\n".join(f"  {one.name:<12}{one.about}" for one in FORMATS.values())
    return (
        f"usage: ddpm-grader export FORMAT OUT ...\n\nOUT is the folder that `grade --out` wrote.\n\n{formats}\n\n"
        f"'ddpm-grader export FORMAT --help' tells more; for example:\n{EXAMPLE}"
    )
