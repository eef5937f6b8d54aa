"""Public checks of your own code: `python -m grader check [ROW...]`.

They catch most mistakes, not all: what is graded is checked on other numbers, and more thoroughly. Each half
runs in a process of its own, because both hold a network.py.
"""

from __future__ import annotations

import argparse
import difflib
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WORDS = {"passed": "passed", "failed": "FAILED", "todo": "not done yet"}
TIMEOUT = 300  # seconds for one half; on a laptop its checks take less than 10


@dataclass(frozen=True)
class PublicRow:
    """A row with a public check."""

    id: str
    folder: str  # of the half with its code
    companion: bool = False  # an exercise for no points: checked only where it is asked for by name


def main(argv: Sequence[str], rows: Sequence[PublicRow]) -> int:
    """Print a line for each row. Returns 0 if all passed, 1 if not, 2 if a row or folder does not exist."""
    scored, companions = (ids(row for row in rows if row.companion is which) for which in (False, True))
    folders = list(dict.fromkeys(row.folder for row in rows))
    parser = argparse.ArgumentParser(
        prog="python -m grader check",
        description="Check your own code, in the folder with the two halves.",
        epilog=f"example: python -m grader check {scored[1]}",
    )
    parser.add_argument(
        "rows",
        nargs="*",
        metavar="ROW",
        help=f"{', '.join(scored)}, or a beginning of one; default: all of these. "
        f"Companion exercises, by name only: {', '.join(companions)}",
    )
    wanted, problem = select(parser.parse_args(argv).rows, rows)
    if not problem and not any(Path(folder).is_dir() for folder in folders):
        problem = f"there is no {' and no '.join(folders)} here: change to the folder that holds them"
    if problem:
        print(problem, file=sys.stderr)
        return 2
    states = []
    for folder in folders:
        here = ids(row for row in wanted if row.folder == folder)
        for result in run_half(Path(folder), here) if here else []:
            show(result)
            states.append(result["state"])
    passed = states.count("passed")
    print(
        f"{passed} of {len(states)} passed"
        + ("" if passed == len(states) else f", {states.count('failed')} failed, {states.count('todo')} not done yet")
    )
    return int(passed < len(states))


def ids(rows: Iterable[PublicRow]) -> list[str]:
    return [row.id for row in rows]


def select(patterns: Sequence[str], rows: Sequence[PublicRow]) -> tuple[list[PublicRow], str]:
    """The rows that start with one of `patterns` (those with points for none), and what is wrong with these or ''."""
    for pattern in patterns:
        if not any(row.id.startswith(pattern) for row in rows):
            tails = {row.id.split(".")[1]: row.id for row in rows}
            near = difflib.get_close_matches(pattern, ids(rows), 3) or [
                tails[tail] for tail in difflib.get_close_matches(pattern, list(tails), 3)
            ]
            known = ", ".join(ids(row for row in rows if not row.companion))
            hint = f"did you mean {' or '.join(near)}?" if near else f"rows are {known}"
            return [], f"no row starts with '{pattern}': {hint}"
    return [row for row in rows if (row.id.startswith(tuple(patterns)) if patterns else not row.companion)], ""


def run_half(folder: Path, rows: list[str]) -> list[dict[str, Any]]:
    """The results of `rows`, in their order: dicts with "row", "state" (a key of WORDS) and "text"."""
    if not folder.is_dir():
        return [{"row": row, "state": "failed", "text": f"there is no folder {folder} here"} for row in rows]
    paths = [str(Path(__file__).resolve().parents[3]), *filter(None, [os.environ.get("PYTHONPATH")])]
    command = [sys.executable, "-m", "grader.lab.edition.half", *rows]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            timeout=TIMEOUT,
            text=True,
            encoding="utf-8",
            check=False,
        )
        output, ending = (
            done.stdout,
            f"Python ended with exit code {done.returncode} before this row was done",
        )
    except subprocess.TimeoutExpired as slow:
        output, ending = (
            (slow.stdout or b"").decode("utf-8", "replace"),
            f"no answer within {TIMEOUT} seconds",
        )
    results = {result["row"]: result for result in map(json.loads, output.splitlines())}
    return [results.get(row, {"row": row, "state": "failed", "text": ending}) for row in rows]


def show(result: dict[str, Any]) -> None:
    """Print a row's line and, unless it passed, the reason below it."""
    print(f"{result['row']:20} {WORDS[result['state']]}")
    for line in result["text"].splitlines():
        print(f"    {line}")
