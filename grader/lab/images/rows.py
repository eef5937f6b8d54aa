"""Judges the rows that a person decides about: draws the figures, checks what can be checked, suggests points.

`task2.fig_schedules`, `task2.fig_predictors`: from the results folders; the judgement stays a person's.
`task2.fid`: the number, with how far it can be trusted. Handed-in images are anybody's, so their points are
suggested; images that the grader drew itself earn them, unless there is a doubt about the images or the number.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

from grader.fid.images import EXTENSIONS, NotMeasurable
from grader.fid.measure import measure
from grader.fid.record import FidReport, Severity, Trust
from grader.files import is_plain
from grader.lab import LAB
from grader.lab.figures import draw_loss_curve, draw_picture_rows
from grader.lab.images.drawing import Machine, NotDrawn, draw_from_checkpoint, retrain
from grader.lab.images.request import Request
from grader.lab.images.results import MODES, PREDICTORS, Incomplete, Run, find_images, find_runs, read_image, read_json
from grader.lab.reference import Schedule
from grader.labs import RubricRow
from grader.records import Check, Row, Verdict
from grader.running.evidence import Evidence
from grader.running.report_pages import Pages
from grader.running.turns import alone
from grader.sandbox import ProbeFailure, Sandbox
from grader.text import number

SHOWN = 24  # drawn images in the figure beside an FID
BETAS_RTOL = 1e-3
DEFAULT = {
    "predictor": "noise",
    "scheduler": {"num_train_timesteps": 1000, "beta_1": 1e-4, "beta_T": 0.02, "mode": "linear"},
    "network": {
        "image_resolution": 64,
        "ch": 128,
        "ch_mult": [1, 2, 2, 2],
        "attn": [1],
        "num_res_blocks": 4,
        "dropout": 0.1,
    },
}


class Level(StrEnum):
    """How far the grader goes for an FID."""

    IMAGES = "images"  # the images that were handed in: suggested points only
    SAMPLE = "sample"  # images that it draws from the handed-in checkpoint
    RETRAIN = "retrain"  # images of a model that it trains itself


@dataclass
class Findings:
    """Everything that these rows are judged by, of one submission; kept from one row to the next."""

    machine: Machine
    level: Level
    budget_s: float
    seed: int
    data: Path
    artifacts: Path | None
    code: Path | None  # the submitted image half
    pages: Pages
    runs: list[Run] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    read: bool = False

    @classmethod
    def of(cls, evidence: Evidence) -> Findings:
        order = evidence.order
        asked = order.extra or Request()
        machine = Machine(order.sandbox, order.gpu, order.policy)
        level, code = Level(asked.fid), evidence.code.get("task2")
        artifacts = evidence.artifacts if evidence.has_artifacts else None
        return cls(machine, level, asked.budget_s, evidence.seed, asked.data, artifacts, code, evidence.pages)

    def results(self) -> list[Run]:
        """The sound results folders, found and held against their checkpoints once."""
        if not self.read and self.artifacts is not None:
            runs, self.remarks = find_runs(self.artifacts)
            self.runs = _sound(runs, self.machine, self.remarks)
        self.read = True
        return self.runs


def judge_evidence(row: RubricRow, evidence: Evidence) -> Row:
    """The row, with its figures written to the evidence's folder."""
    found = evidence.notes.setdefault("images", Findings.of(evidence))
    if evidence.artifacts is None and found.level is not Level.RETRAIN:
        return evidence.for_a_person(row)
    if not evidence.has_artifacts:
        if row.id == "task2.fid" and found.level is Level.RETRAIN:
            return _judge_fid(row, found, evidence.folder)
        text = f"a person judges this row: {evidence.pages.where(row)}; --artifacts has no folder of this id"
        return _for_a_person(row, text)
    if row.id == "task2.fid":
        return _judge_fid(row, found, evidence.folder)
    kind, wanted = ("mode", MODES) if row.id == "task2.fig_schedules" else ("predictor", PREDICTORS)
    return _judge_figure(row, found, kind, wanted, evidence.folder)


def _for_a_person(row: RubricRow, message: str, **rest: Any) -> Row:
    return Row(row.id, row.points, Verdict.NEEDS_REVIEW, message=message, **rest)


# --- figures


def _judge_figure(row: RubricRow, evidence: Findings, kind: str, wanted: tuple[str, ...], folder: Path) -> Row:
    """The figure of one run for each wanted schedule or predictor: a share of the points is suggested for each."""
    found = {value: run for value in wanted if (run := _latest(evidence.results(), kind, value))}
    missing = [value for value in wanted if value not in found]
    suggested = round(2 * row.points * len(found) / len(wanted)) / 2
    message = f"a person judges this row: {evidence.pages.where(row)}"
    if missing:
        flag = "--mode" if kind == "mode" else "--predictor"
        message += f"; no complete results of {', '.join(f'train.py {flag} {value}' for value in missing)}"
    graded = _for_a_person(row, message, suggested=suggested, remarks=evidence.remarks[:20])
    if found:
        name = f"{row.id.split('.')[1].removeprefix('fig_')}.png"
        titles = [
            f"{run.mode} schedule, {run.predictor} predictor: {run.step:,} steps, T = {run.T}" for run in found.values()
        ]
        if kind == "mode":
            pictures = [run.strip()[: 2 * (run.size + 2) - 2] for run in found.values()]
        else:
            pictures = [
                np.concatenate(
                    [np.pad(sample, ((0, 0), (0, 2), (0, 0)), constant_values=255) for sample in run.samples()], axis=1
                )
                for run in found.values()
            ]
        draw_picture_rows(pictures, titles, folder / name)
        graded.evidence.append(name)
    return graded


def _latest(runs: list[Run], kind: str, value: str) -> Run | None:
    """The last run of a schedule (with the noise predictor, if there is one) or of a predictor (linear)."""
    fitting = [run for run in runs if getattr(run, kind) == value]
    usual = [run for run in fitting if (run.predictor == "noise" if kind == "mode" else run.mode == "linear")]
    return next(reversed(usual or fitting), None)


def _sound(runs: list[Run], machine: Machine, remarks: list[str]) -> list[Run]:
    """Runs whose checkpoint can be read, agrees with config.json, and is no other run's."""
    if not runs:
        return []
    sound, seen = [], dict[str, str]()
    with tempfile.TemporaryDirectory(prefix="ddpm-grader-") as scratch:
        for number, run in enumerate(runs):  # the student's folder itself may hold anything, such as links
            _link(run.checkpoint, Path(scratch, "results", f"{number}.ckpt"))
        with Sandbox(
            Path(scratch),
            {"results": "results"},
            machine.limits(machine.policy.image_runs.sampling_s),
            LAB.material,
            machine.kind,
        ) as sandbox:
            for number, run in enumerate(runs):
                problem = _disagreement(run, sandbox, f"{number}.ckpt", seen)
                if problem:
                    remarks.append(f"{run.name}: {problem}")
                else:
                    sound.append(run)
    return sound


def _link(source: Path, target: Path) -> None:
    """The file under another name; a copy only where the two are on different disks."""
    target.parent.mkdir(exist_ok=True)
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copyfile(source, target, follow_symlinks=False)


def _disagreement(run: Run, sandbox: Sandbox, checkpoint: str, seen: dict[str, str]) -> str:
    """What is wrong with the checkpoint of a results folder, or nothing. `seen`: digests of weights -> run."""
    try:
        answer = sandbox.call("results", "read_checkpoint", {"path": checkpoint}, timeout_s=300)
    except ProbeFailure as failure:
        return f"last.ckpt could not be read: {failure.verdict}: {failure.message}"
    about = answer.data
    if about.get("problem"):
        return f"last.ckpt {about['problem']}"
    config = about.get("config")
    if not isinstance(config, dict) or any(
        config.get(part) != run.config.get(part) for part in ("predictor", "scheduler", "network")
    ):
        return "config.json and last.ckpt are of different runs: their predictor, schedule or network differ"
    if about.get("finite") is not True:
        return "last.ckpt holds weights that are not finite: the training has diverged"
    if about.get("step") != run.step:
        return f"last.ckpt is of step {about.get('step')}, the samples are of step {run.step}: train.py --resume"
    if (twin := seen.setdefault(str(about.get("weights")), run.name)) != run.name:
        return f"last.ckpt holds the same weights as that of {twin}"
    return _other_schedule(run, answer.arrays.get("betas"))


def _other_schedule(run: Run, betas: Any) -> str:
    """A checkpoint of one schedule that says it is of another; the clip of a cosine schedule is the lab's affair."""
    scheduler = run.config["scheduler"]
    try:
        args = run.T, float(scheduler["beta_1"]), float(scheduler["beta_T"])
        table = Schedule.cosine(run.T) if run.mode == "cosine" else getattr(Schedule, run.mode)(*args)
    except (KeyError, TypeError, ValueError, ArithmeticError):
        return "config.json lacks the schedule's settings"
    if betas is None or not betas.size:
        return ""
    until = run.T - 1 if run.mode == "cosine" else run.T
    if betas.shape != (run.T,) or not np.allclose(betas[:until], table.betas[:until], rtol=BETAS_RTOL, atol=1e-7):
        return f"the betas in last.ckpt are not those of the {run.mode} schedule"
    return ""


# --- FID


def _judge_fid(row: RubricRow, evidence: Findings, folder: Path) -> Row:
    """The measured row; where there is no number, a person decides, and the message says why there is none."""
    with tempfile.TemporaryDirectory(prefix="ddpm-grader-") as scratch, alone():
        Path(scratch).chmod(0o755)
        try:
            images, trust, origin, figures = _images(evidence, Path(scratch), folder)
            report = _measured(images, trust, evidence)
        except (NotDrawn, NotMeasurable, Incomplete) as error:
            return _for_a_person(row, f"no FID was measured: {error}; {evidence.pages.where(row)}")
        figures.append(_contact_sheet(images, folder))
    (folder / "fid.json").write_text(json.dumps(report.to_dict() | {"origin": origin}, indent=1), encoding="utf-8")
    return _row_of(row, report, origin, figures, evidence)


def _images(evidence: Findings, scratch: Path, folder: Path) -> tuple[Path, Trust, str, list[str]]:
    """The images to measure, how far they are to be trusted, where they come from in words, figures drawn."""
    if evidence.level is Level.IMAGES:
        return _handed_in(evidence), Trust.UNVERIFIED, "images that were handed in", []
    if evidence.code is None:
        raise NotDrawn("the image half was not handed in")
    if evidence.level is Level.SAMPLE:
        run = _chosen(evidence)
        drawn = draw_from_checkpoint(evidence.machine, evidence.code, run.checkpoint, evidence.seed, scratch)
        return drawn, Trust.SAMPLED, f"images drawn by the grader from {run.name}/last.ckpt, {run.step:,} steps", []
    runs = evidence.results()
    config: dict[str, Any] = _chosen(evidence).config if runs else DEFAULT
    drawn, losses = retrain(
        evidence.machine, evidence.code, config, evidence.data, evidence.budget_s, evidence.seed, scratch
    )
    origin = f"images of a model that the grader trained for {evidence.budget_s / 60:g} minutes, {len(losses):,} steps"
    if not len(losses):
        return drawn, Trust.RETRAINED, origin, []
    draw_loss_curve(losses, (0.0, float(losses[-500:].mean())), folder / "retrained_loss.png")
    return drawn, Trust.RETRAINED, origin, ["retrained_loss.png"]


def _handed_in(evidence: Findings) -> Path:
    images = find_images(evidence.artifacts) if evidence.artifacts else None
    if images is None:
        raise NotDrawn("the artifacts hold no folder of drawn images (sampling.py --save_dir writes one)")
    return images


def _chosen(evidence: Findings) -> Run:
    """The run that the handed-in images say they are from, else the one of the most steps."""
    runs = evidence.results()
    if not runs:
        told = f" ({'; '.join(evidence.remarks[:3])})" if evidence.remarks else ""
        raise NotDrawn(f"the artifacts hold no complete results folder with a checkpoint{told}")
    images = find_images(evidence.artifacts) if evidence.artifacts else None
    said = _digest_said(images / "sampling.json") if images else ""
    return next((run for run in runs if said and _sha256(run.checkpoint) == said), max(runs, key=lambda run: run.step))


def _digest_said(path: Path) -> str:
    try:
        return str(read_json(path)["checkpoint"])[:100]
    except (Incomplete, KeyError, TypeError):
        return ""


def _sha256(path: Path) -> str:
    from grader.fid.weights import sha256

    return sha256(path)


def _measured(images: Path, trust: Trust, evidence: Findings) -> FidReport:
    training = evidence.data / "train"
    device = "cuda" if evidence.machine.gpu else "cpu"
    return measure(
        images,
        evidence.data / "eval",
        None,
        evidence.machine.policy.fid,
        device=device,
        trust=trust,
        training=training if training.is_dir() else None,
        strangers=evidence.level is Level.IMAGES,
    )


def _contact_sheet(images: Path, folder: Path) -> str:
    files = sorted(path for path in images.iterdir() if path.suffix.lower() in EXTENSIONS and is_plain(path))
    every = max(1, len(files) // SHOWN)
    shown = [read_image(path) for path in files[::every][:SHOWN]]
    side = min(len(shown), 8)
    shown = [image for image in shown if image.shape == shown[0].shape]
    rows = [
        np.concatenate(
            [np.pad(image, ((0, 2), (0, 2), (0, 0)), constant_values=255) for image in shown[start : start + side]],
            axis=1,
        )
        for start in range(0, len(shown) - side + 1, side)
    ]
    draw_picture_rows([np.concatenate(rows)], [f"{len(shown)} of {len(files)} images"], folder / "fid.png")
    return "fid.png"


def _row_of(row: RubricRow, report: FidReport, origin: str, figures: list[str], evidence: Findings) -> Row:
    """Points where the images are the grader's own and nothing is in doubt, else a suggestion to a person."""
    points = row.points * report.points / report.max
    low, high = report.interval
    text = (
        f"FID {report.fid:.2f}, {report.confidence:.0%} interval {low:.2f} to {high:.2f}, {origin} "
        f"(trust: {report.trust}); {report.extractor['name']} weights {report.extractor['sha256'][:12]}, "
        f"fingerprint {report.fingerprint}"
    )
    measured = {
        "fid": report.fid,
        "interval": [low, high],
        "kid": report.kid,
        "trust": str(report.trust),
        "fingerprint": report.fingerprint,
    }
    remarks = [f"{flag.severity}: {flag.message}" for flag in report.flags]
    doubts = [flag.message for flag in report.flags if flag.severity is not Severity.NOTE]
    shared = {"evidence": figures, "remarks": remarks, "measured": measured}
    if report.trust is Trust.UNVERIFIED or report.needs_review:
        ways = " or ".join(f"{number(row.points * way.points / report.max)}" for way in report.points_if)
        why = "; ".join(doubts) or "anybody can hand in images: `--fid sample` draws them from the checkpoint"
        return _for_a_person(
            row,
            f"{text}. A person decides between {ways} points: {why}; {evidence.pages.where(row)}",
            suggested=points,
            **shared,
        )
    verdict = Verdict.PASSED if points == row.points else Verdict.PARTIAL if points else Verdict.FAILED
    return Row.from_checks(row.id, row.points, [Check("fid", verdict, points, row.points, text)], **shared)
