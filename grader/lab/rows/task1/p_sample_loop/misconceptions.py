"""Misconceptions about the sampling loop."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from grader.judging.comparison import Array
from grader.judging.diagnosis import about
from grader.lab.rows.task1.p_sample_loop.judge import ALGORITHM, LoopObservation
from grader.lab.shared.chain import Returned


def _visits(steps: Callable[[int], list[int]]) -> Callable[[LoopObservation], bool]:
    return lambda seen: seen.chain.ts == [float(t) for t in steps(seen.T)]


def _start_is(test: Callable[[Array], bool]) -> Callable[[LoopObservation], bool]:
    return lambda seen: seen.chain.start is not None and seen.odd_start is not None and test(seen.chain.start)


def _at_random(seen: LoopObservation) -> bool:
    """At least as many steps as there are timesteps, neither counted up nor down."""
    ts = seen.chain.ts
    return len(ts) >= seen.T and sorted(ts) != ts and any(b - a != -1 for a, b in pairwise(ts))


def _down(first: int, last: int) -> list[int]:
    return list(range(first, last - 1, -1))


CATALOGUE = about(
    ALGORITHM,
    (
        "loop-upwards",
        "the loop runs from t = 0 up to T − 1",
        "Sampling starts where the forward process ends: at pure noise, t = T − 1.",
        _visits(lambda T: list(range(T))),
    ),
    (
        "loop-stops-at-1",
        "the loop stops at t = 1 and never takes the step at t = 0",
        "range leaves out its end. Code t = 0 is the paper's t = 1, and that step belongs to the loop.",
        _visits(lambda T: _down(T - 1, 1)),
    ),
    (
        "loop-starts-at-T",
        "the loop starts at t = T, which the tables do not hold",
        "Code t runs over 0 … T − 1: the paper's T is T − 1 here.",
        lambda seen: bool(seen.chain.ts) and seen.chain.ts[0] == seen.T,
    ),
    (
        "loop-skips-the-first-step",
        "the loop starts below t = T − 1",
        "x_T is pure noise, and the first reverse step is the one at t = T − 1.",
        lambda seen: bool(seen.chain.ts) and seen.chain.ts == [float(t) for t in _down(seen.T - 2, 0)],
    ),
    (
        "loop-one-step",
        "a single step is taken",
        "One reverse step leads from t to t − 1. How many lead from noise to a sample?",
        lambda seen: len(seen.chain.ts) == 1,
    ),
    (
        "loop-random-t",
        "the timesteps are drawn at random",
        "A random t is for training. Sampling visits every t in turn, from the noisiest on.",
        _at_random,
    ),
    (
        "loop-without-steps",
        "no reverse step is taken",
        "The loop returns its starting points: call the reverse step at every t.",
        lambda seen: not seen.chain.ts,
    ),
    (
        "start-from-zeros",
        "sampling starts from a constant instead of noise",
        "x_T is drawn from N(0, I): the randomness at the start is what makes samples differ.",
        _start_is(lambda x: bool(np.ptp(x) == 0)),
    ),
    (
        "start-from-uniform",
        "sampling starts from uniform noise",
        "rand draws from a uniform distribution on [0, 1], randn from N(0, 1).",
        _start_is(lambda x: x.min() >= 0 and 0.9 < x.max() <= 1),
    ),
    (
        "start-shared",
        "all samples start from the same point",
        "x_T has the full shape that is asked for: a fresh draw for every coordinate of every sample.",
        lambda seen: seen.odd_start is not None and seen.odd_start.kind.is_shared,
    ),
    (
        "start-not-standard",
        "the starting noise is not standard Gaussian",
        "At t = T − 1 the forward process has mean 0 and variance 1. Start there, without scaling.",
        lambda seen: seen.odd_start is not None,
    ),
    (
        "step-result-dropped",
        "the result of a step does not go into the next one",
        "Each step must be given what the step before returned. Check which variable you pass and which you assign.",
        lambda seen: seen.broken_link is not None,
    ),
    (
        "loop-returns-another-state",
        "not the result of the last step is returned",
        "The sample is what the step at t = 0 returns, with nothing added and nothing taken.",
        lambda seen: bool(seen.chain.ts) and seen.returned is not Returned.LAST,
    ),
    (
        "loop-keeps-gradient",
        "the loop records gradients",
        "Sampling needs no gradient. With it, the activations of all T steps stay in memory.",
        lambda seen: seen.requires_grad,
    ),
)
