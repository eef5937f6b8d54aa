"""Judges what the submitted Task 1 code learns when it is trained as the notebook trains it.

5,000 steps on the Swiss roll; the loss curve and the Chamfer distance of samples each decide half of the points.
Training and sampling run in different processes: the one that draws the points never saw the data.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grader.judging.bench import Bench, Judgement, Observation
from grader.judging.comparison import Array
from grader.judging.findings import answered, asked, judged, unanswered
from grader.lab.figures import draw_loss_curve, draw_samples
from grader.lab.settings import NOTEBOOK
from grader.lab.swiss_roll import chamfer_distance, nearest, swiss_roll
from grader.records import Check, Finding, Verdict
from grader.sandbox import Answer, ProbeFailure

TRAINING: dict[str, Any] = NOTEBOOK | {"dim_hids": [128, 128, 128], "steps": 5000, "batch": 128, "lr": 1e-3}
DATA_POINTS, EVALUATED = 10_000, 2048
TAIL = 500  # steps that the end of the loss curve is averaged over
LOSS = "L_simple   (DDPM Eq. 14)"
CHAMFER = "Chamfer distance: squared nearest distances, both ways, summed over 2,048 points"


@dataclass
class TrainingObservation(Observation):
    """The loss of every step, the points drawn afterwards, the target, and the two numbers that are judged."""

    target: NDArray[np.float32]
    loss_range: tuple[float, float]  # where the loss may end
    losses: Array = field(default_factory=lambda: np.empty(0))
    points: NDArray[np.generic] | None = None
    end: float = float("nan")  # of the loss, smoothed
    chamfer: float = float("nan")
    target_variance: float = float("nan")

    def draw(self, folder: Path) -> list[str]:
        drawn = []
        if len(self.losses):
            draw_loss_curve(self.losses, self.loss_range, folder / "loss_curve.png")
            drawn.append("loss_curve.png")
        if self.points is not None:
            draw_samples(self.points, self.target, folder / "samples.png")
            drawn.append("samples.png")
        return drawn


def judge(bench: Bench) -> Judgement:
    """Checks loss_curve and evaluation."""
    limits = bench.policy.training
    seen = TrainingObservation(swiss_roll(DATA_POINTS, bench.rng), bench.policy.training.loss_range)
    seen.target_variance = float(seen.target.var())
    seconds = limits.seconds
    training = asked(lambda: bench.ask("train", TRAINING | {"seed": bench.seed()}, {"x0": seen.target}, seconds))
    checks = [judged("loss_curve", 5.0, lambda: _loss_curve(answered(training), seen, limits.loss_range))]
    if isinstance(training, ProbeFailure):
        return Judgement([*checks, unanswered("evaluation", 5.0, training)], [seen])
    bench.renew()
    weights = {name: value for name, value in training.arrays.items() if name.startswith("weight.")}
    how = TRAINING | {"seed": bench.seed(), "points": EVALUATED}
    sampling = asked(lambda: bench.ask("sample", how, weights, seconds))
    if isinstance(sampling, ProbeFailure):
        return Judgement([*checks, unanswered("evaluation", 5.0, sampling)], [seen])
    return Judgement([*checks, _evaluation(sampling, seen, bench, limits.chamfer_full, limits.chamfer_part)], [seen])


def _loss_curve(answer: Answer, seen: TrainingObservation, allowed: tuple[float, float]) -> Finding | None:
    losses = answer.arrays.get("losses")
    checked = f"the loss over {TRAINING['steps']:,} steps on the Swiss roll"
    if losses is None or losses.shape != (TRAINING["steps"],):
        return Finding(checked, "one loss a step", "something else", "compute_loss", LOSS)
    seen.losses = losses.astype(float)
    if not np.isfinite(seen.losses).all():
        step = int(np.flatnonzero(~np.isfinite(seen.losses))[0])
        return Finding(checked, "finite numbers", f"NaN or infinity from step {step} on", "compute_loss", LOSS)
    start, seen.end = float(seen.losses[:50].mean()), float(seen.losses[-TAIL:].mean())
    low, high = allowed
    expected = f"a curve that falls, and ends between {low:g} and {high:g} in the mean of the last {TAIL} steps"
    got = f"from {start:.3f} (first 50 steps) to {seen.end:.3f}"
    if seen.end < start and low <= seen.end <= high:
        return None
    return Finding(checked, expected, got, "compute_loss and SimpleNet", LOSS)


def _evaluation(answer: Answer, seen: TrainingObservation, bench: Bench, full: float, part: float) -> Check:
    """Chamfer distance to fresh points of the roll: 5 points below `full`, 2.5 below `part`."""
    points = answer.arrays.get("points")
    checked = f"{EVALUATED:,} points drawn by p_sample_loop after training"
    if points is None or points.shape != (EVALUATED, 2):
        shape = None if points is None else points.shape
        expected = f"shape ({EVALUATED}, 2)"
        return Check.of("evaluation", 5.0, Finding(checked, expected, f"shape {shape}", "p_sample_loop", CHAMFER))
    seen.points = points
    if np.isfinite(points).all() and (nearest(points.astype(float), seen.target.astype(float)) < 1e-10).mean() > 0.01:
        return Check(
            "evaluation",
            Verdict.NEEDS_REVIEW,
            0.0,
            5.0,
            "the drawn points repeat points of the training data: a person has to look at the code",
        )
    seen.chamfer = chamfer_distance(points.astype(float), swiss_roll(EVALUATED, bench.rng).astype(float))
    if seen.chamfer < full:
        return Check("evaluation", Verdict.PASSED, 5.0, 5.0)
    finding = Finding(
        checked,
        f"a Chamfer distance below {full:g} (below {part:g} for half of the points)",
        f"{seen.chamfer:.1f}",
        "p_sample_loop, p_sample and SimpleNet",
        CHAMFER,
    )
    return Check.of("evaluation", 5.0, finding, 2.5 if seen.chamfer < part else 0.0)
