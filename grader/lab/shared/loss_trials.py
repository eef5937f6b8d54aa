"""Trials of a loss: what its stand-ins were shown, and the loss recomputed from that.

Network and forward process are stand-ins with arbitrary coefficients; what they were shown comes back.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from grader.judging.bench import Observation
from grader.judging.border import Answer, Count, Expects, Said, Tensor, tamed
from grader.judging.comparison import Array, Arrays, off
from grader.judging.draws import OddDraws
from grader.lab import reference
from grader.lab.reference import Schedule
from grader.lab.shared.stand_in import network_output
from grader.records import Verdict
from grader.sandbox import ProbeFailure

RTOL = 1e-4
FAR = 8.0  # a draw from N(0, 1) is beyond it once in 10^15


class TrialSaid(Said):
    """Whether the loss of one trial has a gradient, and how often it asked its stand-ins."""

    requires_grad: bool
    network_calls: Count
    noising_calls: Count


class TrialsSaid(Said):
    """Of all trials."""

    trials: Annotated[list[TrialSaid], Field(max_length=200)]


def trials_answer(count: int, features: int) -> Expects:
    """What so many trials may answer: losses, gradients of the stand-in's weight, what the stand-ins were shown first.

    Whatever a loss shows its stand-ins may be of any shape, and hold any numbers.
    """
    anything, names = Tensor(finite=False, largest=np.inf), ("net.0.x", "net.0.t", "noising.0.eps", "noising.0.t")
    of_each = {"loss": Tensor(most=1 << 16)} | {"grad": Tensor((features, features))} | dict.fromkeys(names, anything)
    of_each["noising.0.x0"] = anything
    tensors = {f"{i}.{name}": tensor for i in range(count) for name, tensor in of_each.items()}
    return Expects(tensors, TrialsSaid)


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
    OTHER_GRADIENT = "the gradient is not that of the loss"


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
    T: int
    gradient: Array  # of the loss, at the stand-in's weight (D, D); NaN where none came

    @property
    def value(self) -> float:
        return float(self.loss.mean())

    @property
    def level(self) -> NDArray[np.int64]:
        """The noise level of x_t as a table index, whatever the network was told. (B,)"""
        return index_of(self.t_noising, self.T)

    def per_sample(self, table: Array) -> Array:
        """table[level] with axes to broadcast against x_0."""
        return reference.per_sample(table, self.level, self.x0.ndim)

    @property
    def has_t0(self) -> bool:
        return bool((self.level == 0).any())

    @property
    def sound(self) -> bool:
        """Whether its numbers are those of a training step: t of the schedule or one beside it, x_t made of x_0 and of
        noise of its size. Far beyond them rounding would hide any target."""
        within = (self.t >= -1).all() and (self.t <= self.T + 1).all()
        return bool(self.mixed and within and (np.abs(self.eps) < FAR).all())

    def weight_gradient(self, target: Array) -> Array:
        """Of the mean square (out - target)^2 at the stand-in's weight. (D, D)"""
        miss, x_t = (array.reshape(*array.shape[:2], -1) for array in (self.out - target, self.x_t))
        return np.asarray(np.einsum("bik,bjk->ij", miss, x_t) * (2.0 / self.out.size))


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


def read_trial(i: int, answer: Answer, given: Arrays, s: Schedule) -> Trial | None:
    """Trial i from what was recorded; None where the network was not asked, or asked about another batch."""
    arrays, x0, said = answer.arrays, given[f"x0.{i}"].astype(float), answer.said.trials[i]
    if not said.network_calls or answer.shape(f"{i}.net.0.x") != x0.shape:
        return None
    x_t, steps = tamed(arrays[f"{i}.net.0.x"]), _one_each(arrays[f"{i}.net.0.t"], len(x0))
    t = np.nan_to_num(steps).round().astype(np.int64)
    closed_form = partial(_mixture, np.sqrt(s.ab), np.sqrt(1 - s.ab))
    if not said.noising_calls:  # the loss wrote the closed form out: the noise follows from what the network saw
        nothing = np.zeros_like(x0)
        eps = (x_t - closed_form(steps, x0, nothing)) / closed_form(steps, nothing, nothing + 1)
        t_noising, mixed = steps, True
    else:
        used = _spread_over(tamed(arrays[f"{i}.noising.0.eps"]), x0.shape)
        t_noising = _one_each(arrays[f"{i}.noising.0.t"], len(x0))
        if used is None:
            return None
        eps = used
        stand_in = partial(_mixture, given["signal"].astype(float), given["spread"].astype(float))
        mixed = any(np.allclose(x_t, mix(t_noising, x0, eps), atol=1e-5) for mix in (stand_in, closed_form))
    out = network_output(given, x_t, steps)
    # A loss that is not finite agrees with nothing.
    loss = arrays.get(f"{i}.loss", np.array(np.nan)).astype(float)
    gradient = arrays.get(f"{i}.grad", np.full((x0.shape[1],) * 2, np.nan)).astype(float)
    times = np.asarray(t_noising, dtype=float)
    return Trial(x0, eps, t, times, x_t, out, loss, said.noising_calls, mixed, s.T, gradient)


def index_of(t: Array, size: int) -> NDArray[np.int64]:
    """Where a table of this size is read for t that may be anything."""
    return np.clip(np.nan_to_num(t).round(), 0, size - 1).astype(np.int64)


def _one_each(t: NDArray[Any], batch: int) -> Array:
    """t of every sample (batch,), as the stand-ins record it. Raises ProbeFailure for another number of them."""
    if t.shape != (batch,):
        raise ProbeFailure(Verdict.FAILED, f"t of shape {t.shape} was recorded for a batch of {batch}")
    return tamed(t)


def _spread_over(eps: Array, shape: tuple[int, ...]) -> Array | None:
    """Noise of one sample or one channel as torch spreads it over the batch; None where it cannot."""
    try:
        return np.broadcast_to(eps, shape)
    except ValueError:
        return None


def _mixture(signal: Array, spread: Array, t: Array, x0: Array, eps: Array) -> Array:
    """signal_t x_0 + spread_t eps, with t clipped to the tables as in the stand-in of the worker."""
    index = np.clip(np.nan_to_num(t), 0, len(signal) - 1).astype(np.int64)
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
        at_zero = trial.per_sample(np.arange(trial.T) == 0)
        yield from (by_x0, by_noise, np.where(at_zero, by_x0, by_noise), np.where(at_zero, by_noise, by_x0))


def mean_square(a: Array, b: Array) -> float:
    return float(((a - b) ** 2).mean())


def agrees(value: float, predicted: float) -> bool:
    """Equality of a loss with its recomputation, to float32 rounding."""
    return bool(np.isfinite([value, predicted]).all() and abs(value - predicted) <= RTOL * max(abs(predicted), 1e-3))


def right_value(seen: LossObservation, trial: Trial) -> float:
    """The loss of a trial against the first of its right targets."""
    return mean_square(next(iter(right_targets(seen, trial))), trial.out)


def forms(seen: LossObservation, trials: list[Trial]) -> list[tuple[Array, ...]]:
    """The right targets of all trials, by their form: one target a trial in each."""
    return list(zip(*(right_targets(seen, trial) for trial in trials), strict=True))


def explains(target: Array, trial: Trial) -> bool:
    """Whether the loss of a trial is the mean square against a target."""
    return trial.sound and agrees(trial.value, mean_square(target, trial.out))


def unexplained(seen: LossObservation, trials: list[Trial]) -> Trial | None:
    """None where one form of the right target explains every trial; else the first that none does, or the first."""
    explained = [[explains(target, trial) for target in right_targets(seen, trial)] for trial in trials]
    if any(map(all, zip(*explained, strict=True))):
        return None
    return next((trial for trial, found in zip(trials, explained, strict=True) if not any(found)), trials[0])


def odd_gradient(seen: LossObservation, trials: list[Trial], atol: float) -> str | None:
    """How the gradients differ from those of the losses' values, where these are right; None where they do not."""
    odd = None
    for form in forms(seen, trials):
        pairs = list(zip(form, trials, strict=True))
        if not all(explains(target, trial) for target, trial in pairs):
            continue
        differing = (off(trial.gradient, trial.weight_gradient(target), atol) for target, trial in pairs)
        odd = next(filter(None, differing), None)
        if odd is None:
            return None
    return odd
