"""Misconceptions about one reverse step: p_sample, step_predict_noise, step_predict_x0, step_predict_mean."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from grader.lab.checks.reverse import EQUATIONS, NO_NOISE, VARIANCE, StepObservation
from grader.lab.diagnosis.base import Misconception
from grader.lab.reference import Array, Schedule, posterior_mean_tables, step_tables

NOISE = ("task1.p_sample", "task2.step_noise")
X0, MEAN = ("task2.step_x0",), ("task2.step_mean",)
ALL = NOISE + X0 + MEAN
Pair = tuple[Array, Array]


def means(*variants: Callable[[Schedule], Pair]) -> Callable[[StepObservation], bool]:
    """Matches the coefficients (a_t, b_t) of x_t and of the network's output wherever they were observed."""

    def fits(seen: StepObservation, pair: Pair) -> bool:
        ts = [t for t in seen.ts if t in seen.a and seen.residual[t] < 1e-3]
        got = np.array([[seen.a[t], seen.b[t]] for t in ts])
        predicted = np.array([[pair[0][t], pair[1][t]] for t in ts])
        right = step_tables(seen.schedule, seen.predictor)
        wanted = np.array([[right.a[t], right.b[t]] for t in ts])
        if len(ts) < 2 or np.allclose(got, wanted, rtol=1e-4, atol=1e-4):
            return False
        return bool(np.allclose(got, predicted, rtol=1e-3, atol=1e-3))

    def matches(seen: StepObservation) -> bool:
        with np.errstate(all="ignore"):
            return any(fits(seen, variant(seen.schedule)) for variant in variants)

    return matches


def spreads(*variants: Callable[[Schedule], Array]) -> Callable[[StepObservation], bool]:
    """Matches sigma_t at every t > 0 that was observed, as closely as it is known."""

    def fits(seen: StepObservation, sigma: Array) -> bool:
        ts = [t for t in seen.ts if t > 0 and t in seen.sigma]
        return bool(ts) and all(abs(seen.sigma[t] - sigma[t]) <= seen.slack[t] * sigma[t] + 1e-6 for t in ts)

    def matches(seen: StepObservation) -> bool:
        right = np.sqrt(seen.schedule.posterior_variance)
        with np.errstate(all="ignore"):
            return not fits(seen, right) and any(fits(seen, variant(seen.schedule)) for variant in variants)

    return matches


def _earlier(table: Array) -> Array:
    return np.append(table[:1], table[:-1])


def _later(table: Array) -> Array:
    return np.append(table[1:], table[-1:])


def _shifted(shift: Callable[[Array], Array], predictor: str) -> Callable[[Schedule], Pair]:
    def tables(s: Schedule) -> Pair:
        right = step_tables(s, predictor)
        return shift(right.a), shift(right.b)

    return tables


def _eq11(s: Schedule) -> Pair:
    right = step_tables(s, "noise")
    return right.a, right.b


def _clamped_at_zero(s: Schedule) -> Pair:
    """Eq. 7 with alpha-bar_{t-1} read at max(t - 1, 0): wrong at t = 0 alone."""
    previous = _earlier(s.ab)
    return (np.sqrt(s.alphas) * (1 - previous) / (1 - s.ab), np.sqrt(previous) * s.betas / (1 - s.ab))


def _wrapped_at_zero(s: Schedule) -> Pair:
    """Eq. 7 with alpha-bar_{t-1} read at index -1 for t = 0."""
    previous = np.roll(s.ab, 1)
    return (np.sqrt(s.alphas) * (1 - previous) / (1 - s.ab), np.sqrt(previous) * s.betas / (1 - s.ab))


def _bracket(seen: StepObservation) -> bool:
    """(x_t - c) * eps instead of x_t - c * eps: a product of both, which no (a, b) explains."""
    ts = [t for t in seen.ts if t in seen.a]
    return bool(ts) and all(seen.bracketed.get(t, False) for t in ts)


def _silent_at(which: Callable[[Schedule], int]) -> Callable[[StepObservation], bool]:
    """No noise at just one of the observed t > 0, and the right noise at the others."""

    def matches(seen: StepObservation) -> bool:
        ts = [t for t in seen.ts if t > 0 and t in seen.sigma]
        silent = [t for t in ts if seen.sigma[t] <= NO_NOISE]
        right = np.sqrt(seen.schedule.posterior_variance)
        return silent == [which(seen.schedule)] and all(
            abs(seen.sigma[t] / right[t] - 1) <= seen.slack[t] for t in ts if t not in silent
        )

    return matches


def _asked_elsewhere(seen: StepObservation) -> bool:
    return any(abs(t_shown - t) > 1e-6 for t, t_shown in seen.t_shown.items())


def _not_asked(seen: StepObservation) -> bool:
    return bool(seen.t_shown) and all(np.isnan(t_shown) for t_shown in seen.t_shown.values())


def _e(
    id_: str, rows: tuple[str, ...], title: str, hint: str, matches: Callable[[StepObservation], bool], equation: str
) -> Misconception:
    return Misconception(id_, rows, title, hint, equation, matches)


_NOISE_MEANS = [
    _e(
        "network-not-asked",
        ("task1.p_sample",),
        "the step does not ask the network",
        "Which part of x_t is noise is what the network was trained to say: call it on x_t and t.",
        _not_asked,
        EQUATIONS["noise"],
    ),
    _e(
        "network-asked-at-other-t",
        ("task1.p_sample",),
        "the network is asked at another timestep than t",
        "The noise level of x_t is told to the network through t. Pass the same t on, one a sample, as a whole number.",
        _asked_elsewhere,
        EQUATIONS["noise"],
    ),
    _e(
        "one-over-alpha",
        NOISE,
        "the step divides by α_t instead of its square root",
        "One forward step multiplies by √(1 − β_t). What undoes that?",
        means(lambda s: (1 / s.alphas, -s.betas / (np.sqrt(1 - s.ab) * s.alphas))),
        EQUATIONS["noise"],
    ),
    _e(
        "scale-left-out",
        NOISE,
        "the factor 1/√α_t in front of the bracket is missing",
        "Each forward step shrinks the signal a little, so each reverse step has to stretch it.",
        means(lambda s: (np.ones(s.T), -s.betas / np.sqrt(1 - s.ab))),
        EQUATIONS["noise"],
    ),
    _e(
        "step-lost-square-root",
        NOISE,
        "the noise is divided by 1 − ᾱ_t instead of its square root",
        "Compare with q(x_t | x_0): the noise enters x_t with a standard deviation, not with a variance.",
        means(lambda s: (s.alphas**-0.5, -s.betas / ((1 - s.ab) * np.sqrt(s.alphas)))),
        EQUATIONS["noise"],
    ),
    _e(
        "step-alpha-for-alpha-bar",
        NOISE,
        "α_t is used where ᾱ_t belongs, under the noise",
        "ε_θ estimates all the noise between x_0 and x_t, so its size goes with the cumulative product.",
        means(lambda s: (s.alphas**-0.5, -s.betas / (np.sqrt(1 - s.alphas) * np.sqrt(s.alphas)))),
        EQUATIONS["noise"],
    ),
    _e(
        "step-alpha-bar-for-alpha",
        NOISE,
        "ᾱ_t is used where α_t belongs, in front of the bracket",
        "A reverse step undoes one forward step, so the stretch is that of a single α_t.",
        means(lambda s: (s.ab**-0.5, -s.betas / (np.sqrt(1 - s.ab) * np.sqrt(s.ab)))),
        EQUATIONS["noise"],
    ),
    _e(
        "alphas-and-betas-swapped",
        NOISE,
        "alphas and betas are exchanged",
        "β_t is small, α_t = 1 − β_t is close to 1. Which of them stands where in your formula?",
        means(
            lambda s: (s.betas**-0.5, -s.alphas / (np.sqrt(1 - s.ab) * np.sqrt(s.betas))),
            lambda s: (s.alphas**-0.5, -s.alphas / (np.sqrt(1 - s.ab) * np.sqrt(s.alphas))),
        ),
        EQUATIONS["noise"],
    ),
    _e(
        "noise-added-back",
        NOISE,
        "the predicted noise is added instead of subtracted",
        "The network estimates the noise inside x_t. A reverse step takes some of it away.",
        means(lambda s: (s.alphas**-0.5, s.betas / (np.sqrt(1 - s.ab) * np.sqrt(s.alphas)))),
        EQUATIONS["noise"],
    ),
    _e(
        "all-noise-at-once",
        NOISE,
        "all of the predicted noise is removed in one step",
        "That gives an estimate of x_0. A reverse step goes to t − 1 only: it removes a calibrated fraction.",
        means(
            lambda s: (s.ab**-0.5, -np.sqrt(1 - s.ab) / np.sqrt(s.ab)),
            lambda s: (s.alphas**-0.5, -np.sqrt(1 - s.ab) / np.sqrt(s.alphas)),
            lambda s: (np.ones(s.T), -np.ones(s.T)),
        ),
        EQUATIONS["noise"],
    ),
    _e(
        "bracket-closed-early",
        NOISE,
        "ε multiplies the whole bracket",
        "Only the fraction belongs to ε; x_t stands alone. Check where your parentheses close.",
        _bracket,
        EQUATIONS["noise"],
    ),
    _e(
        "noise-treated-as-x0",
        NOISE,
        "the predicted noise is used as if it were the predicted x_0",
        "With the predictor 'noise' the network's output is ε: either use Eq. 11, or turn it into x_0 first.",
        means(posterior_mean_tables),
        EQUATIONS["noise"],
    ),
]

_X0_MEANS = [
    _e(
        "clamped-alpha-bar-at-t0",
        X0,
        "ᾱ before the first step is taken from a clamped index",
        "Clamping t − 1 to 0 reads ᾱ_0 twice. Before the first step nothing has been destroyed yet: how large is ᾱ "
        "there, and what does the mean at t = 0 become?",
        means(_clamped_at_zero, _wrapped_at_zero),
        EQUATIONS["x0"],
    ),
    _e(
        "x0-treated-as-noise",
        X0,
        "the predicted x_0 is used as if it were the predicted noise",
        "With the predictor 'x0' the network's output is the clean image: use the posterior mean of x_0 and x_t.",
        means(_eq11),
        EQUATIONS["x0"],
    ),
    _e(
        "posterior-weights-swapped",
        X0,
        "the weights of x_0 and x_t are exchanged",
        "At small t the posterior mean is almost x_0; at large t it is almost x_t. Which weight is large where?",
        means(lambda s: posterior_mean_tables(s)[::-1]),
        EQUATIONS["x0"],
    ),
    _e(
        "posterior-alpha-bar-not-shifted",
        X0,
        "ᾱ_t is used where ᾱ_{t−1} belongs",
        "The step ends at t − 1. Two places of the formula speak of the noise level there.",
        means(
            lambda s: (np.sqrt(s.alphas), np.sqrt(s.ab) * s.betas / (1 - s.ab)),
            lambda s: (posterior_mean_tables(s)[0], np.sqrt(s.ab) * s.betas / (1 - s.ab)),
        ),
        EQUATIONS["x0"],
    ),
    _e(
        "posterior-lost-square-root",
        X0,
        "a square root is missing in the posterior mean",
        "Both weights hold a square root: one over ᾱ_{t−1}, the other over α_t.",
        means(
            lambda s: (s.alphas * (1 - s.ab_prev) / (1 - s.ab), s.ab_prev * s.betas / (1 - s.ab)),
            lambda s: (posterior_mean_tables(s)[0], s.ab_prev * s.betas / (1 - s.ab)),
            lambda s: (s.alphas * (1 - s.ab_prev) / (1 - s.ab), posterior_mean_tables(s)[1]),
        ),
        EQUATIONS["x0"],
    ),
    _e(
        "posterior-alpha-bar-for-alpha",
        X0,
        "ᾱ_t is used where α_t belongs, in the weight of x_t",
        "One of the two square roots is over a single step, the other over the cumulative product up to t − 1.",
        means(lambda s: (np.sqrt(s.ab) * (1 - s.ab_prev) / (1 - s.ab), posterior_mean_tables(s)[1])),
        EQUATIONS["x0"],
    ),
    _e(
        "jump-to-x0",
        X0,
        "the predicted x_0 is returned as x_{t−1}",
        "The prediction is the end of the way. A reverse step mixes it with x_t to get to t − 1 only.",
        means(lambda s: (np.zeros(s.T), np.ones(s.T))),
        EQUATIONS["x0"],
    ),
    _e(
        "renoised-x0",
        X0,
        "x_t is left out: the predicted x_0 is noised again to t − 1",
        "The posterior knows x_t as well as x_0, and its mean is a weighted sum of both.",
        means(lambda s: (np.zeros(s.T), np.sqrt(s.ab_prev)), lambda s: (np.zeros(s.T), np.sqrt(s.ab))),
        EQUATIONS["x0"],
    ),
]

_MEAN_MEANS = [
    _e(
        "mean-treated-as-noise",
        MEAN,
        "the predicted mean is used as if it were the predicted noise",
        "With the predictor 'mean' the network has done that work already. What is left to add?",
        means(_eq11),
        EQUATIONS["mean"],
    ),
    _e(
        "mean-treated-as-x0",
        MEAN,
        "the predicted mean is used as if it were the predicted x_0",
        "With the predictor 'mean' the output is μ_θ(x_t, t) itself, not the clean image.",
        means(posterior_mean_tables, _clamped_at_zero),
        EQUATIONS["mean"],
    ),
    _e(
        "mean-rescaled",
        MEAN,
        "the predicted mean is scaled once more",
        "μ_θ(x_t, t) is the mean of x_{t−1}: it needs no factor.",
        means(
            lambda s: (np.zeros(s.T), s.alphas**-0.5),
            lambda s: (np.zeros(s.T), np.sqrt(s.alphas)),
            lambda s: (np.zeros(s.T), np.sqrt(s.ab_prev)),
        ),
        EQUATIONS["mean"],
    ),
    _e(
        "mean-ignored",
        MEAN,
        "x_t comes back instead of the predicted mean",
        "The mean of the step is the network's output; x_t went into the network already.",
        means(lambda s: (np.ones(s.T), np.zeros(s.T))),
        EQUATIONS["mean"],
    ),
    _e(
        "mean-added-to-xt",
        MEAN,
        "the predicted mean is added to x_t",
        "μ_θ(x_t, t) is the mean of x_{t−1} itself, not a correction of x_t.",
        means(lambda s: (np.ones(s.T), np.ones(s.T))),
        EQUATIONS["mean"],
    ),
]

_ANY_MEAN = [
    *(
        _e(
            "step-t-off-by-one",
            rows,
            "the coefficients belong to another timestep",
            "Code t = 0 is the paper's t = 1, and the tables start there: read them at t. Only ᾱ_{t−1} is shifted.",
            means(_shifted(_earlier, p), _shifted(_later, p), _shifted(lambda table: np.roll(table, 1), p)),
            EQUATIONS[p],
        )
        for rows, p in ((NOISE, "noise"), (X0, "x0"))
    ),
    *(
        _e(
            "step-schedule-reversed",
            rows,
            "the schedule is read from its end",
            "β grows with t. Print β at t = 0 and at t = T − 1 as your step sees them.",
            means(_shifted(lambda table: table[::-1], p)),
            EQUATIONS[p],
        )
        for rows, p in ((NOISE, "noise"), (X0, "x0"))
    ),
]

_SPREADS = [
    _e(
        "noise-at-t0",
        ALL,
        "noise is added in the last step, t = 0",
        "The last step is meant to give the sample itself. The formula for the variance does that by itself when ᾱ "
        "before the first step is 1; a clamped index breaks it.",
        lambda seen: seen.sigma.get(0, 0.0) > 1e-4,
        "z = 0 in the last step   (DDPM Algorithm 2)",
    ),
    _e(
        "no-noise-at-all",
        ALL,
        "no noise is added at any step",
        "Without z every step goes to the mean, and samples pile up near the middle of the data.",
        spreads(lambda s: np.zeros(s.T)),
        VARIANCE,
    ),
    _e(
        "beta-for-beta-tilde",
        ALL,
        "the variance is β_t instead of the posterior variance β̃_t",
        "Both are used in the literature; this lab asks for the variance of q(x_{t−1} | x_t, x_0), which is smaller at "
        "small t.",
        spreads(lambda s: np.sqrt(s.betas)),
        VARIANCE,
    ),
    _e(
        "variance-as-deviation",
        ALL,
        "the noise is multiplied by a variance instead of a standard deviation",
        "β̃_t is the variance. What multiplies z so that the result has this variance?",
        spreads(lambda s: s.posterior_variance, lambda s: s.betas),
        VARIANCE,
    ),
    _e(
        "square-root-twice",
        ALL,
        "the square root of the variance is taken twice",
        "If σ_t is already a standard deviation (the scheduler's `sigmas` are), it needs no further root.",
        spreads(lambda s: s.posterior_variance**0.25, lambda s: s.betas**0.25),
        VARIANCE,
    ),
    _e(
        "variance-alpha-for-alpha-bar",
        ALL,
        "α is used where ᾱ belongs, in the posterior variance",
        "β̃_t compares the noise levels before and after the step: those are cumulative products.",
        spreads(lambda s: np.sqrt(_earlier(s.betas))),
        VARIANCE,
    ),
    _e(
        "variance-inverted",
        ALL,
        "the fraction in the posterior variance is upside down",
        "β̃_t is smaller than β_t at every t. Is yours?",
        spreads(lambda s: np.sqrt((1 - s.ab) / (1 - s.ab_prev) * s.betas)),
        VARIANCE,
    ),
    _e(
        "variance-of-forward-process",
        ALL,
        "the noise has the variance 1 − ᾱ of the forward process",
        "1 − ᾱ_t is all the noise since x_0. A reverse step adds only what is left open between t and t − 1.",
        spreads(lambda s: np.sqrt(1 - s.ab), lambda s: np.sqrt(1 - s.ab_prev)),
        VARIANCE,
    ),
    _e(
        "unit-noise",
        ALL,
        "z is added at full strength",
        "z ~ N(0, I) has to be multiplied by σ_t.",
        spreads(lambda s: np.ones(s.T)),
        VARIANCE,
    ),
    _e(
        "variance-t-off-by-one",
        ALL,
        "the variance belongs to another timestep",
        "Only ᾱ_{t−1} is shifted; ᾱ_t and β_t are read at t.",
        spreads(
            lambda s: np.sqrt(_earlier(s.posterior_variance)),
            lambda s: np.sqrt(_later(s.posterior_variance)),
            lambda s: np.sqrt(_later(s.betas)),
        ),
        VARIANCE,
    ),
    _e(
        "no-noise-at-t1",
        ALL,
        "no noise is added at t = 1",
        "Algorithm 2 counts from 1: its last step is code t = 0. A condition t > 1 leaves out one draw too many.",
        _silent_at(lambda s: 1),
        "z = 0 in the last step   (DDPM Algorithm 2)",
    ),
    _e(
        "no-noise-at-the-other-end",
        ALL,
        "no noise is added in the first reverse step, t = T − 1",
        "Sampling runs from T − 1 down to 0: the step without noise is the last one that is taken.",
        _silent_at(lambda s: s.T - 1),
        "z = 0 in the last step   (DDPM Algorithm 2)",
    ),
    _e(
        "step-noise-shared",
        ALL,
        "one draw of noise is shared by all samples or coordinates",
        "z has the shape of x_t: a fresh number for every coordinate of every sample.",
        lambda seen: any("share" in text for text in seen.noise.values()),
        VARIANCE,
    ),
    _e(
        "step-noise-fixed",
        ALL,
        "the same noise is drawn at every call",
        "A seed that is set, or a draw that is stored, makes every step add the same z.",
        lambda seen: any("same noise" in text for text in seen.noise.values()),
        VARIANCE,
    ),
    _e(
        "step-noise-not-gaussian",
        ALL,
        "the noise is not drawn from a standard Gaussian",
        "rand draws from a uniform distribution on [0, 1], randn from N(0, 1).",
        lambda seen: any("share" not in text and "same" not in text for text in seen.noise.values()),
        VARIANCE,
    ),
]

CATALOGUE = _NOISE_MEANS + _X0_MEANS + _MEAN_MEANS + _ANY_MEAN + _SPREADS
