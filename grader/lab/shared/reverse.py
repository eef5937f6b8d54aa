"""Judges one reverse step: p_sample (Task 1) and step_predict_noise / _x0 / _mean (Task 2).

A step is x_{t-1} = a_t x_t + b_t out + sigma_t z with `out` what the network gave. Calling it twice under the same
seed, with inputs and with zeros, cancels z: the difference gives a_t and b_t to rounding. The call on zeros leaves
sigma_t z. Where z is what one randn_like draws under that seed, sigma_t follows to rounding; elsewhere its spread over
a large batch gives sigma_t.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from grader.judging.bench import Bench, Judgement, Observation
from grader.judging.border import Answer, Expects, Line, Said, Tensor
from grader.judging.comparison import Array, Arrays, off, take
from grader.judging.draws import OddDraws, odd_draws
from grader.judging.findings import answered, asked, judged
from grader.judging.fits import fit
from grader.lab import reference
from grader.lab.reference import Schedule, StepTables
from grader.lab.settings import Setting
from grader.records import Finding
from grader.sandbox import ProbeFailure

LABELS = ("t1", "middle", "last")
EQUATIONS = {
    "noise": "μ_θ = 1/√α_t · (x_t − β_t/√(1 − ᾱ_t) · ε_θ)   (DDPM Eq. 11)",
    "x0": "μ̃_t = √ᾱ_{t−1} β_t/(1 − ᾱ_t) · x_0 + √α_t (1 − ᾱ_{t−1})/(1 − ᾱ_t) · x_t   (DDPM Eq. 7)",
    "mean": "x_{t−1} = μ_θ(x_t, t) + σ_t z   (DDPM Algorithm 2)",
}
VARIANCE = "σ_t² = β̃_t = (1 − ᾱ_{t−1})/(1 − ᾱ_t) · β_t   (DDPM Sec. 3.2)"
NONE_AT_THE_END = "z = 0 in the last step   (DDPM Algorithm 2)"
IMAGES = (128, 3, 12, 10)
SPREAD_SLACK = 6.0  # standard errors of an estimated spread
EXACT_SLACK = 1e-3  # relative, where z is known: the least known mistake is off by 1e-2
NO_NOISE = 1e-4
LEFT = 1e-3  # of the mean, that its two terms need not explain


@dataclass(frozen=True)
class StepAt:
    """What a reverse step did at one t."""

    a: float
    b: float
    residual: float  # part of the mean that (a, b) do not explain
    bracketed: bool  # whether k (x_t - c) out explains it instead
    offset: float  # largest number added to the mean
    sigma: float
    slack: float  # of sigma, relative
    odd: OddDraws | None = None  # how z departs from N(0, 1)
    repeated: bool = False  # whether another seed gives the same z

    @property
    def departure(self) -> str | None:
        """What is wrong with z."""
        return self.odd.text if self.odd else ("the same noise is drawn again at every call" if self.repeated else None)


@dataclass(frozen=True)
class Shown:
    """What a step showed the network: t (NaN: it did not ask), and whether it was x_t itself."""

    t: float
    is_x_t: bool


@dataclass
class StepObservation(Observation):
    """What a reverse step did at the ts that were tried, where anything of the right form came back."""

    schedule: Schedule
    predictor: str
    at: dict[int, StepAt] = field(default_factory=dict)
    shown: dict[int, Shown] = field(default_factory=dict)  # of a step that asks the network itself (Task 1)


@dataclass(frozen=True)
class Inputs:
    """What a step is asked with, (B, ...): x_t, and what a perfect network would say of it."""

    t: int
    x0: NDArray[np.float32]
    eps: NDArray[np.float32]
    xt: NDArray[np.float32]


class StepSaid(Said):
    """By which function and with which form of t a step was taken, and which forms it rejected."""

    form: Line
    rejected: Annotated[list[Line], Field(max_length=20)]
    entry: Line = ""
    network_calls: int = 0


def step_answer(shape: tuple[int, ...]) -> Expects:
    """What a step may answer: results for x_t, for zeros and for zeros again, and what one randn_like draws."""
    return Expects.alike(("of_x", "of_zeros", "again", "draw"), Tensor(shape), StepSaid)


@dataclass(frozen=True)
class Asked:
    """An answer, with what the network gave in the calls for x_t and for zeros."""

    answer: Answer
    out: Array
    zero_out: Array


Ask = Callable[[Bench, dict[str, Any], Inputs, StepObservation], Asked]  # params: schedule, t and seeds


@dataclass(frozen=True)
class Step:
    """One step to judge: what it is called, and how it is asked."""

    name: str
    predictor: str
    shape: tuple[int, ...]
    ask: Ask


def image_step(predictor: str) -> Step:
    """A step of Task 2, which gets the network's output from its caller."""

    def ask(bench: Bench, params: dict[str, Any], given: Inputs, seen: StepObservation) -> Asked:
        # The predictions of a perfect network: an x_0 inside [-1, 1], so that editions that clamp it are right too.
        index = np.full(len(given.x0), given.t)
        outputs: Arrays = {
            "noise": given.eps,
            "x0": given.x0,
            "mean": reference.posterior_mean(seen.schedule, given.x0.astype(float), given.xt.astype(float), index),
        }
        out = np.asarray(outputs[predictor], dtype=np.float32)
        forms = {"forms": ["0-d", "int", "[1]", "[B]"], "predictor": predictor}
        tensors: Arrays = {"x": given.xt, "out": out}
        answer = bench.ask("step", params | forms, tensors, expects=step_answer(out.shape))
        return Asked(answer, out.astype(float), np.zeros(out.shape))

    return Step(f"step_predict_{predictor}", predictor, IMAGES, ask)


def judge_step(bench: Bench, step: Step) -> Judgement:
    """Checks mean.* and variance.* at three t, last_step."""
    setting = Setting.short(bench.rng)
    seen = StepObservation(setting.schedule, step.predictor)
    judgement = Judgement(observations=[seen])
    steps = dict(zip(LABELS, (1, _between(bench, setting.T), setting.T - 1), strict=True))
    runs = {t: asked(partial(_run, bench, step, setting, t, seen)) for t in (0, *steps.values())}
    for label, t in steps.items():
        judgement.checks.append(judged(f"mean.{label}", 0.5, partial(_mean, runs[t], step, seen, t)))
    for label, t in steps.items():
        judgement.checks.append(judged(f"variance.{label}", 0.5, partial(_variance, runs[t], step, seen, t, bench)))
    judgement.checks.append(judged("last_step", 1.0, partial(_last_step, runs[0], step, seen)))
    judgement.remarks += _form_remarks(runs, step)
    return judgement


def _between(bench: Bench, T: int) -> int:
    """A t between the ends, at which a table read from its end is another."""
    return int(bench.rng.choice([t for t in range(2, T - 1) if 2 * t != T - 1]))


def _run(bench: Bench, step: Step, setting: Setting, t: int, seen: StepObservation) -> Answer:
    """Ask for one step at t, and read the coefficients off the answer."""
    params = setting.params | {"t": t, "seeds": [bench.seed(), bench.seed()]}
    x0, eps = bench.uniform(-0.9, 0.9, *step.shape), bench.normal(*step.shape)
    xt = reference.q_sample(seen.schedule, x0.astype(float), np.full(len(x0), t), eps.astype(float))
    given = Inputs(t, x0, eps, xt.astype(np.float32))
    trial = step.ask(bench, params, given, seen)
    if _malformed(trial.answer, step, t, seen) is None:
        seen.at[t] = _observed(trial, given.xt.astype(float))
    return trial.answer


def _observed(trial: Asked, xt: Array) -> StepAt:
    """Fit of_x - of_zeros = a x_t + b out; what of_zeros holds beyond b zero_out is the noise."""
    tensors, out, zero_out = trial.answer.arrays, trial.out, trial.zero_out
    of_x, of_zeros = tensors["of_x"].astype(float), tensors["of_zeros"].astype(float)
    mean = fit(of_x - of_zeros, xt, out)
    a, b = mean.coefficients
    of_output, bracketed = _bracket(xt, out, zero_out, of_x - of_zeros, b) if mean.residual > LEFT else (b, False)
    noise = of_zeros - of_output * zero_out
    sigma, slack = _spread(noise, tensors.get("draw"))
    noisy = sigma > NO_NOISE
    return StepAt(
        a,
        b,
        mean.residual,
        bracketed,
        float(np.abs(noise).max()),
        sigma,
        slack,
        odd_draws(noise / noise.std()) if noisy else None,
        noisy and "again" in tensors and np.array_equal(tensors["again"], tensors["of_zeros"]),
    )


def _bracket(xt: Array, out: Array, zero_out: Array, target: Array, b: float) -> tuple[float, bool]:
    """Whether k (x_t - c) out explains a step that no a x_t + b out does, and then the -k c of its call on zeros."""
    product = fit(target, xt * (out + zero_out), out)
    if product.residual > LEFT * max(1.0, float(np.abs(target).max())):
        return b, False
    return product.coefficients[1], True


def _spread(noise: Array, draw: Array | None) -> tuple[float, float]:
    """sigma_t, and the relative slack that its estimate needs."""
    if draw is not None and draw.shape == noise.shape:
        of_draw = fit(noise, draw)
        scale = abs(of_draw.coefficients[0])
        if of_draw.residual < 1e-4 * scale + 1e-5 and odd_draws(draw.astype(float)) is None:
            return scale, EXACT_SLACK
    return float(noise.std()), SPREAD_SLACK / float(np.sqrt(2.0 * noise.size))


def _malformed(answer: Answer, step: Step, t: int, seen: StepObservation) -> Finding | None:
    checked = f"{step.name} at t = {t} of T = {seen.schedule.T}"
    return next((wrong for name in ("of_x", "of_zeros") if (wrong := take(answer, name, step.shape, checked)[1])), None)


def _where(answer: Answer, step: Step, t: int) -> str:
    return f"{answer.said.entry or step.name}, t = {t} given as {answer.said.form}, x_t of shape {step.shape}"


def _wrong_coefficients(got: StepAt, right: StepTables, t: int) -> str | None:
    """How (a_t, b_t) differ from the right ones, or None."""
    if got.residual > LEFT:
        return f"no a_t x_t + b_t out explains the result: up to {got.residual:.3g} is left over"
    parts = [
        f"{name} = {value:.5f} instead of {want:.5f}"
        for name, value, want in (("a_t", got.a, right.a[t]), ("b_t", got.b, right.b[t]))
        if off(np.asarray(value), np.asarray(want))
    ]
    return f"x_{{t−1}} = a_t x_t + b_t out + noise with {', '.join(parts)}" if parts else None


def _mean(run: Answer | ProbeFailure, step: Step, seen: StepObservation, t: int) -> Finding | None:
    answer = answered(run)
    if malformed := _malformed(answer, step, t, seen):
        return malformed
    checked, where = f"the mean of {step.name} at t = {t} of T = {seen.schedule.T}", _where(answer, step, t)
    shown = seen.shown.get(t)
    if shown is not None and not (shown.is_x_t and abs(shown.t - t) <= 1e-6):
        got = f"t = {shown.t:g}" if shown.is_x_t else "other points than x_t"
        return Finding(
            checked,
            f"the network is asked for the noise of x_t at t = {t}",
            f"it was shown {'nothing' if np.isnan(shown.t) else got}",
            where,
            EQUATIONS[step.predictor],
        )
    wrong = _wrong_coefficients(seen.at[t], reference.step_tables(seen.schedule, step.predictor), t)
    if wrong is None:
        return None
    return Finding(
        checked,
        f"the mean of the reverse step for the predictor '{step.predictor}'",
        wrong,
        where,
        EQUATIONS[step.predictor],
    )


def _variance(run: Answer | ProbeFailure, step: Step, seen: StepObservation, t: int, bench: Bench) -> Finding | None:
    answer = answered(run)
    if malformed := _malformed(answer, step, t, seen):
        return malformed
    right = {
        name: float(reference.step_tables(seen.schedule, step.predictor, name).sigma[t])
        for name in bench.policy.reverse_step.variances
    }
    checked = f"the noise that {step.name} adds at t = {t} of T = {seen.schedule.T}"
    expected = "z ~ N(0, I) times " + " or ".join(f"σ_t = {sigma:.4f} ({name})" for name, sigma in right.items())
    got = seen.at[t]
    if not any(abs(got.sigma / sigma - 1.0) <= got.slack for sigma in right.values()):
        spread = f"σ_t = {got.sigma:.4f} over {int(np.prod(step.shape))} draws"
        return Finding(checked, expected, spread, _where(answer, step, t), VARIANCE)
    if got.departure:
        return Finding(checked, expected, got.departure, _where(answer, step, t), VARIANCE)
    return None


def _last_step(run: Answer | ProbeFailure, step: Step, seen: StepObservation) -> Finding | None:
    answer = answered(run)
    if malformed := _malformed(answer, step, 0, seen):
        return malformed
    finding = partial(
        Finding, f"{step.name} at t = 0, the last step: the mean alone, no noise", where=_where(answer, step, 0)
    )
    last, equation = seen.at[0], EQUATIONS[step.predictor]
    if last.offset > NO_NOISE:
        added = f"a number of size {last.offset:.4f} added to the mean"
        got = f"noise of standard deviation {last.sigma:.4f}" if last.sigma > NO_NOISE else added
        return finding(expected="no noise at t = 0", got=got, equation=NONE_AT_THE_END)
    if step.predictor == "mean" and all(at.sigma <= NO_NOISE for at in seen.at.values()):
        # Leaving the noise out at t = 0 is no merit of a step that hands its input on at every t.
        return finding(expected="noise at every t but this one", got="no noise at any t", equation=equation)
    wrong = _wrong_coefficients(last, reference.step_tables(seen.schedule, step.predictor), 0)
    if wrong is None:
        return None
    at_zero = {"x0": "x_0 itself, as ᾱ before the first step is 1"}.get(step.predictor, "the mean")
    return finding(expected=at_zero, got=wrong, equation=equation)


def _form_remarks(runs: dict[int, Answer | ProbeFailure], step: Step) -> list[str]:
    """A rejected form of t is a remark, not a deduction."""
    rejected = {text for run in runs.values() if isinstance(run, Answer) for text in run.said.rejected}
    return [f"{step.name} does not accept every form of t ({'; '.join(sorted(rejected))})"] if rejected else []
