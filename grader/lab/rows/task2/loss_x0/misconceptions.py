"""Misconceptions about get_loss_x0."""

from __future__ import annotations

from grader.judging.diagnosis import about
from grader.lab.shared.loss_misconceptions import REDUCTIONS, SHOWN, TIMESTEPS, XT_AS_TARGET, targets
from grader.lab.shared.losses import EQUATIONS

CATALOGUE = about(
    EQUATIONS["x0"],
    (
        "noise-for-x0-target",
        "the target is the noise instead of x_0",
        "With the predictor 'x0' the network estimates the clean image: compare its output with that.",
        targets(lambda s, trial: trial.eps),
    ),
    XT_AS_TARGET,
    *SHOWN,
    *REDUCTIONS,
    *TIMESTEPS,
)
