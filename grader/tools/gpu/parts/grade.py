"""Grades the solved lab with the card and without, and measures the FID of a model that is trained there first."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch

from grader.fid.benchmark import make_images
from grader.fid.weights import seeded_inception
from grader.lab import LAB
from grader.lab.images import rows as image_rows
from grader.lab.images.request import Request
from grader.lab.policy import DdpmPolicy
from grader.labs import RowKind, RubricRow
from grader.records import Result
from grader.running.grading import FAULTS, Order, grade_submission
from grader.sandbox import SandboxKind
from grader.tools.builder import build
from grader.tools.gpu.record import rows
from grader.tools.gpu.session import Session

IMAGES, BUDGET_S = 100, 75.0  # drawn for the FID; of training
TRIAL_ROWS = ("task2.add_noise", "task2.step_noise")
TRIAL_MODEL = {
    "predictor": "noise",
    "scheduler": {"num_train_timesteps": 4, "beta_1": 0.01, "beta_T": 0.3, "mode": "linear"},
    "network": {"image_resolution": 8, "ch": 32, "ch_mult": [1], "attn": [0], "num_res_blocks": 1, "dropout": 0.0},
}


def run(session: Session) -> None:
    session.note(sandbox=session.settings.sandbox)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        solved = build(scratch / "1_lab1", files={"report.pdf": None})
        asked = LAB.select(list(TRIAL_ROWS)) if session.settings.trial else list(LAB.rubric)
        coded = [row for row in asked if row.kind in (RowKind.CODE, RowKind.RUN)]
        with_card = _graded(session, "with", solved, coded, scratch, LAB.policy(), gpu=True)
        without = _graded(session, "without", solved, coded, scratch, LAB.policy(), gpu=False)
        found = {name: (with_card[name], without[name]) for name in without}
        differing = [name for name, (one, other) in found.items() if one != other]
        session.check("verdicts and points are those of the CPU", not differing, ", ".join(differing) or "all")
        passed = sum(verdict == "passed" for verdict, _ in with_card.values())
        session.check("the solved lab passes", passed == len(coded), f"{passed} of {len(coded)} rows")
        _retrained(session, solved, scratch)


def _graded(
    session: Session, name: str, solved: Path, asked: list[RubricRow], scratch: Path, policy: DdpmPolicy, gpu: bool
) -> dict[str, tuple[str, float]]:
    """Verdict and points of each row; the time and what the worker ran on are noted."""
    session.say(f"grading {name} the card")
    order = Order(LAB, 1, policy, tuple(asked), SandboxKind(session.settings.sandbox), gpu)
    result = _result(solved, order, scratch / name)
    about = {"seconds": result.duration_s, "environment": result.environment}
    found = {row.id: (str(row.verdict), row.points) for row in result.rows}
    session.note(**{name: about | {"rows": found}})
    return found


def _result(solved: Path, order: Order, folder: Path) -> Result:
    """The result; a fault of the grader's is an error here. Raises RuntimeError."""
    folder.mkdir()
    result = grade_submission(solved, order, folder)
    if (folder / FAULTS).exists():
        raise RuntimeError((folder / FAULTS).read_text(encoding="utf-8").strip())
    return result


def _retrained(session: Session, solved: Path, scratch: Path) -> None:
    """`--fid retrain` with made-up images in AFHQ's layout; random weights, so that the number itself says nothing."""
    trial = session.settings.trial
    data, weights = scratch / "data", scratch / "inception.pth"
    make_images(data / "eval", 20 if trial else 2 * IMAGES, 1, 1.0)
    make_images(data / "train" / "cat", 20 if trial else 500, 2, 1.0)
    torch.save(seeded_inception(0), weights)
    policy = LAB.policy()
    changed: dict[str, Any] = {"weights": str(weights), "images": IMAGES}
    if trial:
        changed |= {"images": 6, "size": 8, "replicates": 5}
        image_rows.DEFAULT = TRIAL_MODEL
    policy = policy.model_copy(update={"fid": policy.fid.model_copy(update=changed)})
    budget = 2.0 if trial else BUDGET_S
    session.say(f"training for {budget:g} s, and an FID")
    order = Order(
        LAB,
        1,
        policy,
        tuple(row for row in LAB.rubric if row.id == "task2.fid"),
        SandboxKind(session.settings.sandbox),
        gpu=not trial,
        extra=Request(data, "retrain", budget),
    )
    result = _result(solved, order, scratch / "retrained")
    row = result.rows[0]
    text = row.message or row.checks[0].message
    about = {"verdict": str(row.verdict), "measured": row.measured, "seconds": result.duration_s, "text": text}
    session.note(retrain=about)
    session.check("a model was trained and measured", row.measured.get("trust") == "retrained", text)


def table(values: dict[str, Any]) -> list[str]:
    lines = [f"In the sandbox `{values['sandbox']}`.", ""]
    lines += rows(["row", "with the card", "without"])
    for name, found in values["with"]["rows"].items():
        lines += rows([name, _said(found), _said(values.get("without", {}).get("rows", {}).get(name))], head=False)
    seconds = [values.get(name, {}).get("seconds") for name in ("with", "without")]
    lines += rows(["seconds in all", *seconds], head=False)
    retrain = values.get("retrain")
    return [*lines, *(["", f"`--fid retrain`, {retrain['seconds']:.0f} s: {retrain['text']}"] if retrain else [])]


def _said(found: Any) -> str | None:
    return f"{found[0]}, {found[1]:g}" if found else None
