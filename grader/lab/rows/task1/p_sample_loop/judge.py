"""Judges p_sample_loop (DDPM Algorithm 2): from N(0, I), t = T-1 ... 0 once each, what each step gives into the next.

The step is a stand-in with arbitrary coefficients, so that a wrong p_sample costs nothing here. A loop that does not
call p_sample, as its author wrote the step into it, is judged by what its network was shown instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from grader.judging.bench import Bench, Judgement, Observation
from grader.judging.comparison import ATOL, Array, Arrays, take
from grader.judging.draws import OddDraws, odd_draws
from grader.judging.findings import all_unanswered, answered, asked, judged
from grader.lab import reference
from grader.lab.reference import Schedule
from grader.lab.settings import SHORT
from grader.lab.shared.chain import (
    GAIN,
    Chain,
    Returned,
    Slack,
    nearest_index,
    of_network,
    of_stand_in,
    offset_table,
    visited,
)
from grader.lab.shared.stand_in import draw_network, network_output
from grader.records import Finding
from grader.sandbox import Answer, ProbeFailure

SHAPE = (4096, 2)
T = SHORT["T"]
POINTS = {"start": 1.0, "order": 1.5, "chain": 1.0, "no_gradient": 0.5}
ALGORITHM = "x_T ~ N(0, I); for t = T, …, 1: x_{t−1} = μ_θ(x_t, t) + σ_t z   (DDPM Algorithm 2)"

finding = partial(Finding, where="p_sample_loop", equation=ALGORITHM)


@dataclass
class LoopObservation(Observation):
    """The chain of a loop, with what is wrong with it."""

    T: int
    chain: Chain
    odd_start: OddDraws | None
    broken_link: int | None  # first call that was not given what the one before returned
    returned: Returned
    requires_grad: bool


def judge(bench: Bench) -> Judgement:
    """Checks start, order, chain, no_gradient."""
    stub: Arrays = {"offset": offset_table(bench, T, SHAPE[1]), **draw_network(bench, SHAPE[1])}
    params = SHORT | {"shape": list(SHAPE), "gain": GAIN}
    stand_in = asked(lambda: bench.ask("p_sample_loop", params | {"seed": bench.seed()}, stub))
    if isinstance(stand_in, ProbeFailure):
        return Judgement(all_unanswered(list(POINTS), list(POINTS.values()), stand_in))
    inline = asked(lambda: bench.ask("p_sample_loop_inline", params | {"seed": bench.seed()}, stub))
    try:
        seen = _observed(stand_in, inline, stub)
    except ProbeFailure as failure:
        return Judgement(all_unanswered(list(POINTS), list(POINTS.values()), failure))
    judges = {
        "start": lambda: _start(seen),
        "order": lambda: _order(seen),
        "chain": lambda: _chain(stand_in, seen),
        "no_gradient": lambda: _no_gradient(seen),
    }
    return Judgement([judged(name, POINTS[name], judge) for name, judge in judges.items()], [seen])


def _observed(stand_in: Answer, inline: Answer | ProbeFailure, stub: Arrays) -> LoopObservation:
    """What the stand-in step saw; of a loop that did not call it, what the network saw. Raises ProbeFailure."""
    # The lab's decorator on p_sample keeps no gradient either: only a loop that keeps one both ways is wrong.
    keeps = bool(stand_in.data["requires_grad"]) and (
        isinstance(inline, ProbeFailure) or bool(inline.data["requires_grad"])
    )
    if stand_in.data["steps"]:
        chain = of_stand_in(stand_in.arrays, stand_in.data["steps"])
        return _linked(chain, chain.after_stand_in(stub["offset"]), lambda k: ATOL, keeps)
    answer = answered(inline)
    chain = of_network(answer.arrays, answer.data["network_calls"])
    return _linked(chain, _means(chain, stub), partial(_noise, chain.ts), keeps)


def _linked(chain: Chain, after: Sequence[Array], slack: Slack, keeps: bool) -> LoopObservation:
    start = chain.start
    odd = odd_draws(start) if start is not None and start.shape == SHAPE else None
    return LoopObservation(T, chain, odd, chain.broken_link(after, slack), chain.returned(after, slack), keeps)


def _means(chain: Chain, stub: Arrays) -> list[Array]:
    """The mean of each step that the author wrote into the loop, recomputed from what the network was shown."""
    tables = reference.step_tables(_schedule(), "noise")
    found = []
    for x, step in zip(chain.states, chain.ts, strict=True):
        t = nearest_index(step, T)
        found.append(tables.a[t] * x + tables.b[t] * network_output(stub, x, t))
    return found


def _noise(ts: Sequence[float], k: int) -> float:
    """How far the noise of step k reaches, of either variance, in 4096 draws."""
    t = nearest_index(ts[k], T)
    return ATOL if t == 0 else 6.0 * float(np.sqrt(_schedule().betas[t]))


def _schedule() -> Schedule:
    return Schedule.linear(T, SHORT["beta_1"], SHORT["beta_T"])


def _start(seen: LoopObservation) -> Finding | None:
    checked, start = f"the points that p_sample_loop starts from, shape {SHAPE}", seen.chain.start
    if start is None:
        return finding(checked, "draws from N(0, I)", "the loop took no step")
    if start.shape != SHAPE:
        return finding(checked, f"shape {SHAPE}", f"shape {start.shape}")
    return finding(checked, "draws from N(0, I)", seen.odd_start.text) if seen.odd_start else None


def _order(seen: LoopObservation) -> Finding | None:
    if seen.chain.ts == [float(t) for t in reversed(range(T))]:
        return None
    checked = f"the timesteps that the loop visits, T = {T}"
    return finding(checked, f"{T - 1}, {T - 2}, …, 1, 0, once each", visited(seen.chain.ts, T))


def _chain(answer: Answer, seen: LoopObservation) -> Finding | None:
    checked = "each step is given what the step before returned, and the last result comes back"
    out, malformed = take(answer, "out", SHAPE, checked)
    if out is None:
        return malformed
    if len(seen.chain.ts) < 2:
        return finding(checked, "a chain of steps", "a single step" if seen.chain.ts else "no step at all")
    if (k := seen.broken_link) is not None:
        return finding(checked, f"x after step {k} goes into step {k + 1}", "something else went in")
    if seen.returned is not Returned.LAST:
        return finding(checked, "the result of the last step, unchanged", seen.returned.value)
    return None


def _no_gradient(seen: LoopObservation) -> Finding | None:
    checked = "p_sample_loop keeps no gradient"
    if not seen.chain.ts:
        return finding(checked, "a loop of reverse steps without gradient history", "no step at all")
    if not seen.requires_grad:
        return None
    return finding(
        checked,
        "a result without gradient history",
        "a result that requires a gradient: T steps of activations stay in memory",
        equation="torch.no_grad() around the loop",
    )
