"""Trials of a loss: what its stand-ins were shown, and the loss recomputed from that.

Network and forward process are stand-ins with arbitrary coefficients; what they were shown comes back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grader.judging.bench import Observation
from grader.judging.comparison import Array, Arrays
from grader.judging.draws import OddDraws
from grader.lab import reference
from grader.lab.reference import Schedule
from grader.lab.settings import SHORT
from grader.lab.shared.stand_in import network_output
from grader.sandbox import Answer

T = SHORT["T"]
RTOL = 1e-4


class OddTimesteps(StrEnum):
    """How timesteps differ from one t per sample, uniform on 0 ... T - 1, the same for x_t and for the network."""

    OTHER_FOR_X_T = "x_t was made at other timesteps than the network was told"
    ONE_FOR_THE_BATCH = "one t for the whole batch"
    OTHER_RANGE = "the lowest is not 0, or the highest not T - 1"
    NOT_UNIFORM = "some are drawn more often than others"
    REPEATED = "the same timesteps at every call"


class Disconnected(StrEnum):
    """Where the way from the network to the loss is cut."""

    NO_NETWORK = "the network was not asked about the batch"
    NO_GRADIENT = "no gradient arrives at the network"


@dataclass
class Trial:
    """One call of a loss: what the stand-ins were shown, what the network answered, and the loss. t: (B,)."""

    x0: Array
    eps: Array
    t: NDArray[np.int64]  # as shown to the network
    t_noising: Array  # as shown to the forward process; equal to t where that was not called
    x_t: Array  # as shown to the network
    out: Array  # what the network answered
    loss: Array
    noisings: int  # calls of the forward process; 0 where the loss computed x_t itself
    mixed: bool  # whether x_t is what the forward process made of x_0 and eps

    @property
    def value(self) -> float:
        return float(self.loss.mean())

    @property
    def level(self) -> NDArray[np.int64]:
        """The noise level of x_t as a table index, whatever the network was told. (B,)"""
        return np.clip(np.nan_to_num(self.t_noising).round().astype(np.int64), 0, T - 1)

    def per_sample(self, table: Array) -> Array:
        """table[level] with axes to broadcast against x_0."""
        return reference.per_sample(table, self.level, self.x0.ndim)

    @property
    def has_t0(self) -> bool:
        return bool((self.level == 0).any())


@dataclass
class LossObservation(Observation):
    """All trials of a loss with the schedule that they ran on."""

    schedule: Schedule
    predictor: str
    trials: list[Trial] = field(default_factory=list)
    large: list[Trial] = field(default_factory=list)
    odd_timesteps: OddTimesteps | None = None
    odd_noise: OddDraws | None = None
    noise_repeated: bool = False  # the same at every call
    disconnected: Disconnected | None = None


def read_trial(i: int, record: Mapping[str, int], answer: Answer, given: Arrays, s: Schedule) -> Trial | None:
    """Trial i from the raw records; None where the network was not asked, or asked about another batch."""
    arrays, x0 = answer.arrays, given[f"x0.{i}"].astype(float)
    if not record["network_calls"] or arrays[f"{i}.net.0.x"].shape != x0.shape:
        return None
    x_t, steps = arrays[f"{i}.net.0.x"].astype(float), arrays[f"{i}.net.0.t"]
    t = np.nan_to_num(steps).round().astype(np.int64)
    closed_form = partial(_mixture, np.sqrt(s.ab), np.sqrt(1 - s.ab))
    if not record["noising_calls"]:  # the loss wrote the closed form out: the noise follows from what the network saw
        nothing = np.zeros_like(x0)
        eps = (x_t - closed_form(steps, x0, nothing)) / closed_form(steps, nothing, nothing + 1)
        t_noising, mixed = steps, True
    else:
        used, t_noising = _spread_over(arrays[f"{i}.noising.0.eps"], x0.shape), arrays[f"{i}.noising.0.t"]
        if used is None:
            return None
        eps = used
        stand_in = partial(_mixture, given["signal"].astype(float), given["spread"].astype(float))
        mixed = any(np.allclose(x_t, mix(t_noising, x0, eps), atol=1e-5) for mix in (stand_in, closed_form))
    out, loss = network_output(given, x_t, steps), arrays[f"{i}.loss"].astype(float)
    return Trial(x0, eps, t, np.asarray(t_noising, dtype=float), x_t, out, loss, record["noising_calls"], mixed)


def _spread_over(eps: NDArray[Any], shape: tuple[int, ...]) -> Array | None:
    """Noise of one sample or one channel as torch spreads it over the batch; None where it cannot."""
    try:
        return np.broadcast_to(eps.astype(float), shape)
    except ValueError:
        return None


def _mixture(signal: Array, spread: Array, t: Array, x0: Array, eps: Array) -> Array:
    """signal_t x_0 + spread_t eps, with t clipped to the tables as in the stand-in of the worker."""
    index = np.clip(np.nan_to_num(t).astype(np.int64), 0, len(signal) - 1)
    return reference.per_sample(signal, index, x0.ndim) * x0 + reference.per_sample(spread, index, x0.ndim) * eps


def right_targets(seen: LossObservation, trial: Trial) -> Iterator[Array]:
    """Everything that the network may be asked to match. The posterior mean has two equal forms (DDPM Eqs. 7, 11);
    on the stand-in for x_t they differ, and either is right, also one of them at t = 0 alone."""
    if seen.predictor == "noise":
        yield trial.eps
    elif seen.predictor == "x0":
        yield trial.x0
    else:
        by_x0 = reference.posterior_mean(seen.schedule, trial.x0, trial.x_t, trial.level)
        by_noise = reference.mean_from_noise(seen.schedule, trial.x_t, trial.eps, trial.level)
        at_zero = trial.per_sample(np.arange(T) == 0)
        yield from (by_x0, by_noise, np.where(at_zero, by_x0, by_noise), np.where(at_zero, by_noise, by_x0))


def mean_square(a: Array, b: Array) -> float:
    return float(((a - b) ** 2).mean())


def agrees(value: float, predicted: float) -> bool:
    """Equality of a loss with its recomputation, to float32 rounding."""
    return bool(np.isfinite(value)) and abs(value - predicted) <= RTOL * max(abs(predicted), 1e-3)


def right_value(seen: LossObservation, trial: Trial) -> float:
    """The loss of a trial against the first of its right targets."""
    return mean_square(next(iter(right_targets(seen, trial))), trial.out)


def unexplained(seen: LossObservation, trials: list[Trial]) -> Trial | None:
    """None where one form of the right target explains every trial; else the first that none does, or the first."""
    explained = [
        [agrees(trial.value, mean_square(target, trial.out)) for target in right_targets(seen, trial)]
        for trial in trials
    ]
    if any(map(all, zip(*explained, strict=True))):
        return None
    return next((trial for trial, forms in zip(trials, explained, strict=True) if not any(forms)), trials[0])
