"""Judges the strip of q(x_t) that the submitted q_sample draws: each panel's moments against the closed form."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from grader.judging.bench import Bench, Judgement, Observation
from grader.judging.border import Answer
from grader.judging.comparison import Arrays, take
from grader.judging.findings import answered, asked, judged
from grader.lab.figures import draw_forward_strip
from grader.lab.reference import Schedule
from grader.lab.settings import Setting
from grader.lab.shared.forward import forward_answer
from grader.lab.swiss_roll import swiss_roll
from grader.records import Finding
from grader.sandbox import ProbeFailure

PANELS = 10
STRIP_POINTS = 8000
KEPT = (0.13, 0.3)  # alpha-bar of the last panel, 0.13 in the notebook's strip: below x_t is noise whatever made it
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
    """Checks panel.0 to panel.9, from t = 0 on: a point for each."""
    x0 = swiss_roll(STRIP_POINTS, bench.rng)
    setting, seen = Setting.long(bench.rng), StripObservation()
    checks = []
    for panel, t in enumerate(_steps(bench, setting.schedule)):
        inputs: Arrays = {"x0": x0, "t": np.full(STRIP_POINTS, t)}
        params = setting.params | {"seed": bench.seed()}
        answer = asked(partial(bench.ask, "q_sample", params, UNASKED | inputs, expects=forward_answer(inputs)))
        if isinstance(answer, Answer) and "xt" in answer.arrays:
            seen.panels[t] = answer.arrays["xt"]
        checks.append(judged(f"panel.{panel}", 1.0, partial(_panel, answer, x0, setting.schedule, t)))
    return Judgement(checks, [seen])


def _steps(bench: Bench, s: Schedule) -> list[int]:
    """t = 0, and nine at about equal distances, up to where a share of KEPT is left of x_0's variance."""
    last = int(np.searchsorted(-s.ab, -bench.rng.uniform(*KEPT)))
    steps = np.linspace(0, last, PANELS)[1:] - bench.rng.uniform(0.0, 0.3, PANELS - 1) * last / PANELS
    return [0, *steps.astype(int).tolist()]


def _panel(answer: Answer | ProbeFailure, x0: NDArray[np.float32], s: Schedule, t: int) -> Finding | None:
    """What is left of x_t without its share of x_0: moments of the noise, to six standard errors, and no x_0."""
    checked = f"the panel t = {t} of T = {s.T} of the strip: {STRIP_POINTS} points of the Swiss roll"
    points, malformed = take(answered(answer), "xt", x0.shape, checked)
    if points is None:
        return malformed
    data = x0.astype(float)
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
