"""Loops that skip timesteps, `naive_skip` and `fast_sample`: what they visit for several strides k, and their steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from grader.judging.bench import Observation
from grader.judging.comparison import Array
from grader.judging.diagnosis import Misconception, about
from grader.judging.fits import Fit, fit
from grader.lab.reference import Schedule
from grader.lab.settings import SHORT
from grader.lab.shared.chain import Chain, visited
from grader.records import Finding

T = SHORT["T"]
STRIDES = (1, 3, 4)  # 3 divides T - 1, so that its grid ends at t = 0; that of 4 ends at t = 1


@dataclass(frozen=True)
class Transition:
    """A step x' = p x + q eps_theta + rest from t to `following`, the next timestep visited; None: to the result."""

    k: int
    t: int
    following: int | None
    fit: Fit

    @property
    def p(self) -> float:
        return self.fit.coefficients[0]

    @property
    def q(self) -> float:
        return self.fit.coefficients[1]

    @property
    def exact(self) -> bool:
        """Whether x and eps_theta explain all of x'."""
        return self.fit.residual < 1e-3

    def takes(self, right: tuple[float, float], slack: float = 1e-3, errors: float = 0.0) -> bool:
        """Whether (p, q) are the ones given, to `slack` and so many standard errors."""
        pairs = zip(self.fit.coefficients, right, self.fit.errors, strict=True)
        return all(abs(got - due) <= slack + errors * error for got, due, error in pairs)


@dataclass
class StrideObservation(Observation):
    """The chain of each stride, and its steps as far as they could be fitted."""

    schedule: Schedule
    grids: Callable[[int, int], tuple[list[int], ...]]  # of T and k: the timesteps that are right to visit
    chains: dict[int, Chain] = field(default_factory=dict)
    transitions: list[Transition] = field(default_factory=list)

    @property
    def off_grid(self) -> dict[int, list[float]]:
        """The timesteps of the strides whose timesteps are wrong."""
        return {k: chain.ts for k, chain in self.chains.items() if chain.ts not in self.grids(T, k)}

    @property
    def took_a_step(self) -> bool:
        return any(chain.ts for chain in self.chains.values())


def transitions(
    k: int, chain: Chain, network: Callable[[Array, int], Array], shape: tuple[int, ...]
) -> list[Transition | None]:
    """Each step of a chain, fitted by x and what the network answered; None where x or t is none that one could fit."""
    found: list[Transition | None] = []
    for i, (x, after) in enumerate(pairwise([*chain.states, chain.result])):
        ts = [int(t) for t in chain.ts[i : i + 2] if t in range(T)]
        usable = all(state.shape == shape and np.isfinite(state).all() for state in (x, after))
        usable = usable and len(ts) == len(chain.ts[i : i + 2])
        found.append(Transition(k, ts[0], (*ts, None)[1], fit(after, x, network(x, ts[0]))) if usable else None)
    return found


def right_timesteps(seen: StrideObservation, function: str, stride: str, equation: str) -> Finding | None:
    """Whether all strides visit one of their grids."""
    for k, ts in seen.off_grid.items():
        ways = [", ".join(map(str, way)) for way in seen.grids(T, k) if way[0] == T - 1]
        checked = f"the timesteps that {function} visits for {stride} = {k}, T = {T}"
        return Finding(checked, " or ".join(dict.fromkeys(ways)), visited(ts, T), function, equation)
    return None


def visits(test: Callable[[list[float], int], bool]) -> Callable[[Any], bool]:
    """Matches where `test` of timesteps and k holds for every stride above 1 whose timesteps are wrong."""

    def matches(seen: StrideObservation) -> bool:
        wrong = [(ts, k) for k, ts in seen.off_grid.items() if k > 1 and ts]
        return bool(wrong) and all(test(ts, k) for ts, k in wrong)

    return matches


def stride_misconceptions(prefix: str, equation: str) -> tuple[Misconception, ...]:
    """What wrong timesteps may mean, whatever the step between them is."""
    return about(
        equation,
        (
            f"{prefix}-not-skipping",
            "every timestep is visited",
            "With a stride of k it takes about T/k steps.",
            visits(lambda ts, k: ts == [*range(T)][::-1]),
        ),
        (
            f"{prefix}-upwards",
            "the loop runs from small t to large ones",
            "Sampling starts where the forward process ends: at pure noise, t = T − 1.",
            visits(lambda ts, k: len(ts) > 1 and ts == sorted(ts)),
        ),
        (
            f"{prefix}-starts-elsewhere",
            "the loop does not start at t = T − 1",
            "What it starts from is pure noise, which is what x has at t = T − 1: count down from there.",
            visits(lambda ts, k: ts[0] != T - 1 and all(a - b == k for a, b in pairwise(ts[:-1]))),
        ),
        (
            f"{prefix}-other-stride",
            "the timesteps visited are not k apart",
            "From T − 1 on, each timestep is the one before it minus k.",
            visits(lambda ts, k: ts[0] == T - 1 and any(a - b != k for a, b in pairwise(ts))),
        ),
    )
