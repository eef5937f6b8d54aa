"""Misconceptions about step_predict_x0."""

from __future__ import annotations

import numpy as np

from grader.judging.diagnosis import about
from grader.lab.reference import posterior_mean_tables
from grader.lab.shared.reverse import EQUATIONS
from grader.lab.shared.reverse_misconceptions import SPREADS, earlier, eq7_with, eq11, means, other_timestep

OF_X0 = about(
    EQUATIONS["x0"],
    (
        "clamped-alpha-bar-at-t0",
        "ᾱ before the first step is taken from a clamped index",
        (
            "Clamping t − 1 to 0 reads ᾱ_0 twice. Before the first step nothing has been destroyed yet: how large is ᾱ "
            "there, and what does the mean at t = 0 become?"
        ),
        means(eq7_with(earlier), eq7_with(lambda ab: np.roll(ab, 1))),
    ),
    (
        "x0-treated-as-noise",
        "the predicted x_0 is used as if it were the predicted noise",
        "With the predictor 'x0' the network's output is the clean image: use the posterior mean of x_0 and x_t.",
        means(eq11),
    ),
    (
        "posterior-weights-swapped",
        "the weights of x_0 and x_t are exchanged",
        "At small t the posterior mean is almost x_0; at large t it is almost x_t. Which weight is large where?",
        means(lambda s: posterior_mean_tables(s)[::-1]),
    ),
    (
        "posterior-alpha-bar-not-shifted",
        "ᾱ_t is used where ᾱ_{t−1} belongs",
        "The step ends at t − 1. Two places of the formula speak of the noise level there.",
        means(
            lambda s: (np.sqrt(s.alphas), np.sqrt(s.ab) * s.betas / (1 - s.ab)),
            lambda s: (posterior_mean_tables(s)[0], np.sqrt(s.ab) * s.betas / (1 - s.ab)),
        ),
    ),
    (
        "posterior-lost-square-root",
        "a square root is missing in the posterior mean",
        "Both weights hold a square root: one over ᾱ_{t−1}, the other over α_t.",
        means(
            lambda s: (s.alphas * (1 - s.ab_prev) / (1 - s.ab), s.ab_prev * s.betas / (1 - s.ab)),
            lambda s: (posterior_mean_tables(s)[0], s.ab_prev * s.betas / (1 - s.ab)),
            lambda s: (s.alphas * (1 - s.ab_prev) / (1 - s.ab), posterior_mean_tables(s)[1]),
        ),
    ),
    (
        "posterior-alpha-bar-for-alpha",
        "ᾱ_t is used where α_t belongs, in the weight of x_t",
        "One of the two square roots is over a single step, the other over the cumulative product up to t − 1.",
        means(lambda s: (np.sqrt(s.ab) * (1 - s.ab_prev) / (1 - s.ab), posterior_mean_tables(s)[1])),
    ),
    (
        "jump-to-x0",
        "the predicted x_0 is returned as x_{t−1}",
        "The prediction is the end of the way. A reverse step mixes it with x_t to get to t − 1 only.",
        means(lambda s: (np.zeros(s.T), np.ones(s.T))),
    ),
    (
        "renoised-x0",
        "x_t is left out: the predicted x_0 is noised again to t − 1",
        "The posterior knows x_t as well as x_0, and its mean is a weighted sum of both.",
        means(lambda s: (np.zeros(s.T), np.sqrt(s.ab_prev)), lambda s: (np.zeros(s.T), np.sqrt(s.ab))),
    ),
)
CATALOGUE = (*OF_X0, *other_timestep("x0"), *SPREADS)
