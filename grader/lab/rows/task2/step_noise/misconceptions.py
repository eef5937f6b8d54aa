"""Misconceptions about step_predict_noise."""

from __future__ import annotations

from grader.lab.shared.reverse_misconceptions import OF_NOISE, SPREADS, other_timestep

CATALOGUE = (*OF_NOISE, *other_timestep("noise"), *SPREADS)
