"""Judges the chain and its shortcut: `forward_step`, one step of q(x_t | x_{t-1}), and `naive_skip`.

A forward step is x_t = a_t x_{t-1} + b_t z. Called twice under the same seed, on points and on zeros, it shows a_t x
and b_t z apart. The skipping loop runs over a stand-in for p_sample; one that does not call it is judged by what its
network was shown, each of its steps fitted by x' = p x + q eps_theta + noise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grader.judging.bench import Bench, Judgement, Observation
from grader.judging.comparison import Array, Arrays, off, take
from grader.judging.draws import as_text, odd_draws
from grader.judging.findings import all_unanswered, asked, judged
from grader.lab import reference
from grader.lab.checks.companions_plane import unless_left_alone
from grader.lab.checks.forward import network_coefficients
from grader.lab.reference import Schedule
from grader.lab.settings import SHORT
from grader.records import Finding
from grader.sandbox import Answer, ProbeFailure

T = SHORT["T"]
FORWARD = "x_t = √(1 − β_t) x_{t−1} + √β_t z   (DDPM Eq. 2)"
SKIP = "x_T ~ N(0, I); for t = T−1, T−1−k, T−1−2k, …: x ← the ordinary p_sample(x, t)"
FORMS = ("int", "[1]", "[B]", "0-d")
POINTS, IMAGES = (8192, 2), (4, 1, 32, 32)
SPREAD_SLACK = 6.0  # standard errors of an estimated spread
EXACT_SLACK = 1e-3  # relative, where z is known
STRIDES = (1, 3, 4)  # 3 divides T - 1, so that its grid ends at t = 0; that of 4 ends at t = 1
SAMPLES = (4096, 2)
GAIN = 0.75


@dataclass
class ChainObservation(Observation):
    """Coefficients of the forward step at each t, (T,), and what its noise and its inputs looked like."""

    schedule: Schedule
    a: Array = field(default_factory=lambda: np.full(T, np.nan))
    b: Array = field(default_factory=lambda: np.full(T, np.nan))
    slack: float = EXACT_SLACK  # of b, relative
    residual: float = np.inf  # largest part that a_t x_{t-1} does not explain
    noise: str | None = None  # what is wrong with z
    changed: bool = False


@dataclass(frozen=True)
class Transition:
    """A step that was written into the loop: x' = p x + q eps_theta + sigma z, with standard errors of p and q."""

    t: int
    following: int | None  # the t of the next step
    p: float
    q: float
    sigma: float
    errors: tuple[float, float]


@dataclass
class SkipObservation(Observation):
    """The steps of each stride (NaN where a call mixed several t), and how they hang together."""

    schedule: Schedule
    steps: dict[int, list[float]] = field(default_factory=dict)
    start: str | None = None  # what is wrong with the first points
    broken: dict[int, str] = field(default_factory=dict)  # stride -> where the chain breaks
    transitions: list[Transition] = field(default_factory=list)  # of a loop that does not call p_sample
    crooked: list[Transition] = field(default_factory=list)  # those that are not the ordinary step


def judge_forward_step(bench: Bench) -> Judgement:
    """Checks one_step, fresh_noise, images, inputs_kept."""
    seen = ChainObservation(Schedule.linear(T, SHORT["beta_1"], SHORT["beta_T"]))
    points = bench.uniform(-2.0, 2.0, *POINTS)
    names = ["one_step", "fresh_noise", "images", "inputs_kept"]
    answer = asked(lambda: _ask_forward(bench, points))
    if isinstance(answer, ProbeFailure):
        return Judgement(all_unanswered(names, [0.0] * len(names), unless_left_alone(answer)))
    _observe_forward(answer, points.astype(float), seen)
    judges: list[Callable[[], Finding | None]] = [
        lambda: _one_step(answer, POINTS, seen),
        lambda: _fresh_noise(seen),
        lambda: _on_images(bench, seen),
        lambda: _unchanged(seen),
    ]
    judgement = Judgement([judged(name, 0.0, judge) for name, judge in zip(names, judges, strict=True)], [seen])
    if answer.data.get("rejected"):
        judgement.remarks.append(f"forward_step does not accept every form of t ({'; '.join(answer.data['rejected'])})")
    return judgement


def _ask_forward(bench: Bench, x: NDArray[np.float32]) -> Answer:
    params = SHORT | {"ts": list(range(T)), "seeds": [bench.seed(), bench.seed()], "forms": list(FORMS)}
    return bench.ask("forward_step", params, {"x": x} | network_coefficients(bench, 2))


def _observe_forward(answer: Answer, x: Array, seen: ChainObservation) -> None:
    """Fit of_x - of_zeros = a_t x; of_zeros is b_t z, whose z is known where one randn_like drew it."""
    residual = 0.0
    draw = answer.arrays.get("draw", np.empty(0)).astype(float)
    for t in range(T):
        of_x, of_zeros, again = (take(answer, f"{name}.{t}", x.shape, "")[0] for name in ("of_x", "of_zeros", "again"))
        if of_x is None or of_zeros is None:
            return
        seen.a[t] = float(((of_x - of_zeros) * x).sum() / (x * x).sum())
        residual = max(residual, float(np.abs(of_x - of_zeros - seen.a[t] * x).max()))
        scale = float((of_zeros * draw).sum() / max(float((draw * draw).sum()), 1.0))
        known = bool(np.abs(of_zeros - scale * draw).max() < 1e-4 * abs(scale) + 1e-5)
        seen.b[t] = abs(scale) if known else float(of_zeros.std())
        if not known:
            seen.slack = SPREAD_SLACK / np.sqrt(2.0 * x.size)
        if seen.b[t] > 1e-4:
            repeated = again is not None and np.array_equal(again, of_zeros)
            seen.noise = (
                seen.noise
                or as_text(odd_draws(of_zeros / of_zeros.std()))
                or ("the same noise is drawn again at every call" if repeated else None)
            )
        seen.changed |= not np.array_equal(answer.arrays.get(f"x_after.{t}", np.empty(0)), x.astype(np.float32))
    seen.residual = residual


def _one_step(answer: Answer, shape: tuple[int, ...], seen: ChainObservation) -> Finding | None:
    checked = f"x_t from x_{{t−1}} of shape {shape} at every t of T = {T}"
    for t in range(T):
        malformed = take(answer, f"of_x.{t}", shape, f"{checked}, here t = {t}")[1]
        if malformed:
            return malformed
    where = f"forward_step, t given as {answer.data.get('form')}"
    if seen.residual > 1e-3:
        return Finding(checked, "a_t x_{t−1} plus noise", f"up to {seen.residual:.3g} is left over", where, FORWARD)
    a, b = reference.forward_step_tables(seen.schedule)
    for t in range(T):
        wrong = [
            f"{name} = {got:.5f} instead of {want:.5f}"
            for name, got, want, slack in (
                ("a_t", seen.a[t], a[t], 1e-4),
                ("b_t", seen.b[t], b[t], max(1e-4, seen.slack * b[t])),
            )
            if abs(got - want) > slack
        ]
        if wrong:
            return Finding(
                checked,
                "one step of q(x_t | x_{t−1})",
                f"x_t = a_t x_{{t−1}} + b_t z with {', '.join(wrong)}, first at t = {t}",
                where,
                FORWARD,
            )
    return None


def _fresh_noise(seen: ChainObservation) -> Finding | None:
    checked = "the noise that forward_step draws"
    if np.nan_to_num(seen.b).max() <= 1e-4:
        return Finding(checked, "fresh draws from N(0, I) in every step", "no noise", "forward_step", FORWARD)
    if seen.noise is None:
        return None
    return Finding(
        checked, "fresh, independent draws from N(0, 1) for every number", seen.noise, "forward_step", FORWARD
    )


def _on_images(bench: Bench, seen: ChainObservation) -> Finding | None:
    """On images the coefficients have to be those of the points, which have a check of their own."""
    images = bench.uniform(-1.0, 1.0, *IMAGES)
    answer = _ask_forward(bench, images)
    for t in (0, T - 1):
        got = [
            take(answer, f"{name}.{t}", IMAGES, f"forward_step at t = {t} on images") for name in ("of_x", "of_zeros")
        ]
        if got[0][0] is None or got[1][0] is None:
            return got[0][1] or got[1][1]
        wrong = off(got[0][0] - got[1][0], seen.a[t] * images.astype(float))
        if wrong and np.isfinite(seen.a[t]):
            return Finding(
                f"forward_step at t = {t} on images of shape {IMAGES}",
                "the step that points take",
                wrong,
                "forward_step",
                FORWARD,
            )
    return None


def _unchanged(seen: ChainObservation) -> Finding | None:
    if not seen.changed:
        return None
    return Finding(
        "forward_step leaves x_prev as it is", "x_prev unchanged after the call", "changed in place", "forward_step"
    )


def judge_naive_skip(bench: Bench) -> Judgement:
    """Checks start, order, ordinary_step."""
    seen = SkipObservation(Schedule.linear(T, SHORT["beta_1"], SHORT["beta_T"]))
    offset = bench.normal(T + 3, SAMPLES[1])
    offset[0] = np.sign(offset[0]) * 8  # a clamped result shows
    stub: Arrays = {"offset": offset, **network_coefficients(bench, SAMPLES[1])}
    params: dict[str, Any] = SHORT | {"shape": list(SAMPLES), "gain": GAIN, "ks": list(STRIDES), "seed": bench.seed()}
    names = ["start", "order", "ordinary_step"]
    answer = asked(lambda: bench.ask("naive_skip", params, stub))
    if isinstance(answer, ProbeFailure):
        return Judgement(all_unanswered(names, [0.0] * len(names), unless_left_alone(answer)))
    for k in STRIDES:
        _observe_skip(answer, k, stub, bench, seen)
    judges: list[Callable[[], Finding | None]] = [
        lambda: _start(seen),
        lambda: _order(seen),
        lambda: _ordinary(answer, seen),
    ]
    return Judgement([judged(name, 0.0, judge) for name, judge in zip(names, judges, strict=True)], [seen])


def _observe_skip(answer: Answer, k: int, stub: Arrays, bench: Bench, seen: SkipObservation) -> None:
    calls = [low if low == high else float("nan") for low, high in answer.data["steps"].get(str(k), [])]
    if calls:
        shown = [
            answer.arrays[f"shown.{k}.{i}"].astype(float)
            for i in range(len(calls))
            if f"shown.{k}.{i}" in answer.arrays
        ]
        table = stub["offset"].astype(float)
        after = [
            GAIN * x + table[int(np.clip(np.nan_to_num(t), 0, len(table) - 1))]
            for x, t in zip(shown, calls, strict=False)
        ]
        _link(seen, k, [*shown, answer.arrays[f"out.{k}"].astype(float)], after)
    else:
        shown = [
            answer.arrays[f"net.{k}.{i}.x"].astype(float)
            for i in range(answer.data["asked"].get(str(k), 0))
            if f"net.{k}.{i}.x" in answer.arrays
        ]
        asked_at = [answer.arrays[f"net.{k}.{i}.t"] for i in range(len(shown))]
        calls = [float(t[0]) if np.ptp(t) == 0 else float("nan") for t in asked_at]
        _fit(seen, k, calls, [*shown, answer.arrays[f"out.{k}"].astype(float)], stub, bench)
    seen.steps[k] = calls
    if shown and seen.start is None:
        seen.start = f"shape {shown[0].shape}" if shown[0].shape != SAMPLES else as_text(odd_draws(shown[0]))


def _link(seen: SkipObservation, k: int, states: list[Array], after: list[Array]) -> None:
    """Find the first step whose result is not what goes into the next one, or comes back."""
    for i, result in enumerate(after):
        if states[i + 1].shape != result.shape or off(states[i + 1], result):
            last = i == len(after) - 1
            seen.broken[k] = (
                "not the result of the last step comes back"
                if last
                else (f"something else than the result of step {i + 1} goes into step {i + 2}")
            )
            return


def _fit(seen: SkipObservation, k: int, calls: list[float], states: list[Array], stub: Arrays, bench: Bench) -> None:
    """Read p, q and sigma off each step, and hold them against the ordinary step's."""
    tables = [
        reference.step_tables(seen.schedule, "noise", variance) for variance in bench.policy.reverse_step.variances
    ]
    weight, slope, bias = (stub[name].astype(float) for name in ("weight", "slope", "bias"))
    for i, step in enumerate(calls):
        x, following = states[i], states[i + 1]
        known = step == step and 0 <= step < T
        if not known or x.shape != following.shape or not np.isfinite(x).all() or not np.isfinite(following).all():
            seen.broken[k] = f"step {i + 1} is not one of the reverse process"
            return
        t = int(step)
        columns = np.stack([x.ravel(), (x @ weight.T + t * slope + bias).ravel()], axis=1)
        (p, q), *_ = np.linalg.lstsq(columns, following.ravel(), rcond=None)
        sigma = float((following.ravel() - columns @ np.array([p, q])).std())
        p_error, q_error = sigma * np.sqrt(np.diag(np.linalg.pinv(columns.T @ columns)))
        later = int(calls[i + 1]) if i + 1 < len(calls) and calls[i + 1] == calls[i + 1] else None
        found = Transition(t, later, float(p), float(q), sigma, (float(p_error), float(q_error)))
        seen.transitions.append(found)
        slack = SPREAD_SLACK / np.sqrt(2.0 * x.size)
        if not any(
            abs(p - right.a[t]) <= 8.0 * p_error + 1e-4
            and abs(q - right.b[t]) <= 8.0 * q_error + 1e-4
            and abs(sigma - right.sigma[t]) <= slack * right.sigma[t] + 1e-4
            for right in tables
        ):
            seen.crooked.append(found)


def _start(seen: SkipObservation) -> Finding | None:
    checked = f"the points that naive_skip starts from, shape {SAMPLES}"
    if not any(seen.steps.values()):
        return Finding(checked, "draws from N(0, I)", "no step was taken", "naive_skip", SKIP)
    return Finding(checked, "draws from N(0, I)", seen.start, "naive_skip", SKIP) if seen.start else None


def _order(seen: SkipObservation) -> Finding | None:
    for k, steps in seen.steps.items():
        allowed = reference.skipped_timesteps(T, k)
        if steps not in [[float(t) for t in way] for way in allowed]:
            shown = ", ".join("mixed" if t != t else f"{t:g}" for t in steps[: T + 4]) or "none"
            due = " or ".join(dict.fromkeys(", ".join(map(str, way)) for way in allowed))
            return Finding(
                f"the timesteps that naive_skip visits for k = {k}, T = {T}",
                due,
                shown + (", …" if len(steps) > T + 4 else ""),
                "naive_skip",
                SKIP,
            )
    return None


def _ordinary(answer: Answer, seen: SkipObservation) -> Finding | None:
    checked = "each step is the ordinary p_sample, given what the step before returned"
    for k in STRIDES:
        malformed = take(answer, f"out.{k}", SAMPLES, f"the result of naive_skip for k = {k}")[1]
        if malformed:
            return malformed
    if not any(seen.steps.values()):
        return Finding(checked, "a chain of steps", "no step was taken", "naive_skip", SKIP)
    if seen.broken:
        k, problem = next(iter(seen.broken.items()))
        return Finding(checked, "an unbroken chain", f"for k = {k}, {problem}", "naive_skip", SKIP)
    if seen.crooked:
        step = seen.crooked[0]
        right = reference.step_tables(seen.schedule, "noise")
        return Finding(
            checked,
            f"{right.a[step.t]:.4f} x + {right.b[step.t]:.4f} ε_θ + {right.sigma[step.t]:.4f} z",
            f"{step.p:.4f} x + {step.q:.4f} ε_θ + {step.sigma:.4f} z at t = {step.t}, without a call of p_sample",
            "naive_skip",
            SKIP,
        )
    return None
