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
from grader.judging.border import Answer, Count, Expects, Said, Tensor
from grader.judging.comparison import ATOL, Array, Arrays, take
from grader.judging.draws import OddDraws, odd_draws
from grader.judging.findings import all_unanswered, answered, asked, judged
from grader.lab import reference
from grader.lab.settings import Setting
from grader.lab.shared.chain import (
    PAST_T,
    Calls,
    Chain,
    Returned,
    Slack,
    draw_gain,
    nearest_index,
    of_network,
    of_stand_in,
    offset_table,
    visited,
)
from grader.lab.shared.stand_in import draw_network, network_output
from grader.records import Finding
from grader.sandbox import ProbeFailure

FEATURES = 2
MOST_STEPS = 4  # times the length of the stand-in's table: what it records at most
POINTS = {"start": 1.0, "order": 1.5, "chain": 1.0, "no_gradient": 0.5}
ALGORITHM = "x_T ~ N(0, I); for t = T, …, 1: x_{t−1} = μ_θ(x_t, t) + σ_t z   (DDPM Algorithm 2)"

finding = partial(Finding, where="p_sample_loop", equation=ALGORITHM)


class LoopSaid(Said):
    """The least and the largest t of each call of the step, and whether the result keeps a gradient."""

    steps: Calls
    requires_grad: bool


class InlineSaid(Said):
    """How often the network was asked, and whether the result keeps a gradient."""

    network_calls: Count
    requires_grad: bool


@dataclass(frozen=True)
class Loop:
    """What the loop is asked with: its schedule, the shape of the points, the stand-ins' coefficients."""

    setting: Setting
    shape: tuple[int, int]
    gain: float
    stub: Arrays

    @property
    def T(self) -> int:
        return self.setting.T

    @classmethod
    def draw(cls, bench: Bench) -> Loop:
        setting, shape = Setting.short(bench.rng), (int(bench.rng.integers(3000, 5000)), FEATURES)
        stub: Arrays = {"offset": offset_table(bench, setting.T, FEATURES), **draw_network(bench, FEATURES)}
        return cls(setting, shape, draw_gain(bench), stub)

    def ask(self, bench: Bench, probe: str, said: type[Said], recorded: dict[str, Tensor]) -> Answer | ProbeFailure:
        """The answer of one of the two probes, whose records `recorded` names."""
        params = self.setting.params | {"shape": list(self.shape), "gain": self.gain, "seed": bench.seed()}
        return asked(lambda: bench.ask(probe, params, self.stub, expects=Expects({"out": Tensor()} | recorded, said)))


@dataclass
class LoopObservation(Observation):
    """The chain of a loop, with what is wrong with it."""

    T: int
    shape: tuple[int, int]
    chain: Chain
    odd_start: OddDraws | None
    broken_link: int | None  # first call that was not given what the one before returned
    returned: Returned
    requires_grad: bool


def judge(bench: Bench) -> Judgement:
    """Checks start, order, chain, no_gradient."""
    loop = Loop.draw(bench)
    shown = {f"shown.{k}": Tensor() for k in range(MOST_STEPS * (loop.T + PAST_T))}
    stand_in = loop.ask(bench, "p_sample_loop", LoopSaid, shown)
    if isinstance(stand_in, ProbeFailure):
        return Judgement(all_unanswered(list(POINTS), list(POINTS.values()), stand_in))
    of_network = {f"net.{k}.{name}": Tensor() for k in range(3 * loop.T) for name in ("x", "t")}
    inline = loop.ask(bench, "p_sample_loop_inline", InlineSaid, of_network)
    try:
        seen = _observed(stand_in, inline, loop)
    except ProbeFailure as failure:
        return Judgement(all_unanswered(list(POINTS), list(POINTS.values()), failure))
    judges = {
        "start": lambda: _start(seen),
        "order": lambda: _order(seen),
        "chain": lambda: _chain(stand_in, seen),
        "no_gradient": lambda: _no_gradient(seen),
    }
    return Judgement([judged(name, POINTS[name], judge) for name, judge in judges.items()], [seen])


def _observed(stand_in: Answer, inline: Answer | ProbeFailure, loop: Loop) -> LoopObservation:
    """What the stand-in step saw; of a loop that did not call it, what the network saw. Raises ProbeFailure."""
    # The lab's decorator on p_sample keeps no gradient either: only a loop that keeps one both ways is wrong.
    keeps = stand_in.said.requires_grad and (isinstance(inline, ProbeFailure) or inline.said.requires_grad)
    if stand_in.said.steps:
        chain = of_stand_in(stand_in.arrays, stand_in.said.steps)
        return _linked(loop, chain, chain.after_stand_in(loop.gain, loop.stub["offset"]), lambda k: ATOL, keeps)
    answer = answered(inline)
    chain = of_network(answer.arrays, answer.said.network_calls)
    return _linked(loop, chain, _means(chain, loop), partial(_noise, loop, chain.ts), keeps)


def _linked(loop: Loop, chain: Chain, after: Sequence[Array], slack: Slack, keeps: bool) -> LoopObservation:
    start = chain.start
    odd = odd_draws(start) if start is not None and start.shape == loop.shape else None
    broken, returned = chain.broken_link(after, slack), chain.returned(after, slack)
    return LoopObservation(loop.T, loop.shape, chain, odd, broken, returned, keeps)


def _means(chain: Chain, loop: Loop) -> list[Array]:
    """The mean of each step that the author wrote into the loop, recomputed from what the network was shown."""
    tables = reference.step_tables(loop.setting.schedule, "noise")
    found = []
    for x, step in zip(chain.states, chain.ts, strict=True):
        t = nearest_index(step, loop.T)
        found.append(tables.a[t] * x + tables.b[t] * network_output(loop.stub, x, t))
    return found


def _noise(loop: Loop, ts: Sequence[float], k: int) -> float:
    """How far the noise of step k reaches, of either variance, in some thousand draws."""
    t = nearest_index(ts[k], loop.T)
    return ATOL if t == 0 else 6.0 * float(np.sqrt(loop.setting.schedule.betas[t]))


def _start(seen: LoopObservation) -> Finding | None:
    checked, start = f"the points that p_sample_loop starts from, shape {seen.shape}", seen.chain.start
    if start is None:
        return finding(checked, "draws from N(0, I)", "the loop took no step")
    if start.shape != seen.shape:
        return finding(checked, f"shape {seen.shape}", f"shape {start.shape}")
    return finding(checked, "draws from N(0, I)", seen.odd_start.text) if seen.odd_start else None


def _order(seen: LoopObservation) -> Finding | None:
    T = seen.T
    if seen.chain.ts == [float(t) for t in reversed(range(T))]:
        return None
    checked = f"the timesteps that the loop visits, T = {T}"
    return finding(checked, f"{T - 1}, {T - 2}, …, 1, 0, once each", visited(seen.chain.ts, T))


def _chain(answer: Answer, seen: LoopObservation) -> Finding | None:
    checked = "each step is given what the step before returned, and the last result comes back"
    out, malformed = take(answer, "out", seen.shape, checked)
    if out is None:
        return malformed
    if len(seen.chain.ts) < 2:
        return finding(checked, "a chain of steps", "a single step" if seen.chain.ts else "no step at all")
    if not seen.chain.known(MOST_STEPS * (seen.T + PAST_T)):
        return finding(checked, "a chain of steps", f"{len(seen.chain.states)} states for {len(seen.chain.ts)} steps")
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
