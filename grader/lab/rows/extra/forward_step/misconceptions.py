"""What a wrong `forward_step` may mean."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from grader.judging.diagnosis import about
from grader.lab.reference import Array, Schedule, forward_step_tables
from grader.lab.rows.extra.forward_step.judge import FORWARD, ChainObservation
from grader.lab.shared.companions import changed_in_place

Variant = Callable[[Schedule], tuple[Array, Array]]  # a wrong pair of tables (a_t, b_t)


def uses(*variants: Variant) -> Callable[[ChainObservation], bool]:
    """Matches the forward step's coefficients at every t, as closely as they are known."""

    def fits(seen: ChainObservation, a: Array, b: Array) -> bool:
        near = (np.abs(seen.b - b) <= max(1e-3, seen.slack) * b + 1e-4).all()
        return bool(near and np.allclose(seen.a, a, rtol=1e-3, atol=1e-4))

    def matches(seen: ChainObservation) -> bool:
        if seen.residual >= 1e-3 or fits(seen, *forward_step_tables(seen.schedule)):
            return False
        return any(fits(seen, *variant(seen.schedule)) for variant in variants)

    return matches


def _read(shift: Callable[[Array], Array]) -> Variant:
    """The right step, its betas read elsewhere."""
    return lambda s: forward_step_tables(Schedule(shift(s.betas)))


def _is_shared(seen: ChainObservation) -> bool:
    return seen.odd.kind.is_shared if seen.odd else seen.repeated


CATALOGUE = (
    *about(
        FORWARD,
        (
            "chain-closed-form",
            "the jump from x_0 is taken instead of one step",
            "ᾱ_t stands for all steps up to t. What is given here is x_{t−1}, so a single β_t leads to x_t.",
            uses(lambda s: (np.sqrt(s.ab), np.sqrt(1 - s.ab))),
        ),
        (
            "chain-beta-as-deviation",
            "the noise is multiplied by β_t instead of its square root",
            "β_t is the variance of the fresh noise. What multiplies z so that the result has this variance?",
            uses(lambda s: (np.sqrt(s.alphas), s.betas)),
        ),
        (
            "chain-lost-square-root",
            "x_{t−1} is multiplied by 1 − β_t instead of its square root",
            "Variances add up: a² times the old variance plus β_t should be 1 where the old one was 1.",
            uses(lambda s: (s.alphas, np.sqrt(s.betas)), lambda s: (s.alphas, s.betas)),
        ),
        (
            "chain-factors-swapped",
            "the two factors are exchanged",
            "One step changes little: which of the two is close to 1?",
            uses(lambda s: (np.sqrt(s.betas), np.sqrt(s.alphas))),
        ),
        (
            "chain-not-shrunk",
            "x_{t−1} is not scaled down",
            "Without the factor in front of x_{t−1} the variance grows with every step instead of settling at 1.",
            uses(lambda s: (np.ones(s.T), np.sqrt(s.betas)), lambda s: (np.ones(s.T), s.betas)),
        ),
        (
            "chain-unit-noise",
            "the noise is added at full strength",
            "One step adds a little noise: z has to be multiplied by √β_t.",
            uses(lambda s: (np.sqrt(s.alphas), np.ones(s.T))),
        ),
        (
            "chain-without-noise",
            "no noise is added",
            "x_t is a draw from a Gaussian, not its mean.",
            lambda seen: seen.noiseless,
        ),
        (
            "chain-index",
            "the schedule is read at another timestep",
            "Code t = 0 is the paper's t = 1: the table already starts with the first step, so t needs no shift.",
            uses(
                _read(lambda b: np.append(b[:1], b[:-1])),
                _read(lambda b: np.append(b[1:], b[-1:])),
                _read(lambda b: np.roll(b, 1)),
                _read(lambda b: np.roll(b, -1)),
                _read(lambda b: b[::-1]),
            ),
        ),
        (
            "chain-noise-shared",
            "one draw of noise is shared or repeated",
            "Every number gets a fresh draw in every step: draw in the shape of x_prev, without a seed.",
            lambda seen: seen.residual < 1e-3 and _is_shared(seen),
        ),
        (
            "chain-noise-not-gaussian",
            "the noise is not drawn from a standard Gaussian",
            "rand draws from a uniform distribution on [0, 1], randn from N(0, 1).",
            lambda seen: seen.residual < 1e-3 and seen.odd is not None and not _is_shared(seen),
        ),
    ),
    changed_in_place("chain-changed-in-place", FORWARD, "An operator such as *="),
)
