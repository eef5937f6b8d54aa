"""Misconceptions about step_predict_mean."""

from __future__ import annotations

import numpy as np

from grader.judging.diagnosis import about
from grader.lab.reference import posterior_mean_tables
from grader.lab.shared.reverse import EQUATIONS
from grader.lab.shared.reverse_misconceptions import SPREADS, earlier, eq7_with, eq11, means

OF_MEAN = about(
    EQUATIONS["mean"],
    (
        "mean-treated-as-noise",
        "the predicted mean is used as if it were the predicted noise",
        "With the predictor 'mean' the network has done that work already. What is left to add?",
        means(eq11),
    ),
    (
        "mean-treated-as-x0",
        "the predicted mean is used as if it were the predicted x_0",
        "With the predictor 'mean' the output is μ_θ(x_t, t) itself, not the clean image.",
        means(posterior_mean_tables, eq7_with(earlier)),
    ),
    (
        "mean-rescaled",
        "the predicted mean is scaled once more",
        "μ_θ(x_t, t) is the mean of x_{t−1}: it needs no factor.",
        means(
            lambda s: (np.zeros(s.T), s.alphas**-0.5),
            lambda s: (np.zeros(s.T), np.sqrt(s.alphas)),
            lambda s: (np.zeros(s.T), np.sqrt(s.ab_prev)),
        ),
    ),
    (
        "mean-ignored",
        "x_t comes back instead of the predicted mean",
        "The mean of the step is the network's output; x_t went into the network already.",
        means(lambda s: (np.ones(s.T), np.zeros(s.T))),
    ),
    (
        "mean-added-to-xt",
        "the predicted mean is added to x_t",
        "μ_θ(x_t, t) is the mean of x_{t−1} itself, not a correction of x_t.",
        means(lambda s: (np.ones(s.T), np.ones(s.T))),
    ),
)
CATALOGUE = (*OF_MEAN, *SPREADS)
