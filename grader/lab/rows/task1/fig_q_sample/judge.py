"""Judges the strip of q(x_t) that the submitted q_sample draws: each panel's moments against the closed form."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from grader.judging.bench import Bench, Judgement, Observation
from grader.judging.comparison import Arrays
from grader.judging.findings import answered, asked, judged
from grader.lab.figures import draw_forward_strip
from grader.lab.reference import Schedule
from grader.lab.settings import NOTEBOOK
from grader.lab.swiss_roll import swiss_roll
from grader.records import Finding
from grader.sandbox import Answer, ProbeFailure

STEPS = range(0, 500, 50)
STRIP_POINTS = 2000
CLOSED_FORM = "x_t = √ᾱ_t x_0 + √(1 − ᾱ_t) ε   (DDPM Eq. 4)"
# Coefficients of the stand-in network, which q_sample has no use for.
UNASKED: Arrays = {"weight": np.eye(2, dtype=np.float32)} | {
    name: np.zeros(2, np.float32) for name in ("slope", "bias")
}


@dataclass
class StripObservation(Observation):
    """Points (N, 2) of each panel by t, as they came back."""

    panels: dict[int, NDArray[np.generic]] = field(default_factory=dict)

    def draw(self, folder: Path) -> list[str]:
        if not self.panels:
            return []
        draw_forward_strip(self.panels, folder / "q_sample.png")
        return ["q_sample.png"]


def judge(bench: Bench) -> Judgement:
    """Checks t0, t50, ..., t450: a point for each panel."""
    x0 = swiss_roll(STRIP_POINTS, bench.rng)
    schedule, seen = Schedule.linear(NOTEBOOK["T"], NOTEBOOK["beta_1"], NOTEBOOK["beta_T"]), StripObservation()
    checks = []
    for t in STEPS:
        arrays: Arrays = UNASKED | {"x0": x0, "t": np.full(STRIP_POINTS, t)}
        answer = asked(partial(bench.ask, "q_sample", NOTEBOOK | {"seed": bench.seed()}, arrays))
        if isinstance(answer, Answer):
            seen.panels[t] = answer.arrays["xt"]
        checks.append(judged(f"t{t}", 1.0, partial(_panel, answer, x0, schedule, t)))
    return Judgement(checks, [seen])


def _panel(answer: Answer | ProbeFailure, x0: NDArray[np.float32], s: Schedule, t: int) -> Finding | None:
    """What is left of x_t without its share of x_0: moments of the noise, to six standard errors, and no x_0."""
    xt = answered(answer).arrays["xt"]
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
