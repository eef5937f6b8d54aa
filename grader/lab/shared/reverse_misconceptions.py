"""Misconceptions about a reverse step: what to match them with, and those that several rows share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from grader.judging.diagnosis import Misconception, about
from grader.lab.reference import Array, Schedule, posterior_mean_tables, step_tables
from grader.lab.shared.reverse import EQUATIONS, LEFT, NO_NOISE, NONE_AT_THE_END, VARIANCE, StepAt, StepObservation

Pair = tuple[Array, Array]


def means(*variants: Callable[[Schedule], Pair]) -> Callable[[StepObservation], bool]:
    """Matches the coefficients (a_t, b_t) of x_t and of the network's output wherever they were observed."""

    def fits(seen: StepObservation, pair: Pair) -> bool:
        known = {t: at for t, at in seen.at.items() if at.residual < LEFT}
        got = np.array([[at.a, at.b] for at in known.values()])
        right = step_tables(seen.schedule, seen.predictor)
        predicted, wanted = (np.array([[a[t], b[t]] for t in known]) for a, b in (pair, (right.a, right.b)))
        if len(known) < 2 or np.allclose(got, wanted, rtol=1e-4, atol=1e-4):
            return False
        return bool(np.allclose(got, predicted, rtol=1e-3, atol=1e-3))

    def matches(seen: StepObservation) -> bool:
        with np.errstate(all="ignore"):
            return any(fits(seen, variant(seen.schedule)) for variant in variants)

    return matches


def spreads(*variants: Callable[[Schedule], Array]) -> Callable[[StepObservation], bool]:
    """Matches sigma_t at every t > 0 that was observed, as closely as it is known."""

    def fits(seen: StepObservation, sigma: Array) -> bool:
        later_steps = _before_the_last(seen)
        return bool(later_steps) and all(
            abs(at.sigma - sigma[t]) <= at.slack * sigma[t] + 1e-6 for t, at in later_steps.items()
        )

    def matches(seen: StepObservation) -> bool:
        right = np.sqrt(seen.schedule.posterior_variance)
        with np.errstate(all="ignore"):
            return not fits(seen, right) and any(fits(seen, variant(seen.schedule)) for variant in variants)

    return matches


def _before_the_last(seen: StepObservation) -> dict[int, StepAt]:
    """The steps that are to add noise."""
    return {t: at for t, at in seen.at.items() if t > 0}


def earlier(table: Array) -> Array:
    """A table read at max(t - 1, 0)."""
    return np.append(table[:1], table[:-1])


def later(table: Array) -> Array:
    """A table read at min(t + 1, T - 1)."""
    return np.append(table[1:], table[-1:])


def eq11(s: Schedule) -> Pair:
    """The output taken for noise."""
    right = step_tables(s, "noise")
    return right.a, right.b


def eq7_with(previous: Callable[[Array], Array]) -> Callable[[Schedule], Pair]:
    """Eq. 7 with alpha-bar_{t-1} made of alpha-bar in another way."""

    def tables(s: Schedule) -> Pair:
        ab_prev = previous(s.ab)
        return np.sqrt(s.alphas) * (1 - ab_prev) / (1 - s.ab), np.sqrt(ab_prev) * s.betas / (1 - s.ab)

    return tables


def _bracket(seen: StepObservation) -> bool:
    """(x_t - c) * eps instead of x_t - c * eps: a product of both, which no (a, b) explains."""
    return bool(seen.at) and all(at.bracketed for at in seen.at.values())


def _silent_at(which: Callable[[Schedule], int]) -> Callable[[StepObservation], bool]:
    """No noise at just one of the observed t > 0, and the right noise at the others."""

    def matches(seen: StepObservation) -> bool:
        steps = _before_the_last(seen)
        silent = [t for t, at in steps.items() if at.sigma <= NO_NOISE]
        right = np.sqrt(seen.schedule.posterior_variance)
        return silent == [which(seen.schedule)] and all(
            abs(at.sigma / right[t] - 1) <= at.slack for t, at in steps.items() if t not in silent
        )

    return matches


def _at_some(test: Callable[[StepAt], bool]) -> Callable[[StepObservation], bool]:
    return lambda seen: any(map(test, seen.at.values()))


def _shifted(shift: Callable[[Array], Array], predictor: str) -> Callable[[Schedule], Pair]:
    def tables(s: Schedule) -> Pair:
        right = step_tables(s, predictor)
        return shift(right.a), shift(right.b)

    return tables


def other_timestep(predictor: str) -> tuple[Misconception, ...]:
    """The coefficients of the mean read at another t."""
    return about(
        EQUATIONS[predictor],
        (
            "step-t-off-by-one",
            "the coefficients belong to another timestep",
            "Code t = 0 is the paper's t = 1, and the tables start there: read them at t. Only ᾱ_{t−1} is shifted.",
            means(*(_shifted(shift, predictor) for shift in (earlier, later, lambda table: np.roll(table, 1)))),
        ),
        (
            "step-schedule-reversed",
            "the schedule is read from its end",
            "β grows with t. Print β at t = 0 and at t = T − 1 as your step sees them.",
            means(_shifted(lambda table: table[::-1], predictor)),
        ),
    )


OF_NOISE = about(
    EQUATIONS["noise"],
    (
        "one-over-alpha",
        "the step divides by α_t instead of its square root",
        "One forward step multiplies by √(1 − β_t). What undoes that?",
        means(lambda s: (1 / s.alphas, -s.betas / (np.sqrt(1 - s.ab) * s.alphas))),
    ),
    (
        "scale-left-out",
        "the factor 1/√α_t in front of the bracket is missing",
        "Each forward step shrinks the signal a little, so each reverse step has to stretch it.",
        means(lambda s: (np.ones(s.T), -s.betas / np.sqrt(1 - s.ab))),
    ),
    (
        "step-lost-square-root",
        "the noise is divided by 1 − ᾱ_t instead of its square root",
        "Compare with q(x_t | x_0): the noise enters x_t with a standard deviation, not with a variance.",
        means(lambda s: (s.alphas**-0.5, -s.betas / ((1 - s.ab) * np.sqrt(s.alphas)))),
    ),
    (
        "step-alpha-for-alpha-bar",
        "α_t is used where ᾱ_t belongs, under the noise",
        "ε_θ estimates all the noise between x_0 and x_t, so its size goes with the cumulative product.",
        means(lambda s: (s.alphas**-0.5, -s.betas / (np.sqrt(1 - s.alphas) * np.sqrt(s.alphas)))),
    ),
    (
        "step-alpha-bar-for-alpha",
        "ᾱ_t is used where α_t belongs, in front of the bracket",
        "A reverse step undoes one forward step, so the stretch is that of a single α_t.",
        means(lambda s: (s.ab**-0.5, -s.betas / (np.sqrt(1 - s.ab) * np.sqrt(s.ab)))),
    ),
    (
        "alphas-and-betas-swapped",
        "alphas and betas are exchanged",
        "β_t is small, α_t = 1 − β_t is close to 1. Which of them stands where in your formula?",
        means(
            lambda s: (s.betas**-0.5, -s.alphas / (np.sqrt(1 - s.ab) * np.sqrt(s.betas))),
            lambda s: (s.alphas**-0.5, -s.alphas / (np.sqrt(1 - s.ab) * np.sqrt(s.alphas))),
        ),
    ),
    (
        "noise-added-back",
        "the predicted noise is added instead of subtracted",
        "The network estimates the noise inside x_t. A reverse step takes some of it away.",
        means(lambda s: (s.alphas**-0.5, s.betas / (np.sqrt(1 - s.ab) * np.sqrt(s.alphas)))),
    ),
    (
        "all-noise-at-once",
        "all of the predicted noise is removed in one step",
        "That gives an estimate of x_0. A reverse step goes to t − 1 only: it removes a calibrated fraction.",
        means(
            lambda s: (s.ab**-0.5, -np.sqrt(1 - s.ab) / np.sqrt(s.ab)),
            lambda s: (s.alphas**-0.5, -np.sqrt(1 - s.ab) / np.sqrt(s.alphas)),
            lambda s: (np.ones(s.T), -np.ones(s.T)),
        ),
    ),
    (
        "bracket-closed-early",
        "ε multiplies the whole bracket",
        "Only the fraction belongs to ε; x_t stands alone. Check where your parentheses close.",
        _bracket,
    ),
    (
        "noise-treated-as-x0",
        "the predicted noise is used as if it were the predicted x_0",
        "With the predictor 'noise' the network's output is ε: either use Eq. 11, or turn it into x_0 first.",
        means(posterior_mean_tables),
    ),
)

SPREADS = (
    *about(
        NONE_AT_THE_END,
        (
            "noise-at-t0",
            "noise is added in the last step, t = 0",
            "The last step is meant to give the sample itself. The formula for the variance does that by itself "
            "when ᾱ before the first step is 1; a clamped index breaks it.",
            lambda seen: 0 in seen.at and seen.at[0].sigma > NO_NOISE,
        ),
    ),
    *about(
        VARIANCE,
        (
            "no-noise-at-all",
            "no noise is added at any step",
            "Without z every step goes to the mean, and samples pile up near the middle of the data.",
            spreads(lambda s: np.zeros(s.T)),
        ),
        (
            "beta-for-beta-tilde",
            "the variance is β_t instead of the posterior variance β̃_t",
            "Both are used in the literature; this lab asks for the variance of q(x_{t−1} | x_t, x_0), which is "
            "smaller at small t.",
            spreads(lambda s: np.sqrt(s.betas)),
        ),
        (
            "variance-as-deviation",
            "the noise is multiplied by a variance instead of a standard deviation",
            "β̃_t is the variance. What multiplies z so that the result has this variance?",
            spreads(lambda s: s.posterior_variance, lambda s: s.betas),
        ),
        (
            "square-root-twice",
            "the square root of the variance is taken twice",
            "If σ_t is already a standard deviation, it needs no further root.",
            spreads(lambda s: s.posterior_variance**0.25, lambda s: s.betas**0.25),
        ),
        (
            "variance-alpha-for-alpha-bar",
            "α is used where ᾱ belongs, in the posterior variance",
            "β̃_t compares the noise levels before and after the step: those are cumulative products.",
            spreads(lambda s: np.sqrt(earlier(s.betas))),
        ),
        (
            "variance-inverted",
            "the fraction in the posterior variance is upside down",
            "β̃_t is smaller than β_t at every t. Is yours?",
            spreads(lambda s: np.sqrt((1 - s.ab) / (1 - s.ab_prev) * s.betas)),
        ),
        (
            "variance-of-forward-process",
            "the noise has the variance 1 − ᾱ of the forward process",
            "1 − ᾱ_t is all the noise since x_0. A reverse step adds only what is left open between t and t − 1.",
            spreads(lambda s: np.sqrt(1 - s.ab), lambda s: np.sqrt(1 - s.ab_prev)),
        ),
        (
            "unit-noise",
            "z is added at full strength",
            "z ~ N(0, I) has to be multiplied by σ_t.",
            spreads(lambda s: np.ones(s.T)),
        ),
        (
            "variance-t-off-by-one",
            "the variance belongs to another timestep",
            "Only ᾱ_{t−1} is shifted; ᾱ_t and β_t are read at t.",
            spreads(
                lambda s: np.sqrt(earlier(s.posterior_variance)),
                lambda s: np.sqrt(later(s.posterior_variance)),
                lambda s: np.sqrt(later(s.betas)),
            ),
        ),
    ),
    *about(
        NONE_AT_THE_END,
        (
            "no-noise-at-t1",
            "no noise is added at t = 1",
            "Algorithm 2 counts from 1: its last step is code t = 0. A condition t > 1 leaves out one draw too many.",
            _silent_at(lambda s: 1),
        ),
        (
            "no-noise-at-the-other-end",
            "no noise is added in the first reverse step, t = T − 1",
            "Sampling runs from T − 1 down to 0: the step without noise is the last one that is taken.",
            _silent_at(lambda s: s.T - 1),
        ),
    ),
    *about(
        VARIANCE,
        (
            "step-noise-shared",
            "one draw of noise is shared by all samples or coordinates",
            "z has the shape of x_t: a fresh number for every coordinate of every sample.",
            _at_some(lambda at: at.odd is not None and at.odd.kind.is_shared),
        ),
        (
            "step-noise-fixed",
            "the same noise is drawn at every call",
            "A seed that is set, or a draw that is stored, makes every step add the same z.",
            _at_some(lambda at: at.odd is None and at.repeated),
        ),
        (
            "step-noise-not-gaussian",
            "the noise is not drawn from a standard Gaussian",
            "rand draws from a uniform distribution on [0, 1], randn from N(0, 1).",
            _at_some(lambda at: at.odd is not None and not at.odd.kind.is_shared),
        ),
    ),
)
