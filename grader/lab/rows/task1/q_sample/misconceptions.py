"""Misconceptions about q_sample: those about the forward process."""

from __future__ import annotations

from grader.lab.shared.forward_misconceptions import COEFFICIENTS, NOISE_AND_INPUTS

CATALOGUE = (*COEFFICIENTS, *NOISE_AND_INPUTS)
