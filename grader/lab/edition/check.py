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
from pathlib import Path
from typing import Any

HALVES = {"task1": "2d_plot_diffusion_todo", "task2": "image_diffusion_todo"}
NAMES = {
    "task1": ("simplenet", "q_sample", "p_sample", "p_sample_loop", "compute_loss"),
    "task2": (
        "add_noise",
        "cosine",
        "step_noise",
        "step_x0",
        "step_mean",
        "loss_noise",
        "loss_x0",
        "loss_mean",
    ),
}
ROWS = tuple(f"{half}.{name}" for half, names in NAMES.items() for name in names)
COMPANIONS = {  # exercises without points, and their halves; checked where they are asked for by name
    "extra.train_step": "task1",
    "extra.sampler_loop": "task1",
    "extra.forward_step": "task1",
    "extra.naive_skip": "task1",
    "extra.fast_sample": "task2",
    "extra.class_conditional": "task2",
    "extra.diffusers_parity": "task2",
}
WORDS = {"passed": "passed", "failed": "FAILED", "todo": "not done yet"}
TIMEOUT = 300  # seconds for one half; on a laptop its checks take less than 10


def main(argv: list[str] | None = None) -> int:
    """Print a line for each row. Returns 0 if all passed, 1 if not, 2 if a row or folder does not exist."""
    parser = argparse.ArgumentParser(
        prog="python -m grader check",
        description="Check your own code, in the folder with the two halves.",
        epilog="example: python -m grader check task1.q_sample",
    )
    parser.add_argument(
        "rows",
        nargs="*",
        metavar="ROW",
        help=f"{', '.join(ROWS)}, or a beginning of one; default: all of these. "
        f"Companion exercises, by name only: {', '.join(COMPANIONS)}",
    )
    wanted, problem = select(parser.parse_args(argv).rows)
    if not problem and not any(Path(folder).is_dir() for folder in HALVES.values()):
        problem = f"there is no {' and no '.join(HALVES.values())} here: change to the folder that holds them"
    if problem:
        print(problem, file=sys.stderr)
        return 2
    states = []
    for half, folder in HALVES.items():
        rows = [row for row in wanted if COMPANIONS.get(row, row).startswith(half)]
        for result in run_half(half, Path(folder), rows) if rows else []:
            show(result)
            states.append(result["state"])
    passed = states.count("passed")
    print(
        f"{passed} of {len(states)} passed"
        + ("" if passed == len(states) else f", {states.count('failed')} failed, {states.count('todo')} not done yet")
    )
    return int(passed < len(states))


def select(patterns: list[str]) -> tuple[list[str], str]:
    """The rows that start with one of `patterns` (the lab's for none), and what is wrong with these or ''."""
    known_rows = (*ROWS, *COMPANIONS)
    for pattern in patterns:
        if not any(row.startswith(pattern) for row in known_rows):
            tails = {row.split(".")[1]: row for row in known_rows}
            near = difflib.get_close_matches(pattern, known_rows, 3) or [
                tails[tail] for tail in difflib.get_close_matches(pattern, list(tails), 3)
            ]
            known = f"did you mean {' or '.join(near)}?" if near else f"rows are {', '.join(ROWS)}"
            return [], f"no row starts with '{pattern}': {known}"
    return [row for row in known_rows if row.startswith(tuple(patterns))] if patterns else list(ROWS), ""


def run_half(half: str, folder: Path, rows: list[str]) -> list[dict[str, Any]]:
    """The results of `rows`, in their order: dicts with "row", "state" (a key of WORDS) and "text"."""
    if not folder.is_dir():
        return [{"row": row, "state": "failed", "text": f"there is no folder {folder} here"} for row in rows]
    package_root = Path(__file__).resolve().parents[(__package__ or "grader").count(".") + 1]
    paths = [str(package_root), *filter(None, [os.environ.get("PYTHONPATH")])]
    command = [sys.executable, "-m", f"{__package__}.half", half, *rows]
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
