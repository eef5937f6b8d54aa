"""Runs the checks of one half in this process, whose current folder is that half; results go out as JSON.

python -m grader.half task1 task1.q_sample ...
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import torch

from .compare import Wrong

COMPANIONS = {"task1": "companions_plane", "task2": "companions_images"}  # modules with the checks of extra rows
LABELS = ("checked", "expected", "got", "where", "hint", "equation")


def main() -> int:
    half, *rows = sys.argv[1:]
    results = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what your code prints goes to the terminal, not between the results
    os.environ.setdefault("MPLBACKEND", "agg")
    for row in rows:
        name = COMPANIONS[half] if row.startswith("extra.") else half
        checks = importlib.import_module(f".{name}", __package__)
        torch.manual_seed(0)  # the same random numbers in every run: a row that passed stays passed
        state, parts = run(getattr(checks, "check_" + row.split(".")[1]), checks.EQUATIONS[row])
        text = "\n".join(f"{label:9} {parts[label]}" for label in LABELS if label in parts)
        print(json.dumps({"row": row, "state": state, "text": text}), file=results, flush=True)
    return 0


def run(check: Callable[[], None], equation: str) -> tuple[str, dict[str, str]]:
    """State and explanation of one row."""
    try:
        check()
    except NotImplementedError as todo:
        where = place(todo)
        return "todo", {"where": where, "equation": equation} | ({"got": str(todo)} if str(todo) else {})
    except Wrong as wrong:
        return "failed", wrong.parts | {"equation": equation}
    except (Exception, SystemExit) as error:  # your code may raise anything
        parts = {
            "checked": "that the code runs",
            "expected": "a result",
            "where": place(error),
            "got": f"{type(error).__name__}: {str(error)[:300]}",
            "hint": "read the line above; print the shapes of the tensors in it",
            "equation": equation,
        }
        return "failed", parts
    return "passed", {}


def place(error: BaseException) -> str:
    """File, line and function of the last line of your own code that ran."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{Path(error.filename).name}:{error.lineno}"
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).resolve().is_relative_to(Path.cwd().resolve())
    ]
    if not frames:
        return "while importing"
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno} in {frames[-1].name}"


if __name__ == "__main__":
    raise SystemExit(main())
