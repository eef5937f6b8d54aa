"""Misconceptions about add_noise: those about the forward process, and about the noise that it returns."""

from __future__ import annotations

from grader.judging.diagnosis import about
from grader.lab.shared.forward import EQUATION, ForwardObservation, ReturnedNoise
from grader.lab.shared.forward_misconceptions import COEFFICIENTS, NOISE_AND_INPUTS


def _other_noise(seen: ForwardObservation) -> bool:
    """Noise comes back that x_t is not made of: the given noise, if there was one, is what it is made of."""
    if seen.returned is ReturnedNoise.NOT_THE_GIVEN:
        return seen.is_linear
    return seen.returned is ReturnedNoise.NOT_THE_DRAWN


RETURNED = about(
    EQUATION,
    (
        "noise-drawn-twice",
        "the noise that is returned is not the noise inside x_t",
        "Draw once, keep it, and use the same tensor both for x_t and as the second return value.",
        _other_noise,
    ),
    (
        "noise-not-returned",
        "add_noise returns x_t alone",
        "The loss needs to know the noise that was drawn: return x_t together with it.",
        lambda seen: seen.returned is ReturnedNoise.ABSENT,
    ),
)
CATALOGUE = (*COEFFICIENTS, *RETURNED, *NOISE_AND_INPUTS)
