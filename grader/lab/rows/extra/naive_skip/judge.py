"""Judges `naive_skip`, the sampling loop that takes every k-th of the ordinary steps.

It runs over a stand-in for p_sample. A loop that does not call it, as its author wrote the step into it, is judged by
what its network was shown, each step fitted by x' = p x + q eps_theta + noise.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import numpy as np

from grader.judging.bench import Bench, Judgement
from grader.judging.border import Answer, Count, Expects, Line, Said, Tensor
from grader.judging.comparison import Array, Arrays, take
from grader.judging.draws import odd_draws
from grader.lab import reference
from grader.lab.reference import Schedule
from grader.lab.settings import SHORT
from grader.lab.shared.chain import (
    PAST_T,
    Calls,
    Chain,
    Returned,
    draw_gain,
    of_network,
    of_stand_in,
    offset_table,
)
from grader.lab.shared.companions import judge_companion
from grader.lab.shared.stand_in import draw_network, network_output
from grader.lab.shared.strides import STRIDES, StrideObservation, T, Transition, right_timesteps, transitions
from grader.records import Finding

SKIP = "x_T ~ N(0, I); for t = T−1, T−1−k, T−1−2k, …: x ← the ordinary p_sample(x, t)"
SAMPLES = (4096, 2)
wrong = partial(Finding, where="naive_skip", equation=SKIP)


class SkipSaid(Said):
    """Per stride, as text: the least and the largest t of each call of the step, or how often the network was asked."""

    steps: dict[Line, Calls]
    asked: dict[Line, Count]


@dataclass
class SkipObservation(StrideObservation):
    """The chains, and how they hang together."""

    start: str | None = None  # what is wrong with the first points
    broken: dict[int, str] = field(default_factory=dict)  # stride -> where the chain breaks
    crooked: list[Transition] = field(default_factory=list)  # steps in the loop itself that are not the ordinary one


def judge(bench: Bench) -> Judgement:
    """Checks start, order, ordinary_step."""
    seen = SkipObservation(Schedule.linear(T, SHORT["beta_1"], SHORT["beta_T"]), reference.skipped_timesteps)
    stub: Arrays = {"offset": offset_table(bench, T, SAMPLES[1]), **draw_network(bench, SAMPLES[1])}
    params = SHORT | {"shape": list(SAMPLES), "gain": draw_gain(bench), "ks": list(STRIDES), "seed": bench.seed()}
    shown = [f"shown.{k}.{i}" for k in STRIDES for i in range(4 * (T + PAST_T))]
    asked = [f"net.{k}.{i}.{name}" for k in STRIDES for i in range(3 * T) for name in ("x", "t")]
    expects = Expects.alike([*shown, *asked, *(f"out.{k}" for k in STRIDES)], Tensor(), SkipSaid)

    def ask() -> Answer:
        return _observed(bench.ask("naive_skip", params, stub, expects=expects), stub, params["gain"], bench, seen)

    checks = {
        "start": lambda answer: _start(seen),
        "order": lambda answer: right_timesteps(seen, "naive_skip", "k", SKIP),
        "ordinary_step": lambda answer: _ordinary(answer, seen),
    }
    return judge_companion(ask, seen, checks)


def _observed(answer: Answer, stub: Arrays, gain: float, bench: Bench, seen: SkipObservation) -> Answer:
    for k in STRIDES:
        calls = answer.said.steps.get(str(k), [])
        if calls:
            chain = of_stand_in(answer.arrays, calls, f".{k}")
            _link(k, chain, chain.after_stand_in(gain, stub["offset"]), seen)
        else:
            chain = of_network(answer.arrays, answer.said.asked.get(str(k), 0), f".{k}")
            _follow(k, chain, stub, bench, seen)
        seen.chains[k] = chain
        if chain.start is not None:
            seen.start = seen.start or _not_noise(chain.start)
    return answer


def _not_noise(x: Array) -> str | None:
    odd = odd_draws(x) if x.shape == SAMPLES else f"shape {x.shape}"
    return None if odd is None else str(odd)


def _link(k: int, chain: Chain, after: list[Array], seen: SkipObservation) -> None:
    """Find the first step whose result is not what goes into the next one, or comes back."""
    link = chain.broken_link(after)
    if link is not None:
        seen.broken[k] = f"something else than the result of step {link} goes into step {link + 1}"
    elif chain.returned(after) is not Returned.LAST:
        seen.broken[k] = "not the result of the last step comes back"


def _follow(k: int, chain: Chain, stub: Arrays, bench: Bench, seen: SkipObservation) -> None:
    """Read p, q and sigma off each step, and hold them against the ordinary step's."""
    for i, step in enumerate(transitions(k, chain, partial(network_output, stub), SAMPLES)):
        if step is None:
            seen.broken[k] = f"step {i + 1} is not one of the reverse process"
            return
        seen.transitions.append(step)
        if not any(_is_ordinary(step, seen.schedule, name) for name in bench.policy.reverse_step.variances):
            seen.crooked.append(step)


def _is_ordinary(step: Transition, s: Schedule, variance: str) -> bool:
    right = reference.step_tables(s, "noise", variance)
    slack = 6.0 / np.sqrt(2.0 * np.prod(SAMPLES)) * right.sigma[step.t] + 1e-4  # six standard errors of a spread
    near = abs(step.fit.spread - right.sigma[step.t]) <= slack
    return bool(near and step.takes((right.a[step.t], right.b[step.t]), 1e-4, errors=8.0))


def _start(seen: SkipObservation) -> Finding | None:
    problem = seen.start if seen.took_a_step else "no step was taken"
    checked = f"the points that naive_skip starts from, shape {SAMPLES}"
    return wrong(checked, "draws from N(0, I)", problem) if problem else None


def _ordinary(answer: Answer, seen: SkipObservation) -> Finding | None:
    checked = "each step is the ordinary p_sample, given what the step before returned"
    for k in STRIDES:
        malformed = take(answer, f"out.{k}", SAMPLES, f"the result of naive_skip for k = {k}")[1]
        if malformed:
            return malformed
    if not seen.took_a_step:
        return wrong(checked, "a chain of steps", "no step was taken")
    for k, problem in seen.broken.items():
        return wrong(checked, "an unbroken chain", f"for k = {k}, {problem}")
    for step in seen.crooked:
        right = reference.step_tables(seen.schedule, "noise")
        due = f"{right.a[step.t]:.4f} x + {right.b[step.t]:.4f} ε_θ + {right.sigma[step.t]:.4f} z"
        got = f"{step.p:.4f} x + {step.q:.4f} ε_θ + {step.fit.spread:.4f} z at t = {step.t}"
        return wrong(checked, due, f"{got}, without a call of p_sample")
    return None
