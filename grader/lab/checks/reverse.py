"""Judges one reverse step: p_sample (Task 1) and step_predict_noise / _x0 / _mean (Task 2).

A step is x_{t-1} = a_t x_t + b_t out + sigma_t z with `out` what the network gave. Calling it twice under the same
seed, with inputs and with zeros, cancels z: the difference gives a_t and b_t to rounding. The call on zeros leaves
sigma_t z. Where z is what one randn_like draws under that seed, sigma_t follows to rounding; elsewhere its spread over
a large batch gives sigma_t.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from grader.judging.bench import Bench, Judgement, Observation
from grader.judging.comparison import Array, Arrays, off, take
from grader.judging.draws import as_text, odd_draws
from grader.judging.findings import answered, asked, judged
from grader.lab import reference
from grader.lab.checks.forward import network_coefficients
from grader.lab.reference import Schedule, StepTables
from grader.lab.settings import SHORT
from grader.records import Finding
from grader.sandbox import Answer, ProbeFailure

STEPS = {"t1": 1, "middle": 4, "last": SHORT["T"] - 1}
EQUATIONS = {
    "noise": "μ_θ = 1/√α_t · (x_t − β_t/√(1 − ᾱ_t) · ε_θ)   (DDPM Eq. 11)",
    "x0": "μ̃_t = √ᾱ_{t−1} β_t/(1 − ᾱ_t) · x_0 + √α_t (1 − ᾱ_{t−1})/(1 − ᾱ_t) · x_t   (DDPM Eq. 7)",
    "mean": "x_{t−1} = μ_θ(x_t, t) + σ_t z   (DDPM Algorithm 2)",
}
VARIANCE = "σ_t² = β̃_t = (1 − ᾱ_{t−1})/(1 − ᾱ_t) · β_t   (DDPM Sec. 3.2)"
POINTS, IMAGES = (16384, 2), (128, 3, 12, 10)
SPREAD_SLACK = 6.0  # standard errors of an estimated spread
EXACT_SLACK = 1e-3  # relative, where z is known: the least known mistake is off by 1e-2
NO_NOISE = 1e-4


@dataclass
class StepObservation(Observation):
    """What a reverse step did at the ts that were tried; tables over those ts, NaN where nothing came back."""

    schedule: Schedule
    predictor: str
    ts: list[int] = field(default_factory=lambda: [0, *STEPS.values()])
    a: dict[int, float] = field(default_factory=dict)
    b: dict[int, float] = field(default_factory=dict)
    residual: dict[int, float] = field(default_factory=dict)  # part of the mean that (a, b) do not explain
    bracketed: dict[int, bool] = field(default_factory=dict)  # whether k (x_t - c) out explains it instead
    sigma: dict[int, float] = field(default_factory=dict)
    slack: dict[int, float] = field(default_factory=dict)  # of sigma, relative
    offset: dict[int, float] = field(default_factory=dict)  # largest number added to the mean
    noise: dict[int, str] = field(default_factory=dict)  # how z departs from N(0, 1)
    t_shown: dict[int, float] = field(default_factory=dict)  # t that the network was asked at (Task 1)
    x_shown: dict[int, bool] = field(default_factory=dict)  # whether the network was shown x_t itself (Task 1)
    relative_error: float = 0.0  # of sigma, one standard error


@dataclass(frozen=True)
class _Step:
    """One step to judge: where it lives and how it is asked."""

    name: str
    probe: str
    predictor: str
    shape: tuple[int, ...]
    forms: tuple[str, ...]  # of t: those that the lab's own loops use come first


P_SAMPLE = _Step("p_sample", "p_sample", "noise", POINTS, ("int", "[1]", "[B]", "0-d"))
IMAGE_STEPS = {
    p: _Step(f"step_predict_{p}", "step", p, IMAGES, ("0-d", "int", "[1]", "[B]")) for p in ("noise", "x0", "mean")
}


def judge_p_sample(bench: Bench) -> Judgement:
    return _judge(bench, P_SAMPLE)


def judge_image_step(bench: Bench, predictor: str) -> Judgement:
    return _judge(bench, IMAGE_STEPS[predictor])


def _judge(bench: Bench, step: _Step) -> Judgement:
    schedule = Schedule.linear(SHORT["T"], SHORT["beta_1"], SHORT["beta_T"])
    seen = StepObservation(schedule, step.predictor, relative_error=float((2 * np.prod(step.shape)) ** -0.5))
    judgement = Judgement(observations=[seen])
    runs = {t: asked(partial(_run, bench, step, schedule, t, seen)) for t in seen.ts}
    for label, t in STEPS.items():
        judgement.checks.append(judged(f"mean.{label}", 0.5, partial(_mean, runs[t], step, seen, t)))
    for label, t in STEPS.items():
        judgement.checks.append(judged(f"variance.{label}", 0.5, partial(_variance, runs[t], step, seen, t, bench)))
    judgement.checks.append(judged("last_step", 1.0, partial(_last_step, runs[0], step, seen)))
    judgement.remarks += _form_remarks(runs, step)
    return judgement


def _run(bench: Bench, step: _Step, schedule: Schedule, t: int, seen: StepObservation) -> Answer:
    """Ask for one step at t, and read the coefficients off the answer."""
    params = SHORT | {"t": t, "seeds": [bench.seed(), bench.seed()], "forms": list(step.forms)}
    x0, eps = bench.uniform(-0.9, 0.9, *step.shape), bench.normal(*step.shape)
    index = np.full(len(x0), t)
    xt = reference.q_sample(schedule, x0.astype(float), index, eps.astype(float)).astype(np.float32)
    if step is P_SAMPLE:
        arrays: Arrays = {"x": xt} | network_coefficients(bench, 2)
        answer = bench.ask(step.probe, params, arrays)
        seen.t_shown[t] = float(answer.arrays["net.0.t"][0]) if "net.0.t" in answer.arrays else np.nan
        # At the t that it was asked at: another one than t costs the mean alone, not the noise.
        zero_out = _network(arrays, np.zeros_like(xt), float(np.nan_to_num(seen.t_shown[t], nan=t)))
        out = _network(arrays, xt, t) - _network(arrays, np.zeros_like(xt), t)
        seen.x_shown[t] = bool(np.allclose(answer.arrays.get("net.0.x", np.nan), xt, atol=1e-6))
    else:
        # The predictions of a perfect network: an x_0 inside [-1, 1], so that editions that clamp it are right too.
        outputs: Arrays = {
            "noise": eps,
            "x0": x0,
            "mean": reference.posterior_mean(schedule, x0.astype(float), xt.astype(float), index),
        }
        out32 = np.asarray(outputs[step.predictor], dtype=np.float32)
        answer = bench.ask(step.probe, params | {"predictor": step.predictor}, {"x": xt, "out": out32})
        out, zero_out = out32.astype(float), np.zeros(step.shape)
    _observe(answer, xt.astype(float), out, zero_out, step, t, seen)
    return answer


def _network(arrays: Arrays, x: NDArray[np.float32], t: float) -> Array:
    """The stand-in network of the worker, in float64."""
    weight, slope, bias = (arrays[name].astype(float) for name in ("weight", "slope", "bias"))
    return np.asarray(x.astype(float) @ weight.T + t * slope + bias)


def _observe(
    answer: Answer, xt: Array, out: Array, zero_out: Array, step: _Step, t: int, seen: StepObservation
) -> None:
    """Fit of_x - of_zeros = a x_t + b out; what of_zeros holds beyond b zero_out is the noise."""
    of_x, of_zeros = (take(answer, name, step.shape, step.name)[0] for name in ("of_x", "of_zeros"))
    if of_x is None or of_zeros is None:
        return
    columns = np.stack([xt.ravel(), out.ravel()], axis=1)
    target = (of_x - of_zeros).ravel()
    (a, b), *_ = np.linalg.lstsq(columns, target, rcond=None)
    seen.a[t], seen.b[t] = float(a), float(b)
    seen.residual[t] = float(np.abs(columns @ np.array([a, b]) - target).max())
    if seen.residual[t] > 1e-3:
        b, seen.bracketed[t] = _bracket(xt, out, zero_out, target, b)
    noise = of_zeros - b * zero_out
    seen.offset[t] = float(np.abs(noise).max())
    seen.sigma[t], seen.slack[t] = _spread(noise, answer.arrays.get("draw"), seen)
    if seen.sigma[t] > NO_NOISE:
        departure = as_text(odd_draws(noise / noise.std()))
        again = answer.arrays.get("again")
        if departure is None and again is not None and np.array_equal(again, answer.arrays["of_zeros"]):
            departure = "the same noise is drawn again at every call"
        if departure:
            seen.noise[t] = departure


def _bracket(xt: Array, out: Array, zero_out: Array, target: Array, b: float) -> tuple[float, bool]:
    """Whether k (x_t - c) out explains a step that no a x_t + b out does, and then the -k c of its call on zeros."""
    columns = np.stack([(xt * (out + zero_out)).ravel(), out.ravel()], axis=1)
    pair, *_ = np.linalg.lstsq(columns, target, rcond=None)
    if np.abs(columns @ pair - target).max() > 1e-3 * max(1.0, float(np.abs(target).max())):
        return b, False
    return float(pair[1]), True


def _spread(noise: Array, draw: Array | None, seen: StepObservation) -> tuple[float, float]:
    """sigma_t, and the relative slack that its estimate needs."""
    if draw is not None and draw.shape == noise.shape:
        z = draw.astype(float)
        scale = float((noise * z).sum() / max(float((z * z).sum()), 1.0))
        if np.abs(noise - scale * z).max() < 1e-4 * abs(scale) + 1e-5 and as_text(odd_draws(z)) is None:
            return abs(scale), EXACT_SLACK
    return float(noise.std()), SPREAD_SLACK * seen.relative_error


def _well_formed(answer: Answer, step: _Step, t: int) -> Finding | None:
    return take(answer, "of_x", step.shape, f"{step.name} at t = {t} of T = {SHORT['T']}")[1]


def _where(answer: Answer, step: _Step, t: int) -> str:
    form = answer.data.get("form")
    return f"{answer.data.get('entry', step.name)}, t = {t} given as {form}, x_t of shape {step.shape}"


def _wrong_coefficients(seen: StepObservation, right: StepTables, t: int) -> str | None:
    """How (a_t, b_t) differ from the right ones, or None."""
    if seen.residual[t] > 1e-3:
        return f"no a_t x_t + b_t out explains the result: up to {seen.residual[t]:.3g} is left over"
    parts = [
        f"{name} = {got:.5f} instead of {want:.5f}"
        for name, got, want in (("a_t", seen.a[t], right.a[t]), ("b_t", seen.b[t], right.b[t]))
        if off(np.asarray(got), np.asarray(want))
    ]
    return f"x_{{t−1}} = a_t x_t + b_t out + noise with {', '.join(parts)}" if parts else None


def _mean(run: Answer | ProbeFailure, step: _Step, seen: StepObservation, t: int) -> Finding | None:
    answer = answered(run)
    malformed = _well_formed(answer, step, t)
    if malformed:
        return malformed
    checked = f"the mean of {step.name} at t = {t} of T = {SHORT['T']}"
    if step is P_SAMPLE and (not seen.x_shown[t] or abs(seen.t_shown[t] - t) > 1e-6):
        shown = f"t = {seen.t_shown[t]:g}" if seen.x_shown[t] else "other points than x_t"
        shown = "nothing" if np.isnan(seen.t_shown[t]) else shown
        return Finding(
            checked,
            f"the network is asked for the noise of x_t at t = {t}",
            f"it was shown {shown}",
            _where(answer, step, t),
            EQUATIONS["noise"],
        )
    wrong = _wrong_coefficients(seen, reference.step_tables(seen.schedule, step.predictor), t)
    if wrong is None:
        return None
    return Finding(
        checked,
        f"the mean of the reverse step for the predictor '{step.predictor}'",
        wrong,
        _where(answer, step, t),
        EQUATIONS[step.predictor],
    )


def _variance(run: Answer | ProbeFailure, step: _Step, seen: StepObservation, t: int, bench: Bench) -> Finding | None:
    answer = answered(run)
    malformed = _well_formed(answer, step, t)
    if malformed:
        return malformed
    right = {
        name: float(reference.step_tables(seen.schedule, step.predictor, name).sigma[t])
        for name in bench.policy.reverse_step.variances
    }
    checked = f"the noise that {step.name} adds at t = {t} of T = {SHORT['T']}"
    expected = "z ~ N(0, I) times " + " or ".join(f"σ_t = {sigma:.4f} ({name})" for name, sigma in right.items())
    if all(abs(seen.sigma[t] / sigma - 1.0) > seen.slack[t] for sigma in right.values()):
        got = f"σ_t = {seen.sigma[t]:.4f} over {int(np.prod(step.shape))} draws"
        return Finding(checked, expected, got, _where(answer, step, t), VARIANCE)
    if t in seen.noise:
        return Finding(checked, expected, seen.noise[t], _where(answer, step, t), VARIANCE)
    return None


def _last_step(run: Answer | ProbeFailure, step: _Step, seen: StepObservation) -> Finding | None:
    answer = answered(run)
    malformed = _well_formed(answer, step, 0)
    if malformed:
        return malformed
    checked = f"{step.name} at t = 0, the last step: the mean alone, no noise"
    if seen.offset[0] > NO_NOISE:
        got = (
            f"noise of standard deviation {seen.sigma[0]:.4f}"
            if seen.sigma[0] > NO_NOISE
            else f"a number of size {seen.offset[0]:.4f} added to the mean"
        )
        return Finding(
            checked, "no noise at t = 0", got, _where(answer, step, 0), "z = 0 in the last step   (DDPM Algorithm 2)"
        )
    if step.predictor == "mean" and all(sigma <= NO_NOISE for sigma in seen.sigma.values()):
        # Leaving the noise out at t = 0 is no merit of a step that hands its input on at every t.
        return Finding(
            checked, "noise at every t but this one", "no noise at any t", _where(answer, step, 0), EQUATIONS["mean"]
        )
    wrong = _wrong_coefficients(seen, reference.step_tables(seen.schedule, step.predictor), 0)
    if wrong is None:
        return None
    at_zero = {"x0": "x_0 itself, as ᾱ before the first step is 1"}.get(step.predictor, "the mean")
    return Finding(checked, at_zero, wrong, _where(answer, step, 0), EQUATIONS[step.predictor])


def _form_remarks(runs: dict[int, Answer | ProbeFailure], step: _Step) -> list[str]:
    """A rejected form of t is a remark, not a deduction."""
    rejected = {text for run in runs.values() if isinstance(run, Answer) for text in run.data.get("rejected", [])}
    return [f"{step.name} does not accept every form of t ({'; '.join(sorted(rejected))})"] if rejected else []
