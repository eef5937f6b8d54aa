"""Judges `forward_step`, one step of q(x_t | x_{t-1}): x_t = a_t x_{t-1} + b_t z.

Called twice under the same seed, on points and on zeros, it shows a_t x and b_t z apart.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from grader.judging.bench import Bench, Judgement, Observation
from grader.judging.border import Answer, Expects, Tensor
from grader.judging.comparison import Array, off, take
from grader.judging.draws import OddDraws, odd_draws
from grader.judging.fits import fit
from grader.lab import reference
from grader.lab.reference import Schedule
from grader.lab.settings import SHORT
from grader.lab.shared.companions import inputs_kept, judge_companion
from grader.lab.shared.reverse import StepSaid
from grader.lab.shared.stand_in import draw_network
from grader.records import Finding

T = SHORT["T"]
FORWARD = "x_t = √(1 − β_t) x_{t−1} + √β_t z   (DDPM Eq. 2)"
FORMS = ("int", "[1]", "[B]", "0-d")
POINTS, IMAGES = (8192, 2), (4, 1, 32, 32)
EXACT = 1e-3  # relative slack of b where z is known
SPREAD = 6.0 / np.sqrt(2.0 * np.prod(POINTS))  # elsewhere: six standard errors of an estimated spread
NO_NOISE = 1e-4
wrong = partial(Finding, where="forward_step", equation=FORWARD)


@dataclass
class ChainObservation(Observation):
    """Coefficients of the forward step at each t, (T,), and what its noise and its inputs looked like."""

    schedule: Schedule
    a: Array = field(default_factory=lambda: np.full(T, np.nan))
    b: Array = field(default_factory=lambda: np.full(T, np.nan))
    slack: float = EXACT  # of b, relative
    residual: float = np.inf  # largest part that a_t x_{t-1} does not explain
    odd: OddDraws | None = None  # what is wrong with z
    repeated: bool = False  # the same z at every call
    changed: tuple[str, ...] = ()

    @property
    def noiseless(self) -> bool:
        return bool(np.nan_to_num(self.b).max() <= NO_NOISE)


def judge(bench: Bench) -> Judgement:
    """Checks one_step, fresh_noise, images, inputs_kept."""
    seen = ChainObservation(Schedule.linear(T, SHORT["beta_1"], SHORT["beta_T"]))
    points, rejected = bench.uniform(-2.0, 2.0, *POINTS), []

    def ask() -> Answer:
        answer = _ask(bench, points)
        rejected.extend(answer.said.rejected)
        _observe(answer, points, seen)
        return answer

    checks = {
        "one_step": lambda answer: _one_step(answer, seen),
        "fresh_noise": lambda answer: _fresh_noise(seen),
        "images": lambda answer: _on_images(bench, seen),
        "inputs_kept": lambda answer: inputs_kept("forward_step", seen.changed),
    }
    judgement = judge_companion(ask, seen, checks)
    if rejected:
        judgement.remarks.append(f"forward_step does not accept every form of t ({'; '.join(rejected)})")
    return judgement


def _ask(bench: Bench, x: NDArray[np.float32]) -> Answer:
    params = SHORT | {"ts": list(range(T)), "seeds": [bench.seed(), bench.seed()], "forms": list(FORMS)}
    names = [f"{name}.{t}" for t in range(T) for name in ("of_x", "x_after", "of_zeros", "again")]
    expects = Expects.alike([*names, "draw"], Tensor(x.shape), StepSaid)
    return bench.ask("forward_step", params, {"x": x} | draw_network(bench, 2), expects=expects)


def _observe(answer: Answer, x: NDArray[np.float32], seen: ChainObservation) -> None:
    """Fit of_x - of_zeros = a_t x; of_zeros is b_t z, whose z is known where one randn_like drew it."""
    residual = 0.0
    for t in range(T):
        of_x, of_zeros, again = (take(answer, f"{name}.{t}", x.shape, "")[0] for name in ("of_x", "of_zeros", "again"))
        if of_x is None or of_zeros is None:
            return
        of_input, of_draw = fit(of_x - of_zeros, x.astype(float)), fit(of_zeros, answer.arrays["draw"])
        seen.a[t], scale = of_input.coefficients[0], abs(of_draw.coefficients[0])
        residual = max(residual, of_input.residual)
        known = of_draw.residual < 1e-4 * scale + 1e-5
        seen.b[t] = scale if known else float(of_zeros.std())
        seen.slack = seen.slack if known else SPREAD
        if seen.b[t] > NO_NOISE:
            seen.odd = seen.odd or odd_draws(of_zeros / of_zeros.std())
            seen.repeated |= again is not None and np.array_equal(again, of_zeros)
        if not np.array_equal(answer.arrays.get(f"x_after.{t}", np.empty(0)), x):
            seen.changed = ("x_prev",)
    seen.residual = residual


def _one_step(answer: Answer, seen: ChainObservation) -> Finding | None:
    checked = f"x_t from x_{{t−1}} of shape {POINTS} at every t of T = {T}"
    for t in range(T):
        malformed = take(answer, f"of_x.{t}", POINTS, f"{checked}, here t = {t}")[1]
        if malformed:
            return malformed
    step = partial(wrong, checked, where=f"forward_step, t given as {answer.said.form}")
    if seen.residual > 1e-3:
        return step("a_t x_{t−1} plus noise", f"up to {seen.residual:.3g} is left over")
    a, b = reference.forward_step_tables(seen.schedule)
    for t in range(T):
        pairs = (("a_t", seen.a[t], a[t], 0.0), ("b_t", seen.b[t], b[t], seen.slack * b[t]))
        parts = [
            f"{name} = {got:.5f} instead of {due:.5f}"
            for name, got, due, slack in pairs
            if abs(got - due) > max(1e-4, slack)
        ]
        if parts:
            got = f"x_t = a_t x_{{t−1}} + b_t z with {', '.join(parts)}, first at t = {t}"
            return step("one step of q(x_t | x_{t−1})", got)
    return None


def _fresh_noise(seen: ChainObservation) -> Finding | None:
    checked = "the noise that forward_step draws"
    if seen.noiseless:
        return wrong(checked, "fresh draws from N(0, I) in every step", "no noise")
    odd = seen.odd or ("the same noise is drawn again at every call" if seen.repeated else None)
    return wrong(checked, "fresh, independent draws from N(0, 1) for every number", str(odd)) if odd else None


def _on_images(bench: Bench, seen: ChainObservation) -> Finding | None:
    """On images the coefficients have to be those of the points, which have a check of their own."""
    images = bench.uniform(-1.0, 1.0, *IMAGES)
    answer = _ask(bench, images)
    for t in (0, T - 1):
        checked = f"forward_step at t = {t} on images"
        of_x, malformed = take(answer, f"of_x.{t}", IMAGES, checked)
        of_zeros, also = take(answer, f"of_zeros.{t}", IMAGES, checked)
        if of_x is None or of_zeros is None:
            return malformed or also
        differs = off(of_x - of_zeros, seen.a[t] * images.astype(float))
        if differs and np.isfinite(seen.a[t]):
            return wrong(f"{checked} of shape {IMAGES}", "the step that points take", differs)
    return None
