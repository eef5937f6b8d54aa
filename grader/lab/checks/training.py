"""Judges what the submitted Task 1 code achieves when it is run as the notebook runs it.

`task1.fig_q_sample`: the strip of q(x_t), its moments against the closed form, a point for each of its ten panels.
`task1.training`: 5,000 steps on the Swiss roll, the loss curve (5 points) and the Chamfer distance (5 points).
Training and sampling run in different processes: the one that draws the points never saw the data.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grader.judging.bench import Bench, Judgement, Observation
from grader.judging.comparison import Array, Arrays
from grader.judging.findings import answered, asked, judged, unanswered
from grader.lab.figures import draw_forward_strip, draw_loss_curve, draw_samples
from grader.lab.reference import Schedule
from grader.lab.swiss_roll import chamfer_distance, nearest, swiss_roll
from grader.records import Check, Finding, Verdict
from grader.sandbox import Answer, ProbeFailure

FULL: dict[str, Any] = {"T": 1000, "beta_1": 1e-4, "beta_T": 0.02, "mode": "linear"}
STEPS = range(0, 500, 50)
STRIP_POINTS = 2000
TRAINING: dict[str, Any] = FULL | {"dim_hids": [128, 128, 128], "steps": 5000, "batch": 128, "lr": 1e-3}
DATA_POINTS, EVALUATED = 10_000, 2048
TAIL = 500  # steps that the end of the loss curve is averaged over
CLOSED_FORM = "x_t = √ᾱ_t x_0 + √(1 − ᾱ_t) ε   (DDPM Eq. 4)"
LOSS = "L_simple   (DDPM Eq. 14)"
CHAMFER = "Chamfer distance: squared nearest distances, both ways, summed over 2,048 points"


@dataclass
class StripObservation(Observation):
    """Points (N, 2) of each panel by t, as they came back."""

    panels: dict[int, NDArray[np.generic]] = field(default_factory=dict)

    def draw(self, folder: Path) -> list[str]:
        if not self.panels:
            return []
        draw_forward_strip(self.panels, folder / "q_sample.png")
        return ["q_sample.png"]


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


def judge_strip(bench: Bench) -> Judgement:
    """Checks t0, t50, ..., t450."""
    x0 = swiss_roll(STRIP_POINTS, bench.rng)
    schedule, seen = Schedule.linear(FULL["T"], FULL["beta_1"], FULL["beta_T"]), StripObservation()
    network: Arrays = {
        "weight": np.eye(2, dtype=np.float32),
        "slope": np.zeros(2, np.float32),
        "bias": np.zeros(2, np.float32),
    }
    checks = []
    for t in STEPS:
        arrays = network | {"x0": x0, "t": np.full(STRIP_POINTS, t)}
        answer = asked(lambda arrays=arrays: bench.ask("q_sample", FULL | {"seed": bench.seed()}, arrays))  # type: ignore[misc]
        if isinstance(answer, Answer):
            seen.panels[t] = answer.arrays["xt"]
        checks.append(judged(f"t{t}", 1.0, lambda a=answer, t=t: _panel(answered(a).arrays["xt"], x0, schedule, t)))  # type: ignore[misc]
    return Judgement(checks, [seen])


def _panel(xt: NDArray[np.generic], x0: NDArray[np.float32], s: Schedule, t: int) -> Finding | None:
    """What is left of x_t without its share of x_0: moments of the noise, to six standard errors, and no x_0."""
    checked = f"the panel t = {t} of the strip: {STRIP_POINTS} points of the Swiss roll"
    if xt.shape != x0.shape or not np.isfinite(xt).all():
        return Finding(checked, f"finite points of shape {x0.shape}", f"shape {xt.shape} or not finite", "q_sample")
    points, data = xt.astype(float), x0.astype(float)
    noise, wanted = points - np.sqrt(s.ab[t]) * data, float(np.sqrt(1.0 - s.ab[t]))
    error = wanted / np.sqrt(noise.size)
    leftover = float((noise * data).sum() / (data**2).sum())  # of x_0, beyond its coefficient
    if (
        abs(noise.mean()) <= 6.0 * error
        and abs(noise.std() - wanted) <= 6.0 * error / np.sqrt(2.0) + 1e-5
        and abs(leftover) <= 6.0 * error / data.std() + 1e-5
    ):
        return None
    text = "{:.4f} x_0 plus noise of mean {:.4f} and standard deviation {:.4f}"
    keep = float(np.sqrt(s.ab[t]))
    rest = noise - leftover * data
    return Finding(
        checked,
        text.format(keep, 0.0, wanted),
        text.format(keep + leftover, rest.mean(), rest.std()),
        f"q_sample, t = {t}",
        CLOSED_FORM,
    )


def judge_training(bench: Bench) -> Judgement:
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
        return Check(
            "evaluation",
            Verdict.FAILED,
            0.0,
            5.0,
            str(Finding(checked, f"shape ({EVALUATED}, 2)", f"shape {shape}", "p_sample_loop", CHAMFER)),
        )
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
    message = str(
        Finding(
            checked,
            f"a Chamfer distance below {full:g} (below {part:g} for half of the points)",
            f"{seen.chamfer:.1f}",
            "p_sample_loop, p_sample and SimpleNet",
            CHAMFER,
        )
    )
    if seen.chamfer < part:
        return Check("evaluation", Verdict.PARTIAL, 2.5, 5.0, message)
    return Check("evaluation", Verdict.FAILED, 0.0, 5.0, message)
