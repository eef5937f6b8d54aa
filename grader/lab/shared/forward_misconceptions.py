"""Misconceptions about the forward process that q_sample and add_noise share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from grader.judging.diagnosis import about
from grader.lab.reference import Array, Schedule
from grader.lab.shared.forward import EQUATION, NONE, ForwardObservation, ReturnedNoise

Tables = Callable[[Schedule], tuple[Array, Array]]


def _close(got: Array, predicted: Array) -> bool:
    return bool(np.allclose(got, predicted, rtol=1e-3, atol=1e-3))


def uses(*variants: Tables) -> Callable[[ForwardObservation], bool]:
    """Matches coefficients (a_t, b_t) of x_0 and noise at every t, for any of the given tables."""

    def matches(seen: ForwardObservation) -> bool:
        if not seen.is_linear:
            return False
        predicted = [tables(seen.schedule) for tables in variants]
        return any(_close(seen.a, a) and _close(seen.b, b) for a, b in predicted)

    return matches


def _one_t(seen: ForwardObservation) -> bool:
    ab = seen.schedule.ab[seen.t_first]
    return (
        seen.is_linear
        and _close(seen.a, np.full_like(seen.a, np.sqrt(ab)))
        and _close(seen.b, np.full_like(seen.b, np.sqrt(1 - ab)))
    )


def _ignores_given_noise(seen: ForwardObservation) -> bool:
    """x_0 is scaled rightly, while most of what is added has nothing to do with the given noise."""
    return seen.foreign and seen.returned is not ReturnedNoise.NOT_THE_DRAWN


def _later(table: Array) -> Array:
    return np.append(table[1:], table[-1])


def _not_gaussian(seen: ForwardObservation) -> bool:
    """Draws from something else, which go into x_t."""
    return seen.odd is not None and not seen.odd.kind.is_shared and not np.abs(seen.b).max() < NONE


COEFFICIENTS = about(
    EQUATION,
    (
        "lost-square-root",
        "ᾱ_t is used where its square root belongs",
        "Variances add up, amplitudes do not: at every t the squares of the two coefficients sum to 1. Do yours?",
        uses(lambda s: (s.ab, 1 - s.ab)),
    ),
    (
        "lost-square-root-signal",
        "the image is scaled by ᾱ_t instead of its square root",
        "Look at the coefficient of x_0: what is its square when t is large?",
        uses(lambda s: (s.ab, np.sqrt(1 - s.ab))),
    ),
    (
        "lost-square-root-noise",
        "the noise is scaled by its variance instead of its standard deviation",
        "1 − ᾱ_t is the variance of the noise in x_t. What multiplies a draw from N(0, I) to give it that variance?",
        uses(lambda s: (np.sqrt(s.ab), 1 - s.ab)),
    ),
    (
        "alpha-for-alpha-bar",
        "α_t is used where the cumulative product ᾱ_t belongs",
        "α_t describes one step from x_{t−1}. The closed form jumps from x_0 over all the steps up to t.",
        uses(
            lambda s: (np.sqrt(s.alphas), np.sqrt(s.betas)),
            lambda s: (np.sqrt(s.alphas), np.sqrt(1 - s.ab)),
            lambda s: (np.sqrt(s.ab), np.sqrt(s.betas)),
        ),
    ),
    (
        "beta-for-alpha-bar",
        "β_t is used where ᾱ_t belongs",
        "β_t is the variance that one step adds. How much of x_0 is left after all the steps up to t?",
        uses(
            lambda s: (np.sqrt(s.betas), np.sqrt(1 - s.betas)),
            lambda s: (np.sqrt(1 - s.betas), np.sqrt(s.betas + 0 * s.ab)),
        ),
    ),
    (
        "signal-and-noise-swapped",
        "the coefficients of x_0 and of the noise are exchanged",
        "At t = 0 the picture should be almost intact. Which of your two coefficients is close to 1 there?",
        uses(lambda s: (np.sqrt(1 - s.ab), np.sqrt(s.ab))),
    ),
    (
        "t-off-by-one",
        "the schedule is read one step too early or too late",
        "Code t = 0 is the paper's t = 1: the table already starts with the first step, so t needs no shift.",
        uses(
            lambda s: (np.sqrt(s.ab_prev), np.sqrt(1 - s.ab_prev)),
            lambda s: (
                np.sqrt(s.ab[np.maximum(np.arange(s.T) - 1, 0)]),
                np.sqrt(1 - s.ab[np.maximum(np.arange(s.T) - 1, 0)]),
            ),
            lambda s: (np.sqrt(np.roll(s.ab, 1)), np.sqrt(1 - np.roll(s.ab, 1))),
            lambda s: (np.sqrt(_later(s.ab)), np.sqrt(1 - _later(s.ab))),
        ),
    ),
    (
        "one-t-for-the-batch",
        "one timestep is used for the whole batch",
        "t holds one timestep per sample. Look each of them up, and give the result axes of size 1 to broadcast.",
        _one_t,
    ),
    (
        "schedule-reversed",
        "the schedule is read from its end",
        "t = 0 is the least noise, t = T − 1 the most. Print your coefficient of x_0 for both.",
        uses(lambda s: (np.sqrt(s.ab[::-1]), np.sqrt(1 - s.ab[::-1]))),
    ),
    (
        "x0-unchanged",
        "x_0 comes back without any noise",
        "The function still returns its input: both terms of the closed form are missing.",
        uses(lambda s: (np.ones(s.T), np.zeros(s.T))),
    ),
    (
        "noise-left-out",
        "x_0 is scaled, but no noise is added",
        "x_t is a draw from a Gaussian, not its mean: the second term of the closed form is missing.",
        uses(lambda s: (np.sqrt(s.ab), np.zeros(s.T))),
    ),
    (
        "signal-left-out",
        "x_t is noise alone, without x_0",
        "Only at the very end of the chain is nothing left of x_0: the first term of the closed form is missing.",
        uses(lambda s: (np.zeros(s.T), np.ones(s.T)), lambda s: (np.zeros(s.T), np.sqrt(1 - s.ab))),
    ),
    (
        "signal-not-scaled",
        "noise is added to x_0, but x_0 is not scaled down",
        "Without the factor in front of x_0 the variance grows with t instead of staying near 1.",
        uses(lambda s: (np.ones(s.T), np.sqrt(1 - s.ab))),
    ),
    (
        "noise-not-scaled",
        "the noise is added at full strength at every t",
        "The noise has a coefficient, too: it is small at t = 0 and nearly 1 at t = T − 1.",
        uses(lambda s: (np.sqrt(s.ab), np.ones(s.T))),
    ),
    (
        "noise-subtracted",
        "the noise is subtracted instead of added",
        "The distribution is the same, but the network is taught the noise with the opposite sign.",
        uses(lambda s: (np.sqrt(s.ab), -np.sqrt(1 - s.ab))),
    ),
    (
        "given-noise-ignored",
        "the noise that is passed in is not the noise that is used",
        "When the caller gives noise, x_t must be made of exactly that: the loss compares with it.",
        _ignores_given_noise,
    ),
)

NOISE_AND_INPUTS = about(
    EQUATION,
    (
        "noise-shared-in-batch",
        "one draw of noise is shared by all samples or coordinates",
        "The noise has the shape of x_0: a fresh number for every coordinate of every sample.",
        lambda seen: seen.odd is not None and seen.odd.kind.is_shared,
    ),
    (
        "noise-not-gaussian",
        "the noise is not drawn from a standard Gaussian",
        "rand draws from a uniform distribution on [0, 1], randn from N(0, 1).",
        _not_gaussian,
    ),
    (
        "inputs-changed-in-place",
        "the caller's tensors are changed in place",
        "Operators such as *= and methods that end in an underscore write into the tensor that was passed in: the "
        "training loop would go on with a noisy x_0.",
        lambda seen: bool(seen.changed),
    ),
)
