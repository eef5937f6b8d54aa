"""What a wrong `naive_skip` may mean."""

from __future__ import annotations

import numpy as np

from grader.judging.diagnosis import about
from grader.lab.reference import Schedule, ddim_tables
from grader.lab.rows.extra.naive_skip.judge import SKIP, SkipObservation
from grader.lab.shared.strides import T, Transition, stride_misconceptions, visits


def _jumps(seen: SkipObservation) -> bool:
    """A step with coefficients that lead to the next timestep visited, as DDIM or a respaced schedule have them."""
    far = [step for step in seen.crooked if step.following is not None and step.following < step.t - 1]
    return bool(far) and all(_is_jump(seen.schedule, step) for step in far)


def _is_jump(s: Schedule, step: Transition) -> bool:
    stretch, ddim = ddim_tables(s, step.t, step.following)
    respaced = -stretch * (1 - stretch**-2) / np.sqrt(1 - s.ab[step.t])  # alpha-bar shrinks by stretch^2 on the way
    return any(step.takes((stretch, of_eps), errors=8.0) for of_eps in (ddim, respaced))


CATALOGUE = (
    *about(
        SKIP,
        (
            "skip-stops-before-0",
            "the loop leaves out the step at t = 0 where its grid holds it",
            "range leaves out its end. Code t = 0 is the paper's t = 1, and that step belongs to the loop.",
            visits(lambda ts, k: [*ts, 0] == [*range(T - 1, -1, -k)]),
        ),
        (
            "skip-first-steps-only",
            "consecutive steps are taken, and too few of them",
            "The stride belongs between the timesteps: T − 1, T − 1 − k, and so on.",
            visits(lambda ts, k: 1 < len(ts) < T and ts == [T - 1 - i for i in range(len(ts))]),
        ),
    ),
    *stride_misconceptions("skip", SKIP),
    *about(
        SKIP,
        (
            "skip-jumps",
            "the step is made to jump over the timesteps left out",
            "That is the cure, and fast_sample of the image half asks for it. Here the ordinary p_sample is wanted.",
            _jumps,
        ),
        (
            "skip-start-not-noise",
            "sampling does not start from standard Gaussian noise",
            "At t = T − 1 the forward process has mean 0 and variance 1. Start there, without scaling.",
            lambda seen: seen.start is not None,
        ),
        (
            "skip-result-dropped",
            "the result of a step does not go into the next one, or does not come back",
            "Each step must be given what the step before returned, and the last result is the sample.",
            lambda seen: bool(seen.broken),
        ),
    ),
)
