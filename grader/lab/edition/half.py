"""Runs the checks of one half in this process, whose current folder is that half; results go out as JSON.

python -m grader.lab.edition.half task1.q_sample ...
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from pathlib import Path

import torch

from grader.lab.edition.compare import Wrong

LABELS = ("checked", "expected", "got", "where", "hint", "equation")


def main() -> int:
    results = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what your code prints goes to the terminal, not between the results
    os.environ.setdefault("MPLBACKEND", "agg")
    for row in sys.argv[1:]:
        state, parts = run(row)
        text = "\n".join(f"{label:9} {parts[label]}" for label in LABELS if label in parts)
        print(json.dumps({"row": row, "state": state, "text": text}), file=results, flush=True)
    return 0


def run(row: str) -> tuple[str, dict[str, str]]:
    """State and explanation of one row: its public.py raises Wrong, or what your code raises, or nothing."""
    public = importlib.import_module(f"grader.lab.rows.{row}.public")
    equation = public.EQUATION
    torch.manual_seed(0)  # the same random numbers in every run: a row that passed stays passed
    try:
        public.check()
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
    here = Path.cwd().resolve()
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = Path(frame.filename).resolve()
        if file.is_relative_to(here):
            return f"{file.relative_to(here).as_posix()}:{frame.lineno} in {frame.name}"
    return "while importing"


if __name__ == "__main__":
    raise SystemExit(main())
