"""Misconceptions about p_sample."""

from __future__ import annotations

import numpy as np

from grader.judging.diagnosis import about
from grader.lab.shared.reverse import EQUATIONS, StepObservation
from grader.lab.shared.reverse_misconceptions import OF_NOISE, SPREADS, other_timestep


def _asked_elsewhere(seen: StepObservation) -> bool:
    return any(abs(shown.t - t) > 1e-6 for t, shown in seen.shown.items())


def _not_asked(seen: StepObservation) -> bool:
    return bool(seen.shown) and all(np.isnan(shown.t) for shown in seen.shown.values())


OF_THE_NETWORK = about(
    EQUATIONS["noise"],
    (
        "network-not-asked",
        "the step does not ask the network",
        "Which part of x_t is noise is what the network was trained to say: call it on x_t and t.",
        _not_asked,
    ),
    (
        "network-asked-at-other-t",
        "the network is asked at another timestep than t",
        "The noise level of x_t is told to the network through t. Pass the same t on, one a sample, as a whole number.",
        _asked_elsewhere,
    ),
)
CATALOGUE = (*OF_THE_NETWORK, *OF_NOISE, *other_timestep("noise"), *SPREADS)
