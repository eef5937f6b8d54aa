"""Misconceptions about get_loss_x0."""

from __future__ import annotations

from grader.judging.diagnosis import about
from grader.lab.shared.loss_misconceptions import REDUCTIONS, SHOWN, TIMESTEPS, XT_AS_TARGET, confused
from grader.lab.shared.losses import EQUATIONS

HINT = "With the predictor 'x0' the network estimates the clean image: compare its output with that."
CATALOGUE = about(EQUATIONS["x0"], confused("noise", "x0", HINT), XT_AS_TARGET, *SHOWN, *REDUCTIONS, *TIMESTEPS)
