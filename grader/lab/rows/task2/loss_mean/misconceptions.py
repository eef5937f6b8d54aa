"""Misconceptions about get_loss_mean."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from grader.judging.diagnosis import about
from grader.lab.reference import Array, Schedule, posterior_mean_tables
from grader.lab.shared.loss_misconceptions import (
    NOISE_DRAWN_TWICE,
    REDUCTIONS,
    SHOWN,
    TIMESTEPS,
    XT_AS_TARGET,
    Target,
    confused,
    targets,
)
from grader.lab.shared.loss_trials import LossObservation, agrees, right_targets
from grader.lab.shared.losses import EQUATIONS

Table = Callable[[Schedule], Array]  # of shape (T,)


def _posterior(of_xt: Table, of_x0: Table) -> Target:
    """A posterior mean with other weights of x_t and x_0."""
    return lambda s, trial: trial.per_sample(of_xt(s)) * trial.x_t + trial.per_sample(of_x0(s)) * trial.x0


def _from_noise(of_xt: Table, of_noise: Table) -> Target:
    """A posterior mean from the noise with other weights."""
    return lambda s, trial: trial.per_sample(of_xt(s)) * trial.x_t + trial.per_sample(of_noise(s)) * trial.eps


def _weights(previous: Table) -> Target:
    """Eq. 7 with another table for alpha-bar_{t-1}."""
    return _posterior(
        lambda s: np.sqrt(s.alphas) * (1 - previous(s)) / (1 - s.ab),
        lambda s: np.sqrt(previous(s)) * s.betas / (1 - s.ab),
    )


def _weighted(seen: LossObservation) -> bool:
    """The squared error over the variance of the step, twice or not, in every batch without t = 0, where that is 0."""
    trials = [trial for trial in seen.trials if trial.loss.size == 1 and (trial.level > 0).all()]
    variances = (seen.schedule.posterior_variance, seen.schedule.betas)

    def fits(variance: Array, factor: float) -> bool:
        return all(
            any(
                agrees(
                    trial.value,
                    factor * float(((trial.out - y) ** 2 / trial.per_sample(variance)).mean()),
                )
                for y in right_targets(seen, trial)
            )
            for trial in trials
        )

    return bool(trials) and any(fits(variance, factor) for variance in variances for factor in (0.5, 1.0))


CATALOGUE = about(
    EQUATIONS["mean"],
    confused(
        "noise",
        "mean",
        "With the predictor 'mean' the network estimates the mean of q(x_{t−1} | x_t, x_0): compute that.",
    ),
    confused("x0", "mean", "The posterior mean lies between x_0 and x_t; only at t = 0 is it x_0."),
    XT_AS_TARGET,
    (
        "loss-clamped-alpha-bar-at-t0",
        "ᾱ before the first step is taken from a clamped index",
        "Clamping t − 1 to 0 reads ᾱ_0 twice. Before the first step nothing is lost yet: what is ᾱ there?",
        targets(_weights(lambda s: np.append(s.ab[:1], s.ab[:-1])), _weights(lambda s: np.roll(s.ab, 1))),
    ),
    (
        "loss-posterior-weights-swapped",
        "the weights of x_0 and x_t are exchanged in the target",
        "At small t the posterior mean is almost x_0, at large t almost x_t. Which weight is large where?",
        targets(_posterior(lambda s: posterior_mean_tables(s)[1], lambda s: posterior_mean_tables(s)[0])),
    ),
    (
        "loss-posterior-not-shifted",
        "ᾱ_t is used where ᾱ_{t−1} belongs in the target",
        "Two places of the formula speak of the noise level after the step, at t − 1.",
        targets(
            _weights(lambda s: s.ab),
            _posterior(lambda s: posterior_mean_tables(s)[0], lambda s: np.sqrt(s.ab) * s.betas / (1 - s.ab)),
        ),
    ),
    (
        "loss-posterior-lost-square-root",
        "a square root is missing in the target",
        "Both weights of the posterior mean hold a square root: one over ᾱ_{t−1}, the other over α_t.",
        targets(
            _posterior(lambda s: s.alphas * (1 - s.ab_prev) / (1 - s.ab), lambda s: s.ab_prev * s.betas / (1 - s.ab)),
            _posterior(lambda s: posterior_mean_tables(s)[0], lambda s: s.ab_prev * s.betas / (1 - s.ab)),
            _posterior(lambda s: s.alphas * (1 - s.ab_prev) / (1 - s.ab), lambda s: posterior_mean_tables(s)[1]),
            _from_noise(lambda s: s.alphas**-0.5, lambda s: -s.betas / ((1 - s.ab) * np.sqrt(s.alphas))),
            _from_noise(lambda s: 1 / s.alphas, lambda s: -s.betas / (np.sqrt(1 - s.ab) * s.alphas)),
        ),
    ),
    (
        "loss-alpha-for-alpha-bar",
        "α_t and ᾱ_t are confused in the target",
        "ᾱ describes all the steps from x_0, α a single one. Go through the formula factor by factor.",
        targets(
            _from_noise(lambda s: s.alphas**-0.5, lambda s: -np.sqrt(s.betas) / np.sqrt(s.alphas)),
            _from_noise(lambda s: s.ab**-0.5, lambda s: -s.betas / (np.sqrt(1 - s.ab) * np.sqrt(s.ab))),
            _posterior(lambda s: np.sqrt(s.ab) * (1 - s.ab_prev) / (1 - s.ab), lambda s: posterior_mean_tables(s)[1]),
        ),
    ),
    NOISE_DRAWN_TWICE,
    *SHOWN,
    (
        "loss-weighted",
        "the squared error is divided by the variance of the step",
        "That is the bound itself. This lab trains with the unweighted error, which DDPM found to be better.",
        _weighted,
    ),
    *REDUCTIONS,
    *TIMESTEPS,
)
