"""Judges `fast_sample`, the deterministic sampler that visits every k-th timestep.

It runs over a stand-in network; each of its jumps is fitted by x' = p x + q eps_theta. The stand-in's tables keep the
predicted x_0 inside [-1, 1], so that a sampler that clamps it is right as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from grader.judging.bench import Bench, Judgement
from grader.judging.border import Answer, Expects, Line, Said, Tensor
from grader.judging.comparison import ATOL, Array, Arrays, off, take
from grader.lab import reference
from grader.lab.reference import Schedule
from grader.lab.settings import SHORT
from grader.lab.shared.chain import Calls, of_stand_in
from grader.lab.shared.companions import inputs_kept, judge_companion
from grader.lab.shared.strides import STRIDES, StrideObservation, T, Transition, right_timesteps, transitions
from grader.records import Finding

JUMP = "x_s = √ᾱ_s x̂_0 + √(1 − ᾱ_s) ε_θ, x̂_0 = (x_t − √(1 − ᾱ_t) ε_θ)/√ᾱ_t, ᾱ_s = 1 past t = 0   (DDIM Eq. 9, 12)"
MULTIPLES = (
    "fast_sample visits the multiples of k: it takes pure noise, which is what x is at T − 1, for x at a smaller t"
)
IMAGES = (4, 3, 8, 8)
SLOPE, SHARE = 0.05, 0.5  # of the stand-in's x_0: of x_t, and of a pattern in [-1, 1]
wrong = partial(Finding, where="fast_sample", equation=JUMP)


class FastSaid(Said):
    """Per stride, as text, the least and the largest t of each call of the network; for the predictor "x0" as well, or
    why that did not work."""

    steps: dict[Line, Calls]
    x0_steps: dict[Line, Calls]
    x0_problem: Line = ""


@dataclass
class FastObservation(StrideObservation):
    """The jumps, and what else was seen."""

    redrawn: bool = False  # the network was not shown x_T first
    unsteady: bool = False  # another result under another global seed
    changed: tuple[str, ...] = ()
    x0_treated_as_noise: bool = False


def judge(bench: Bench) -> Judgement:
    """Checks start, timesteps, jumps, last_jump, deterministic, other_predictors, inputs_kept."""
    seen = FastObservation(Schedule.linear(T, SHORT["beta_1"], SHORT["beta_T"]), reference.fast_timesteps)
    stub = _stub(bench, seen.schedule)
    params = SHORT | {"ks": list(STRIDES), "seeds": [bench.seed(), bench.seed()]}
    checks = {
        "start": lambda answer: _start(answer, seen),
        "timesteps": lambda answer: right_timesteps(seen, "fast_sample", "every", JUMP),
        "jumps": lambda answer: _jumps(seen, last=False),
        "last_jump": lambda answer: _jumps(seen, last=True),
        "deterministic": lambda answer: _deterministic(seen),
        "other_predictors": lambda answer: _other_predictors(answer, stub, seen),
        "inputs_kept": lambda answer: inputs_kept("fast_sample", seen.changed),
    }
    shown = [f"shown.{k}.{i}" for k in STRIDES for i in range(3 * T)]
    results = [f"{name}.{k}" for k in STRIDES for name in ("out", "after", "again", "x0")]
    expects = Expects.alike([*shown, *results], Tensor(), FastSaid)

    def ask() -> Answer:
        return _observed(bench.ask("fast_sample", params, stub, expects=expects), stub, seen)

    judgement = judge_companion(ask, seen, checks)
    if any(chain.ts == [*range(0, T, k)][::-1] and chain.ts[0] != T - 1 for k, chain in seen.chains.items()):
        judgement.remarks.append(MULTIPLES)
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
        "betas": s.betas,
    }
    x, pattern = np.clip(bench.normal(*IMAGES), -3, 3), bench.uniform(-1.0, 1.0, *IMAGES[1:])
    return {"x": x, "pattern": pattern} | {name: table.astype(np.float32) for name, table in tables.items()}


def _network(stub: Arrays, kind: str, x: Array, t: int) -> Array:
    gain, shift = stub[f"gain.{kind}"].astype(float)[t], stub[f"shift.{kind}"].astype(float)[t]
    return np.asarray(gain * x + shift * stub["pattern"].astype(float))


def _observed(answer: Answer, stub: Arrays, seen: FastObservation) -> Answer:
    for k in STRIDES:
        chain = of_stand_in(answer.arrays, answer.said.steps.get(str(k), []), f".{k}")
        result, again = (take(answer, f"{name}.{k}", IMAGES, "")[0] for name in ("out", "again"))
        start = chain.start
        seen.chains[k] = chain
        seen.redrawn |= start is not None and (start.shape != IMAGES or off(start, stub["x"].astype(float)) is not None)
        seen.unsteady |= result is not None and again is not None and off(again, result) is not None
        if not np.array_equal(answer.arrays.get(f"after.{k}", np.empty(0)), stub["x"]):
            seen.changed = ("x_T",)
        steps = transitions(k, chain, partial(_network, stub, "noise"), IMAGES)
        seen.transitions += [step for step in steps if step is not None]
    return answer


def _start(answer: Answer, seen: FastObservation) -> Finding | None:
    for k in STRIDES:
        malformed = take(answer, f"out.{k}", IMAGES, f"the result of fast_sample with every = {k}")[1]
        if malformed:
            return malformed
    if not seen.took_a_step:
        return wrong("what the network is shown first", "x_T", "no call of the network")
    return (
        wrong("what the network is shown first", "the x_T that was passed in", "something else")
        if seen.redrawn
        else None
    )


def right_jump(jump: Transition, s: Schedule) -> bool:
    """Whether a jump is the deterministic one between the timesteps that were visited."""
    return jump.exact and jump.takes(reference.ddim_tables(s, jump.t, jump.following), 5 * ATOL)


def _jumps(seen: FastObservation, last: bool) -> Finding | None:
    jumps = [jump for jump in seen.transitions if (jump.following is None) is last]
    checked = "the last jump, which leads to x_0" if last else "each jump to the next timestep that is visited"
    for jump in jumps:
        if right_jump(jump, seen.schedule):
            continue
        p, q = reference.ddim_tables(seen.schedule, jump.t, jump.following)
        rest = "" if jump.exact else f" and up to {jump.fit.residual:.3g} that neither explains"
        got = f"{jump.p:.4f} x_t {jump.q:+.4f} ε_θ{rest}"
        goal = "x_0" if last else f"t = {jump.following}"
        where = f"fast_sample, every = {jump.k}, from t = {jump.t} to {goal} of T = {T}"
        return wrong(checked, f"{p:.4f} x_t {q:+.4f} ε_θ", got, where=where)
    return None if jumps else wrong(checked, "a jump", "none that could be followed")


def _deterministic(seen: FastObservation) -> Finding | None:
    if not seen.unsteady:
        return None
    return wrong("fast_sample called twice with the same x_T", "the same images", "others: it draws random numbers")


def _other_predictors(answer: Answer, stub: Arrays, seen: FastObservation) -> Finding | None:
    checked = 'fast_sample with predictor="x0", for a network whose output is x_0'
    if answer.said.x0_problem:
        return wrong(checked, "images", answer.said.x0_problem)
    for k in STRIDES:
        got, malformed = take(answer, f"x0.{k}", IMAGES, checked)
        if got is None:
            return malformed
        steps = [int(low) for low, _ in answer.said.x0_steps.get(str(k), []) if 0 <= low < T]
        differs = off(got, _replayed(seen.schedule, stub, steps, as_noise=False), 1e-3)
        if differs:
            seen.x0_treated_as_noise = off(got, _replayed(seen.schedule, stub, steps, as_noise=True), 1e-3) is None
            return wrong(f"{checked}, every = {k}", "the jumps through that x_0", differs)
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
