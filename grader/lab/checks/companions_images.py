"""Judges two of the image half's companion exercises: `fast_sample`, and diffusers' schedulers set up like the lab's.

The fast sampler runs over a stand-in network; each of its jumps is fitted by x' = p x + q eps_theta. The stand-in's
tables keep the predicted x_0 inside [-1, 1], so that a sampler that clamps it is right as well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from grader.judging.bench import Bench, Judgement, Observation
from grader.judging.comparison import ATOL, Array, Arrays, off, take
from grader.judging.findings import all_unanswered, asked, judged
from grader.lab import reference
from grader.lab.checks.companions_plane import unless_left_alone
from grader.lab.reference import Schedule
from grader.lab.settings import SHORT
from grader.records import Check, Finding, Verdict
from grader.sandbox import Answer, ProbeFailure

T = SHORT["T"]
JUMP = "x_s = √ᾱ_s x̂_0 + √(1 − ᾱ_s) ε_θ, x̂_0 = (x_t − √(1 − ᾱ_t) ε_θ)/√ᾱ_t, ᾱ_s = 1 past t = 0   (DDIM Eq. 9, 12)"
STRIDES = (1, 3, 4)  # 3 divides T - 1, so that its grid ends at t = 0; that of 4 ends at t = 1
IMAGES = (4, 3, 8, 8)
SLOPE, SHARE = 0.05, 0.5  # of the stand-in's x_0: of x_t, and of a pattern in [-1, 1]


@dataclass(frozen=True)
class Jump:
    """One step of the fast sampler: x' = p x + q eps_theta + residual, from t to `following` (None: the result)."""

    k: int
    t: int
    following: int | None
    p: float
    q: float
    residual: float
    errors: tuple[float, float]  # standard errors of p and q


@dataclass
class FastObservation(Observation):
    """The timesteps of each stride (NaN where a call mixed several), its jumps, and what else was seen."""

    schedule: Schedule
    steps: dict[int, list[float]] = field(default_factory=dict)
    jumps: list[Jump] = field(default_factory=list)
    redrawn: bool = False  # the network was not shown x_T first
    unsteady: bool = False  # another result under another global seed
    changed: bool = False  # x_T was modified
    x0_treated_as_noise: bool = False


def judge_fast_sample(bench: Bench) -> Judgement:
    """Checks start, timesteps, jumps, last_jump, deterministic, other_predictors, inputs_kept."""
    seen = FastObservation(Schedule.linear(T, SHORT["beta_1"], SHORT["beta_T"]))
    stub = _stub(bench, seen.schedule)
    params: dict[str, Any] = SHORT | {"ks": list(STRIDES), "seeds": [bench.seed(), bench.seed()]}
    names = ["start", "timesteps", "jumps", "last_jump", "deterministic", "other_predictors", "inputs_kept"]
    answer = asked(lambda: bench.ask("fast_sample", params, stub))
    if isinstance(answer, ProbeFailure):
        return Judgement(all_unanswered(names, [0.0] * len(names), unless_left_alone(answer)))
    for k in STRIDES:
        _observe_fast(answer, k, stub, seen)
    judges: list[Callable[[], Finding | None]] = [
        lambda: _start(answer, seen),
        lambda: _timesteps(seen),
        lambda: _jumps(answer, seen, last=False),
        lambda: _jumps(answer, seen, last=True),
        lambda: _deterministic(seen),
        lambda: _other_predictors(answer, stub, seen),
        lambda: _kept(seen),
    ]
    judgement = Judgement([judged(name, 0.0, judge) for name, judge in zip(names, judges, strict=True)], [seen])
    if any(steps and steps[0] != T - 1 and _is_grid(steps, k, which=(2,)) for k, steps in seen.steps.items()):
        judgement.remarks.append(
            "fast_sample visits the multiples of k: it takes pure noise, which is what x is at "
            "T − 1, for x at a smaller t"
        )
    return judgement


def _stub(bench: Bench, s: Schedule) -> Arrays:
    """Tables of a network whose output stands for x_0 = SLOPE x + SHARE pattern, with random signs and sizes."""
    shift = SHARE * bench.rng.choice([-1.0, 1.0], T) * bench.rng.uniform(0.6, 1.0, T)
    signal, spread = np.sqrt(s.ab), np.sqrt(1.0 - s.ab)
    tables = {
        "gain.noise": (1.0 - signal * SLOPE) / spread,
        "shift.noise": -signal * shift / spread,
        "gain.x0": np.full(T, SLOPE),
        "shift.x0": shift,
    }
    return {
        "x": np.clip(bench.normal(*IMAGES), -3, 3),
        "pattern": bench.uniform(-1.0, 1.0, *IMAGES[1:]),
        "betas": s.betas.astype(np.float32),
        **{name: table.astype(np.float32) for name, table in tables.items()},
    }


def _network(stub: Arrays, kind: str, x: Array, t: int) -> Array:
    gain, shift = stub[f"gain.{kind}"].astype(float)[t], stub[f"shift.{kind}"].astype(float)[t]
    return np.asarray(gain * x + shift * stub["pattern"].astype(float))


def _observe_fast(answer: Answer, k: int, stub: Arrays, seen: FastObservation) -> None:
    seen.steps[k] = [low if low == high else float("nan") for low, high in answer.data["steps"].get(str(k), [])]
    shown = [
        answer.arrays[f"shown.{k}.{i}"].astype(float)
        for i in range(len(seen.steps[k]))
        if f"shown.{k}.{i}" in answer.arrays
    ]
    result = take(answer, f"out.{k}", IMAGES, "")[0]
    again = take(answer, f"again.{k}", IMAGES, "")[0]
    seen.unsteady |= result is not None and again is not None and off(again, result) is not None
    seen.changed |= not np.array_equal(answer.arrays.get(f"after.{k}", np.empty(0)), stub["x"])
    seen.redrawn |= bool(shown) and (shown[0].shape != IMAGES or off(shown[0], stub["x"].astype(float)) is not None)
    if result is None or len(shown) != len(seen.steps[k]):
        return
    for i, (x, t) in enumerate(zip(shown, seen.steps[k], strict=True)):
        following = shown[i + 1] if i + 1 < len(shown) else result
        if t != t or t != int(t) or not 0 <= t < T or x.shape != IMAGES or following.shape != IMAGES:
            continue
        if not np.isfinite(x).all() or not np.isfinite(following).all():
            continue
        later = seen.steps[k][i + 1] if i + 1 < len(shown) else None
        if later is not None and (later != later or later != int(later) or not 0 <= later < T):
            continue
        columns = np.stack([x.ravel(), _network(stub, "noise", x, int(t)).ravel()], axis=1)
        (p, q), *_ = np.linalg.lstsq(columns, following.ravel(), rcond=None)
        left = columns @ np.array([p, q]) - following.ravel()
        p_error, q_error = left.std() * np.sqrt(np.abs(np.diag(np.linalg.pinv(columns.T @ columns))))
        seen.jumps.append(
            Jump(
                k,
                int(t),
                None if later is None else int(later),
                float(p),
                float(q),
                float(np.abs(left).max()),
                (float(p_error), float(q_error)),
            )
        )


def _is_grid(steps: list[float], k: int, which: tuple[int, ...] = (0, 1, 2)) -> bool:
    grids = reference.fast_timesteps(T, k)
    return any(steps == [float(t) for t in grids[i]] for i in which)


def _start(answer: Answer, seen: FastObservation) -> Finding | None:
    for k in STRIDES:
        malformed = take(answer, f"out.{k}", IMAGES, f"the result of fast_sample with every = {k}")[1]
        if malformed:
            return malformed
    checked = "what the network is shown first"
    if not any(seen.steps.values()):
        return Finding(checked, "x_T", "no call of the network", "fast_sample", JUMP)
    if not seen.redrawn:
        return None
    return Finding(checked, "the x_T that was passed in", "something else", "fast_sample", JUMP)


def _timesteps(seen: FastObservation) -> Finding | None:
    for k, steps in seen.steps.items():
        if not _is_grid(steps, k):
            shown = ", ".join("mixed" if t != t else f"{t:g}" for t in steps[: T + 4]) or "none"
            due = ", ".join(map(str, reference.fast_timesteps(T, k)[0]))
            return Finding(
                f"the timesteps at which the network is asked for every = {k}, T = {T}",
                due,
                shown + (", …" if len(steps) > T + 4 else ""),
                "fast_sample",
                JUMP,
            )
    return None


def right_jump(jump: Jump, s: Schedule) -> bool:
    """Whether a jump is the deterministic one between the timesteps that were visited."""
    p, q = reference.ddim_tables(s, jump.t, jump.following)
    return jump.residual < 1e-3 and abs(jump.p - p) <= 5 * ATOL and abs(jump.q - q) <= 5 * ATOL


def _jumps(answer: Answer, seen: FastObservation, last: bool) -> Finding | None:
    jumps = [jump for jump in seen.jumps if (jump.following is None) is last]
    checked = "the last jump, which leads to x_0" if last else "each jump to the next timestep that is visited"
    if not jumps:
        return Finding(checked, "a jump", "none that could be followed", "fast_sample", JUMP)
    for jump in jumps:
        if right_jump(jump, seen.schedule):
            continue
        p, q = reference.ddim_tables(seen.schedule, jump.t, jump.following)
        got = f"{jump.p:.4f} x_t {jump.q:+.4f} ε_θ" + (
            f" and up to {jump.residual:.3g} that neither explains" if jump.residual >= 1e-3 else ""
        )
        goal = "x_0" if last else f"t = {jump.following}"
        where = f"fast_sample, every = {jump.k}, from t = {jump.t} to {goal} of T = {T}"
        return Finding(checked, f"{p:.4f} x_t {q:+.4f} ε_θ", got, where, JUMP)
    return None


def _deterministic(seen: FastObservation) -> Finding | None:
    if not seen.unsteady:
        return None
    return Finding(
        "fast_sample called twice with the same x_T",
        "the same images",
        "others: it draws random numbers",
        "fast_sample",
        JUMP,
    )


def _other_predictors(answer: Answer, stub: Arrays, seen: FastObservation) -> Finding | None:
    checked = 'fast_sample with predictor="x0", for a network whose output is x_0'
    if "x0_problem" in answer.data:
        return Finding(checked, "images", str(answer.data["x0_problem"])[:300], "fast_sample", JUMP)
    for k in STRIDES:
        got, malformed = take(answer, f"x0.{k}", IMAGES, checked)
        if got is None:
            return malformed
        steps = [int(low) for low, _ in answer.data.get("x0_steps", {}).get(str(k), []) if low == low and 0 <= low < T]
        wrong = off(got, _replayed(seen.schedule, stub, steps, as_noise=False), 1e-3)
        if wrong:
            seen.x0_treated_as_noise = off(got, _replayed(seen.schedule, stub, steps, as_noise=True), 1e-3) is None
            return Finding(f"{checked}, every = {k}", "the jumps through that x_0", wrong, "fast_sample", JUMP)
    return None


def _replayed(s: Schedule, stub: Arrays, steps: list[int], as_noise: bool) -> Array:
    """The result on the visited timesteps, for the network of x_0; `as_noise`: its output taken for noise."""
    x = stub["x"].astype(float)
    for i, t in enumerate(steps):
        net_out = _network(stub, "x0", x, t)
        eps = net_out if as_noise else (x - np.sqrt(s.ab[t]) * net_out) / np.sqrt(1.0 - s.ab[t])
        p, q = reference.ddim_tables(s, t, steps[i + 1] if i + 1 < len(steps) else None)
        x = p * x + q * eps
    return x


def _kept(seen: FastObservation) -> Finding | None:
    if not seen.changed:
        return None
    return Finding("fast_sample leaves x_T as it is", "x_T unchanged after the call", "changed in place", "fast_sample")


LONG = 12  # timesteps: many divisors
COUNTS = (12, 4, 3)
TS = (0, 1, 6, 11)
SHAPE = (32, 3, 8, 8)
DDPM = "DDPM Eq. 11 with the variance β̃_t, none at t = 0"
TABLES = 2


@dataclass
class ParityObservation(Observation):
    """The configurations of both schedulers, and their steps: coefficients of x_t and of the output."""

    schedules: tuple[Schedule, ...]
    configs: list[list[dict[str, Any]]] = field(default_factory=list)
    sigmas: dict[int, float] = field(default_factory=dict)  # t -> of the DDPM steps, first table


def judge_diffusers_parity(bench: Bench) -> Judgement:
    """Checks pair, ddpm_step, ddim_grid, ddim_jump, last_jump, any_schedule."""
    random = Schedule(bench.rng.uniform(0.02, 0.4, LONG))
    seen = ParityObservation((Schedule.linear(LONG, SHORT["beta_1"], SHORT["beta_T"]), random))
    arrays: Arrays = {"x": bench.normal(*SHAPE), "out": bench.normal(*SHAPE)}
    arrays |= {f"betas.{i}": s.betas.astype(np.float32) for i, s in enumerate(seen.schedules)}
    params = SHORT | {"T": LONG, "tables": TABLES, "counts": list(COUNTS), "ts": list(TS), "seed": bench.seed()}
    names = ["pair", "ddpm_step", "ddim_grid", "ddim_jump", "last_jump", "any_schedule"]
    # The library takes seconds to import, more where the machine is busy.
    answer = asked(lambda: bench.ask("diffusers_schedulers", params, arrays, 3 * bench.policy.limits.probe_s))
    if isinstance(answer, ProbeFailure):
        return Judgement(all_unanswered(names, [0.0] * len(names), unless_left_alone(answer)))
    if not answer.data.get("installed", True):
        text = "not judged: diffusers is not installed where submissions run (pip install diffusers)"
        return Judgement([Check(name, Verdict.SKIPPED, 0.0, 0.0, text) for name in names], remarks=[text])
    seen.configs = [answer.data["configs"].get(str(i), [{}, {}]) for i in range(TABLES)]
    judges: list[Callable[[], Finding | None]] = [
        lambda: _pair(seen),
        lambda: _ddpm(answer, arrays, seen, 0),
        lambda: _grid(answer, 0),
        lambda: _ddim(answer, arrays, seen, 0, last=False),
        lambda: _ddim(answer, arrays, seen, 0, last=True),
        lambda: _any_schedule(answer, arrays, seen),
    ]
    return Judgement([judged(name, 0.0, judge) for name, judge in zip(names, judges, strict=True)], [seen])


def _pair(seen: ParityObservation) -> Finding | None:
    classes = [str(about.get("class")) for about in seen.configs[0]]
    if classes != ["DDPMScheduler", "DDIMScheduler"]:
        return Finding(
            "what diffusers_schedulers returns",
            "a DDPMScheduler and a DDIMScheduler",
            " and ".join(classes),
            "diffusers_schedulers",
        )
    counts = [str(about.get("num_train_timesteps")) for about in seen.configs[0]]
    if counts == [str(LONG)] * 2:
        return None
    return Finding(
        "the schedulers' number of timesteps", f"T = {LONG} for both", " and ".join(counts), "diffusers_schedulers"
    )


def _ddpm(answer: Answer, arrays: Arrays, seen: ParityObservation, table: int) -> Finding | None:
    schedule = seen.schedules[table]
    right = reference.step_tables(schedule, "noise")
    x, out = arrays["x"].astype(float), arrays["out"].astype(float)
    draw = answer.arrays.get("draw", np.zeros(SHAPE)).astype(float)
    for t in TS:
        checked = f"a step of the DDPMScheduler at t = {t} of T = {LONG}"
        of_x, malformed = take(answer, f"ddpm.{table}.{t}.of_x", SHAPE, checked)
        of_zeros, also = take(answer, f"ddpm.{table}.{t}.of_zeros", SHAPE, checked)
        if of_x is None or of_zeros is None:
            return malformed or also
        sigma = float((of_zeros * draw).sum() / max(float((draw * draw).sum()), 1.0))
        if table == 0:
            seen.sigmas[t] = sigma
        wrong = off(of_x - of_zeros, right.a[t] * x + right.b[t] * out, 5 * ATOL)
        if wrong:
            return Finding(checked, "the mean of the lab's step", wrong, "diffusers_schedulers", DDPM)
        if abs(sigma - right.sigma[t]) > 1e-3:
            return Finding(
                checked,
                f"noise of standard deviation {right.sigma[t]:.4f}",
                f"{sigma:.4f}",
                "diffusers_schedulers",
                DDPM,
            )
    return None


def _grid(answer: Answer, table: int) -> Finding | None:
    for count in COUNTS:
        k = LONG // count
        due, got = list(range(LONG - 1, -1, -k)), answer.data.get("grids", {}).get(str(table), {}).get(str(count), [])
        if got != due:
            return Finding(
                f"the timesteps of the DDIMScheduler after set_timesteps({count}), T = {LONG}",
                ", ".join(map(str, due)),
                ", ".join(map(str, got[: LONG + 4])) or "none",
                "diffusers_schedulers",
                "T−1, T−1−k, T−1−2k, …, as fast_sample has it",
            )
    return None


def _ddim(answer: Answer, arrays: Arrays, seen: ParityObservation, table: int, last: bool) -> Finding | None:
    """The jumps between the timesteps that the scheduler has, whichever these are; `last`: those to x_0."""
    x, out = arrays["x"].astype(float), arrays["out"].astype(float)
    for count in COUNTS:
        grid = answer.data.get("grids", {}).get(str(table), {}).get(str(count), [])
        for place, t in enumerate(grid):
            # The library jumps by T // count, and past t = 0 to x_0, wherever its grid lies.
            goal = t - LONG // count
            if not 0 <= t < LONG or (goal < 0) is not last:
                continue
            checked = f"the jump of the DDIMScheduler from t = {t} to {'x_0' if last else f't = {goal}'}, T = {LONG}"
            got, malformed = take(answer, f"ddim.{table}.{count}.{place}", SHAPE, checked)
            if got is None:
                return malformed
            p, q = reference.ddim_tables(seen.schedules[table], t, None if last else goal)
            wrong = off(got, p * x + q * out, 5 * ATOL)
            if wrong:
                return Finding(checked, "the jump of fast_sample", wrong, "diffusers_schedulers", JUMP)
    if not answer.data.get("grids", {}).get(str(table)):
        return Finding("the jumps of the DDIMScheduler", "a jump", "none", "diffusers_schedulers", JUMP)
    return None


def _any_schedule(answer: Answer, arrays: Arrays, seen: ParityObservation) -> Finding | None:
    found = (
        _ddpm(answer, arrays, seen, 1)
        or _ddim(answer, arrays, seen, 1, last=False)
        or _ddim(answer, arrays, seen, 1, last=True)
    )
    if found is None:
        return None
    return Finding(
        f"{found.checked}, for another table of betas", found.expected, found.got, found.where, found.equation
    )
