"""Grades made-up submissions through the real command line, once for a whole test file, and compares results."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from grader import cli
from grader.judging.made_up import Case
from grader.lab import LAB
from grader.tools.builder import write

CODE_ROWS = tuple(row.id for row in LAB.rubric if row.is_code)
Graded = dict[str, Any]  # a result.json


def grade_cases(cases: Iterable[Case], root: Path, seed: int = 0, jobs: int | None = None) -> dict[str, Graded]:
    """Build every case below `root`, grade the lab's own rows of all in one run, and read back {name: result.json}."""
    cases = list(cases)
    names = [case.name for case in cases]
    assert len(set(names)) == len(names), f"two cases are called {max(names, key=names.count)}"
    paths = [str(write(case, root / "submissions")) for case in cases]
    out = root / "grades"
    count = jobs or min(2, os.cpu_count() or 1)
    code = cli.main(
        [
            "grade",
            *paths,
            "--out",
            str(out),
            "--no-training",
            "--seed",
            str(seed),
            "--jobs",
            str(count),
            "--only",
            "task1",
            "--only",
            "task2",
        ]
    )
    assert code == cli.OK
    return {name: json.loads((out / name / "result.json").read_text(encoding="utf-8")) for name in names}


def rows_of(result: Graded) -> dict[str, Any]:
    return {row["id"]: row for row in result["rows"]}


def account(row: dict[str, Any]) -> str:
    """A row as a failed test shows it."""
    checks = "\n".join(
        f"  {check['id']}: {check['verdict']} {check['points']}/{check['max']} {check['message']}"
        for check in row["checks"]
    )
    found = row["diagnosis"]["id"] if row["diagnosis"] else None
    return (
        f"{row['id']}: {row['verdict']} {row['points']}/{row['max']}, diagnosis {found}, remarks {row['remarks']}\n"
        f"{row['message']}\n{checks}"
    )


def assert_only_this_row_suffers(case: Case, result: Graded) -> None:
    """The case's row has its verdict, points and first diagnosis; every other code row has full points."""
    rows = rows_of(result)
    for row_id in CODE_ROWS:
        row = rows[row_id]
        if row_id == case.row:
            found = row["diagnosis"]["id"] if row["diagnosis"] else None
            due = (case.verdict.value, case.points, case.diagnosis)
            assert (row["verdict"], row["points"], found) == due, f"due: {due}\n{account(row)}"
        else:
            assert (row["verdict"], row["points"]) == ("passed", row["max"]), account(row)
