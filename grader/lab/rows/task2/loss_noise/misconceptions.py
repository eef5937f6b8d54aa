"""Misconceptions about get_loss_noise: those about a loss whose target is the noise."""

from __future__ import annotations

from grader.lab.shared.loss_misconceptions import OF_NOISE

CATALOGUE = OF_NOISE
