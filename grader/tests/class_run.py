"""Whole gradings of made-up submissions through the real command line and sandbox, and packs of mistakes for them.

The rows of a submission are judged apart from each other, so that one submission can hold a mistake for each row.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from grader import cli
from grader.judging.made_up import Case, combined
from grader.lab import LAB
from grader.lab.catalogue import mistakes
from grader.labs import RowKind
from grader.submission.todo import blocks
from grader.tools.builder import write

CODE_ROWS = tuple(row.id for row in LAB.rubric if row.is_code)
JUDGED = tuple(row.id for row in LAB.rubric if row.kind in (RowKind.CODE, RowKind.COMPANION))
Graded = dict[str, Any]  # a result.json


# --- gradings


def grade(paths: Iterable[Path | str], out: Path, *options: str, seed: int = 0, jobs: int = 2) -> int:
    """The exit code of one run over some submissions, without training."""
    command = ["grade", *map(str, paths), "--out", str(out), "--no-training", "--seed", str(seed), "--jobs", str(jobs)]
    return cli.main([*command, *options])


def results(out: Path) -> dict[str, Graded]:
    """{name: result.json} of a run."""
    return {path.parent.name: json.loads(path.read_text(encoding="utf-8")) for path in out.glob("*/result.json")}


def rows_of(result: Graded) -> dict[str, Any]:
    return {row["id"]: row for row in result["rows"]}


def graded_rows(case: Case, root: Path, *options: str, seed: int = 0) -> dict[str, Any]:
    """{row: its record} of a submission that is graded alone."""
    assert grade([write(case, root / "in")], root / "out", *options, seed=seed) == cli.OK
    return rows_of(results(root / "out")[case.name])


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


def assert_outcomes(rows: dict[str, Any], pack: Iterable[Case] = ()) -> None:
    """Each case's row has its verdict, points and first diagnosis; every other row that is judged has full points."""
    due = {row_id: ("passed", LAB.row(row_id).points, None) for row_id in JUDGED}
    due |= {case.row: (case.verdict.value, case.points, case.diagnosis) for case in pack if case.row}
    found = {
        row_id: (rows[row_id]["verdict"], rows[row_id]["points"], (rows[row_id]["diagnosis"] or {}).get("id"))
        for row_id in JUDGED
    }
    wrong = [f"due: {due[row_id]}\n{account(rows[row_id])}" for row_id in JUDGED if found[row_id] != due[row_id]]
    assert not wrong, "\n\n".join(wrong)


# --- packs


@cache
def packs() -> tuple[tuple[Case, ...], ...]:
    """Every mistake of the catalogue, at most one for each row in a pack, edits outside of TODO blocks last."""
    found: list[list[Case]] = []
    for case in sorted((*mistakes(), *mistakes(RowKind.COMPANION)), key=edits):
        for pack in found:
            apart = all(case.row != other.row and not calls(case, other) and not calls(other, case) for other in pack)
            if apart and fit([*pack, case]):
                pack.append(case)
                break
        else:
            found.append([case])
    return tuple(map(tuple, found))


STOOD_IN = "p_sample"  # whoever calls this one meets a stand-in
ON_STAND_INS = re.compile(r"\w+\.(compute_loss|loss_\w+)")  # rows that meet stand-ins for whatever they call


def calls(case: Case, other: Case) -> bool:
    """Whether a case calls the method that is wrong in another one: its row would then tell of both mistakes."""
    name = (other.row or "").partition(".")[2]
    if name == STOOD_IN or ON_STAND_INS.fullmatch(case.row or ""):
        return False
    return any(re.search(rf"\.{name}\(", text) for text in case.bodies.values())


def edits(case: Case) -> bool:
    """Whether a case changes more than the bodies of its TODO blocks."""
    return bool(case.replace or case.files)


def fit(pack: list[Case]) -> bool:
    """Whether one submission can hold all of a pack, each TODO block as it is where its case is alone."""
    if not any(may_meet(case, other) for case in pack for other in pack if case is not other):
        return True
    try:
        together = blocks_of(combined("together", pack))
    except ValueError:  # a text that is to be replaced is gone
        return False
    due = blocks_of(combined("bodies", [case for case in pack if not edits(case)]))
    for case in filter(edits, pack):
        due |= {name: text for name, text in blocks_of(case).items() if text != solved()[name]}
    return together == due


def may_meet(case: Case, other: Case) -> bool:
    """Whether what a case replaces stands in the text of another one, or in a TODO block that this one fills."""
    theirs = [*other.bodies.values(), *(solved()[name] for name in other.bodies)]
    theirs += [text for pairs in other.replace.values() for pair in pairs for text in pair]
    return bool(case.files) or any(
        old in text for pairs in case.replace.values() for old, _ in pairs for text in theirs
    )


@cache
def solved() -> dict[str, str]:
    return blocks_of(Case("solved"))


def blocks_of(case: Case) -> dict[str, str]:
    """{name of a TODO block: its text} in a submission."""
    with tempfile.TemporaryDirectory() as scratch:
        files = sorted(write(case, Path(scratch)).rglob("*.py"))
        return {block.name: block.text for file in files for block in blocks(file.read_text(encoding="utf-8"))}
