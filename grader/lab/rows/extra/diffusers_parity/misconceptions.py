"""What wrongly set up schedulers of diffusers may mean."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from grader.judging.diagnosis import Misconception
from grader.lab.rows.extra.diffusers_parity.judge import DDPM, JUMP, KINDS, ParityObservation, T

FIRST, SECOND = (0,), (1,)


def setting(
    name: str, test: Callable[[Any], bool], of: tuple[int, ...] = (0, 1)
) -> Callable[[ParityObservation], bool]:
    """Whether a setting of the DDPM (0) or of the DDIM (1) scheduler passes `test`."""
    return lambda seen: any(name in seen.settings[place] and test(seen.settings[place][name]) for place in of)


CATALOGUE = tuple(
    Misconception(id_, title, hint, equation, matches)
    for id_, title, hint, equation, matches in (
        (
            "parity-exchanged",
            "the two schedulers come back in the other order",
            "DDPM first, then DDIM.",
            JUMP,
            lambda seen: [about.get("class") for about in seen.settings] == KINDS[::-1],
        ),
        (
            "parity-timesteps",
            "the schedulers have another number of timesteps than the lab's",
            "num_train_timesteps is 1000 unless you say otherwise.",
            JUMP,
            setting("num_train_timesteps", lambda value: value != T),
        ),
        (
            "parity-betas",
            "the betas are made by the library instead of taken from the lab's table",
            "The library's own go from 1e-4 to 0.02 whatever T is. trained_betas takes any table.",
            JUMP,
            setting("own_betas", lambda value: not value),
        ),
        (
            "parity-clip-sample",
            "the library clips the predicted x_0, which the lab does not",
            "clip_sample is on by default.",
            JUMP,
            setting("clip_sample", bool),
        ),
        (
            "parity-thresholding",
            "the library thresholds the predicted x_0, which the lab does not",
            "That is a technique of another model: leave it off.",
            JUMP,
            setting("thresholding", bool),
        ),
        (
            "parity-prediction-type",
            "the schedulers take the network's output for something else than noise",
            "prediction_type is about what the network was trained to predict.",
            JUMP,
            setting("prediction_type", lambda value: value != "epsilon"),
        ),
        (
            "parity-zero-snr",
            "the library rescales the betas",
            "rescale_betas_zero_snr changes the schedule that was trained with.",
            JUMP,
            setting("rescale_betas_zero_snr", bool),
        ),
        (
            "parity-last-alpha",
            "the last jump does not lead to x_0",
            "With set_alpha_to_one=False the library takes ᾱ of the first step where the lab has 1.",
            JUMP,
            setting("set_alpha_to_one", lambda value: not value, SECOND),
        ),
        (
            "parity-spacing",
            "the DDIM scheduler visits other timesteps than fast_sample",
            "timestep_spacing decides: 'leading' counts up from 0, 'linspace' divides evenly, 'trailing' counts down "
            "from T − 1.",
            JUMP,
            setting("timestep_spacing", lambda value: value != "trailing", SECOND),
        ),
        (
            "parity-variance-type",
            "the variance of the DDPM steps is not the lab's",
            "The lab's steps have β̃_t, the posterior's variance, which the library calls small.",
            DDPM,
            setting("variance_type", lambda value: not str(value).startswith("fixed_small"), FIRST),
        ),
    )
)
