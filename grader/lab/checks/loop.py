"""Judges p_sample_loop (DDPM Algorithm 2): from N(0, I), t = T-1 ... 0 once each, what each step gives into the next.

The step is a stand-in with arbitrary coefficients, so that a wrong p_sample costs nothing here. A loop that does not
call p_sample, as its author wrote the step into it, is judged by what its network was shown instead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from grader.judging.bench import Bench, Judgement, Observation
from grader.judging.comparison import Array, Arrays, off, take
from grader.judging.draws import as_text, odd_draws
from grader.judging.findings import all_unanswered, answered, asked, judged
from grader.lab import reference
from grader.lab.checks.forward import network_coefficients
from grader.lab.reference import Schedule
from grader.lab.settings import SHORT
from grader.records import Finding
from grader.sandbox import Answer, ProbeFailure

SHAPE = (4096, 2)
GAIN = 0.75
T = SHORT["T"]
POINTS = {"start": 1.0, "order": 1.5, "chain": 1.0, "no_gradient": 0.5}
ALGORITHM = "x_T ~ N(0, I); for t = T, …, 1: x_{t−1} = μ_θ(x_t, t) + σ_t z   (DDPM Algorithm 2)"


@dataclass
class LoopObservation(Observation):
    """The steps that a loop took (one t each; NaN where a call mixed several), its start and its links."""

    T: int
    steps: list[float]
    start: Array | None = None
    start_problem: str | None = None
    broken_link: int | None = None  # first call that was not given what the one before returned
    returned: str = "last"  # "last", "first", "earlier", "other": which state came back
    requires_grad: bool = False


def judge_p_sample_loop(bench: Bench) -> Judgement:
    """Checks start, order, chain, no_gradient."""
    offset = bench.normal(T + 3, SHAPE[1])
    offset[0] = np.sign(offset[0]) * 8  # the last step leads far from [-1, 1], so that a clamped result shows
    stub = {"offset": offset, **network_coefficients(bench, SHAPE[1])}
    params = SHORT | {"shape": list(SHAPE), "gain": GAIN}
    stand_in = asked(lambda: bench.ask("p_sample_loop", params | {"seed": bench.seed()}, stub))
    if isinstance(stand_in, ProbeFailure):
        return Judgement(all_unanswered(list(POINTS), list(POINTS.values()), stand_in))
    inline = asked(lambda: bench.ask("p_sample_loop_inline", params | {"seed": bench.seed()}, stub))
    if stand_in.data["steps"]:
        seen = _observe_stand_in(stand_in, offset)
    else:
        answer = answered(inline) if not isinstance(inline, ProbeFailure) else None
        if answer is None:
            return Judgement(all_unanswered(list(POINTS), list(POINTS.values()), inline))  # type: ignore[arg-type]
        seen = _observe_inline(answer, stub)
    # The lab's decorator on p_sample keeps no gradient either: only a loop that keeps one both ways is wrong.
    seen.requires_grad = bool(stand_in.data["requires_grad"]) and (
        isinstance(inline, ProbeFailure) or bool(inline.data["requires_grad"])
    )
    judges = {
        "start": lambda: _start(stand_in, seen),
        "order": lambda: _order(seen),
        "chain": lambda: _chain(stand_in, seen),
        "no_gradient": lambda: _no_gradient(seen),
    }
    return Judgement([judged(name, POINTS[name], judge) for name, judge in judges.items()], [seen])


def _observe_stand_in(answer: Answer, offset: NDArray[np.float32]) -> LoopObservation:
    steps = [low if low == high else np.nan for low, high in answer.data["steps"]]
    shown = [answer.arrays[f"shown.{k}"].astype(float) for k in range(len(steps)) if f"shown.{k}" in answer.arrays]
    seen = LoopObservation(T, steps, start=shown[0] if shown else None)
    table = np.asarray(offset, dtype=float)
    after = [
        GAIN * x + table[int(np.clip(np.nan_to_num(t), 0, len(table) - 1))] for x, t in zip(shown, steps, strict=False)
    ]
    _link(seen, shown, after, answer.arrays["out"].astype(float), lambda k: 1e-4)
    return seen


def _observe_inline(answer: Answer, stub: Arrays) -> LoopObservation:
    """Without a stand-in step: the network saw x_t and t, so that mean and noise of each step can be recomputed."""
    calls = range(answer.data["network_calls"])
    shown = [answer.arrays[f"net.{k}.x"].astype(float) for k in calls if f"net.{k}.x" in answer.arrays]
    asked_at = [answer.arrays[f"net.{k}.t"] for k in calls if f"net.{k}.t" in answer.arrays]
    steps = [float(t[0]) if np.ptp(t) == 0 else np.nan for t in asked_at]
    seen = LoopObservation(T, steps, start=shown[0] if shown else None)
    schedule = Schedule.linear(T, SHORT["beta_1"], SHORT["beta_T"])
    tables = reference.step_tables(schedule, "noise")
    after = []
    for x, step in zip(shown, steps, strict=True):
        t = int(np.clip(np.nan_to_num(step), 0, T - 1))
        weight, slope, bias = (stub[name].astype(float) for name in ("weight", "slope", "bias"))
        after.append(tables.a[t] * x + tables.b[t] * (x @ weight.T + t * slope + bias))
    largest = 6.0 * np.sqrt(schedule.betas)  # noise of either variance, as far as 4096 draws reach

    def slack(k: int) -> float:
        t = int(np.clip(np.nan_to_num(steps[k]), 0, T - 1))
        return 1e-4 if t == 0 else float(largest[t])

    _link(seen, shown, after, answer.arrays["out"].astype(float), slack)
    return seen


def _link(
    seen: LoopObservation, shown: list[Array], after: list[Array], out: Array, slack: Callable[[int], float]
) -> None:
    """Find the first state that does not follow from the one before, and which state was returned."""
    for k in range(1, len(shown)):
        if shown[k].shape != after[k - 1].shape or off(shown[k], after[k - 1], slack(k - 1)):
            seen.broken_link = k
            break
    if not shown or out.shape != shown[0].shape:
        seen.returned = "other"
    elif off(out, after[-1], slack(len(after) - 1)) is None:
        seen.returned = "last"
    elif np.array_equal(out, shown[0]):
        seen.returned = "first"
    else:
        seen.returned = "earlier" if any(off(out, state) is None for state in shown[1:] + after[:-1]) else "other"


def _start(answer: Answer, seen: LoopObservation) -> Finding | None:
    checked = f"the points that p_sample_loop starts from, shape {SHAPE}"
    if seen.start is None:
        return Finding(checked, "draws from N(0, I)", "the loop took no step", "p_sample_loop", ALGORITHM)
    if seen.start.shape != SHAPE:
        return Finding(checked, f"shape {SHAPE}", f"shape {seen.start.shape}", "p_sample_loop", ALGORITHM)
    seen.start_problem = as_text(odd_draws(seen.start))
    if seen.start_problem is None:
        return None
    return Finding(checked, "draws from N(0, I)", seen.start_problem, "p_sample_loop", ALGORITHM)


def _order(seen: LoopObservation) -> Finding | None:
    if seen.steps == [float(t) for t in reversed(range(T))]:
        return None
    shown = ", ".join("mixed" if np.isnan(t) else f"{t:g}" for t in seen.steps[: T + 4]) or "none"
    return Finding(
        f"the timesteps that the loop visits, T = {T}",
        f"{T - 1}, {T - 2}, …, 1, 0, once each",
        shown + (", …" if len(seen.steps) > T + 4 else ""),
        "p_sample_loop",
        ALGORITHM,
    )


def _chain(answer: Answer, seen: LoopObservation) -> Finding | None:
    checked = "each step is given what the step before returned, and the last result comes back"
    out, malformed = take(answer, "out", SHAPE, checked)
    if out is None:
        return malformed
    if len(seen.steps) < 2:
        return Finding(
            checked, "a chain of steps", "a single step" if seen.steps else "no step at all", "p_sample_loop", ALGORITHM
        )
    if seen.broken_link is not None:
        return Finding(
            checked,
            f"x after step {seen.broken_link} goes into step {seen.broken_link + 1}",
            "something else went in",
            "p_sample_loop",
            ALGORITHM,
        )
    if seen.returned != "last":
        named = {"first": "the points it started from", "earlier": "an earlier state"}
        what = named.get(seen.returned, "something else")
        return Finding(checked, "the result of the last step, unchanged", what, "p_sample_loop", ALGORITHM)
    return None


def _no_gradient(seen: LoopObservation) -> Finding | None:
    if not seen.steps:
        return Finding(
            "p_sample_loop keeps no gradient",
            "a loop of reverse steps without gradient history",
            "no step at all",
            "p_sample_loop",
            ALGORITHM,
        )
    if not seen.requires_grad:
        return None
    return Finding(
        "p_sample_loop keeps no gradient",
        "a result without gradient history",
        "a result that requires a gradient: T steps of activations stay in memory",
        "p_sample_loop",
        "torch.no_grad() around the loop",
    )
