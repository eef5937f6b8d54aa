"""Judges compute_loss (Task 1) and get_loss_noise / _x0 / _mean (Task 2).

Network and forward process are stand-ins with arbitrary coefficients. What they were shown comes back, and the loss
is recomputed from it here. Batches of four tell a wrong target at t = 0 from a wrong target elsewhere; large
batches show the distribution of t.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grader.judging.bench import Bench, Judgement, Observation
from grader.judging.comparison import Array, Arrays
from grader.judging.draws import as_text, odd_draws
from grader.judging.findings import answered, asked, judged
from grader.lab import reference
from grader.lab.checks.forward import network_coefficients
from grader.lab.reference import Schedule
from grader.lab.settings import SHORT
from grader.records import Finding
from grader.sandbox import Answer

T = SHORT["T"]
SMALL_TRIALS, SMALL = 60, 4  # without t = 0 in any of them: once in 10^11 runs
LARGE_TRIALS, LARGE = 3, 1024
RTOL = 1e-4
# With T - 1 = 9 degrees of freedom a right draw exceeds this once in 10^9, and one that rounds (the ends half as likely
# as the rest) stays below it once in 10^4. Antithetic pairs, t with T - 1 - t, are right too and vary twice as much.
CHI_SQUARE = 65.0
EQUATIONS = {
    "noise": "L_simple = E ‖ε − ε_θ(x_t, t)‖², mean over all entries   (DDPM Eq. 14)",
    "x0": "L = E ‖x_0 − x_θ(x_t, t)‖², mean over all entries",
    "mean": "L = E ‖μ̃_t(x_t, x_0) − μ_θ(x_t, t)‖², mean over all entries   (DDPM Eqs. 7 and 8)",
}


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


@dataclass
class LossObservation(Observation):
    """All trials of a loss with the schedule that they ran on."""

    schedule: Schedule
    predictor: str
    trials: list[Trial] = field(default_factory=list)
    large: list[Trial] = field(default_factory=list)
    t_problem: str | None = None
    noise_problem: str | None = None
    problem: str | None = None  # symptom by name: "no_network", "no_gradient", "shape", "t_differs"


@dataclass(frozen=True)
class _Loss:
    """One loss to judge."""

    name: str
    probe: str
    predictor: str
    sample: tuple[int, ...]  # shape of one sample
    points: dict[str, float]


OF_THREE = {"timesteps": 1.0, "target": 1.5, "gradient": 0.5}
COMPUTE_LOSS = _Loss("compute_loss", "compute_loss", "noise", (2,), {"timesteps": 1.5, "target": 2.0, "gradient": 0.5})
IMAGE_LOSSES = {
    "noise": _Loss("get_loss_noise", "get_loss", "noise", (3, 6, 6), OF_THREE),
    "x0": _Loss("get_loss_x0", "get_loss", "x0", (3, 6, 6), OF_THREE),
    "mean": _Loss(
        "get_loss_mean",
        "get_loss",
        "mean",
        (3, 6, 6),
        {"timesteps": 1.0, "target": 2.0, "target_t0": 0.5, "gradient": 0.5},
    ),
}


def judge_compute_loss(bench: Bench) -> Judgement:
    return _judge(bench, COMPUTE_LOSS)


def judge_image_loss(bench: Bench, predictor: str) -> Judgement:
    return _judge(bench, IMAGE_LOSSES[predictor])


def _judge(bench: Bench, loss: _Loss) -> Judgement:
    schedule = Schedule.linear(T, SHORT["beta_1"], SHORT["beta_T"])
    seen = LossObservation(schedule, loss.predictor)
    stub = _stand_ins(bench, loss)
    small = asked(lambda: _ask(bench, loss, stub, SMALL_TRIALS, SMALL, seen.trials, seen))
    large = asked(lambda: _ask(bench, loss, stub, LARGE_TRIALS, LARGE, seen.large, seen))
    judges = {
        "timesteps": lambda: _timesteps(answered(large), loss, seen),
        "target": lambda: _noise(loss, seen) or _target(answered(small), loss, seen, partial(_has_t0, wanted=False)),
        "target_t0": lambda: _target(answered(small), loss, seen, partial(_has_t0, wanted=True)),
        "gradient": lambda: _gradient(answered(small), loss, seen, stub),
    }
    if "target_t0" not in loss.points:
        judges["target"] = lambda: _noise(loss, seen) or _target(answered(small), loss, seen, lambda trial: True)
    return Judgement([judged(name, points, judges[name]) for name, points in loss.points.items()], [seen])


def _has_t0(trial: Trial, wanted: bool) -> bool:
    return bool((trial.level == 0).any()) == wanted


def _stand_ins(bench: Bench, loss: _Loss) -> Arrays:
    features = loss.sample[0]
    return network_coefficients(bench, features) | {
        "signal": bench.uniform(0.4, 0.9, T + 2),
        "spread": bench.uniform(0.4, 0.9, T + 2),
    }


def _ask(
    bench: Bench, loss: _Loss, stub: Arrays, trials: int, batch: int, into: list[Trial], seen: LossObservation
) -> Answer:
    inputs = {f"x0.{i}": bench.uniform(-0.9, 0.9, batch, *loss.sample) for i in range(trials)}
    params = SHORT | {"seeds": [bench.seed() for _ in range(trials)], "predictor": loss.predictor}
    answer = bench.ask(loss.probe, params, stub | inputs)
    for i, record in enumerate(answer.data["trials"]):
        trial = _trial(i, record, answer, inputs[f"x0.{i}"].astype(float), stub, seen.schedule)
        if trial is None:
            seen.problem = "no_network"
        else:
            into.append(trial)
    return answer


def _trial(i: int, record: dict[str, int], answer: Answer, x0: Array, stub: Arrays, s: Schedule) -> Trial | None:
    """One trial from the raw records; None where the network was not asked, or asked about another batch."""
    arrays = answer.arrays
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
        stand_in = partial(_mixture, stub["signal"].astype(float), stub["spread"].astype(float))
        mixed = any(np.allclose(x_t, mix(t_noising, x0, eps), atol=1e-5) for mix in (stand_in, closed_form))
    return Trial(
        x0,
        eps,
        t,
        np.asarray(t_noising, dtype=float),
        x_t,
        network_output(stub, x_t, steps),
        arrays[f"{i}.loss"].astype(float),
        record["noising_calls"],
        mixed,
    )


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


def network_output(stub: Arrays, x: Array, t: Array) -> Array:
    """The stand-in network of the worker in float64: W x + slope t + bias over axis 1."""
    weight, slope, bias = (stub[name].astype(float) for name in ("weight", "slope", "bias"))
    drift = np.outer(t, slope) + bias
    return np.asarray(np.einsum("ij,bj...->bi...", weight, x) + drift.reshape(*drift.shape, *[1] * (x.ndim - 2)))


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
        at_zero = reference.per_sample(np.arange(T) == 0, trial.level, trial.x0.ndim)
        yield from (by_x0, by_noise, np.where(at_zero, by_x0, by_noise), np.where(at_zero, by_noise, by_x0))


def mean_square(a: Array, b: Array) -> float:
    return float(((a - b) ** 2).mean())


def agrees(value: float, predicted: float) -> bool:
    """Equality of a loss with its recomputation, to float32 rounding."""
    return bool(np.isfinite(value)) and abs(value - predicted) <= RTOL * max(abs(predicted), 1e-3)


def _no_network(loss: _Loss) -> Finding:
    return Finding(
        f"{loss.name} asks the network about (x_t, t)",
        "the network called once on the noisy batch",
        "it was not called on a batch of that shape",
        loss.name,
        EQUATIONS[loss.predictor],
    )


def _timesteps(answer: Answer, loss: _Loss, seen: LossObservation) -> Finding | None:
    if not seen.large:
        return _no_network(loss)
    checked = f"the timesteps that {loss.name} draws for a batch of {LARGE}, T = {T}"
    expected = f"one t per sample, uniform on 0 … {T - 1}, the same for x_t and for the network"
    seen.t_problem = _t_problem(seen.large)
    if seen.t_problem is None:
        return None
    return Finding(checked, expected, seen.t_problem, loss.name, "t ~ Uniform({1, …, T})   (DDPM Algorithm 1)")


def _t_problem(trials: list[Trial]) -> str | None:
    if any(not np.array_equal(trial.t, trial.t_noising) for trial in trials):
        return "x_t was made at other timesteps than the network was told"
    if any(len(np.unique(trial.t)) == 1 for trial in trials):
        return "one t for the whole batch"
    t = np.concatenate([trial.t for trial in trials])
    low, high = int(t.min()), int(t.max())
    if (low, high) != (0, T - 1):
        return f"t from {low} to {high}"
    counts = np.bincount(t, minlength=T)
    share = len(t) / T
    if ((counts - share) ** 2).sum() / share > CHI_SQUARE:
        return f"t is not uniform: counts {counts.tolist()} of {len(t)}"
    if len(trials) > 1 and all(np.array_equal(trials[0].t, trial.t) for trial in trials[1:]):
        return "the same timesteps at every call"
    return None


def _noise(loss: _Loss, seen: LossObservation) -> Finding | None:
    """The network is shown x_0 mixed with noise from N(0, I), whoever drew that."""
    if not seen.large:
        return None  # which the caller says
    checked = f"what {loss.name} shows to the network"
    expected = "x_t, made of x_0 and noise ε ~ N(0, I) by the forward process"
    if not all(trial.mixed for trial in seen.large + seen.trials):
        return Finding(
            checked,
            expected,
            "a tensor that is not the x_t of this x_0 and this noise",
            loss.name,
            EQUATIONS[loss.predictor],
        )
    seen.noise_problem = as_text(odd_draws(np.concatenate([trial.eps for trial in seen.large])))
    if seen.noise_problem is None and any(
        np.array_equal(a.eps, b.eps) for a, b in pairwise(seen.large) if a.eps.shape == b.eps.shape
    ):
        seen.noise_problem = "the same noise at every call"
    if seen.noise_problem is None:
        return None
    return Finding(checked, expected, f"other noise: {seen.noise_problem}", loss.name, EQUATIONS[loss.predictor])


def _target(answer: Answer, loss: _Loss, seen: LossObservation, chosen: Callable[[Trial], bool]) -> Finding | None:
    """Some right target explains the loss in every chosen trial."""
    if not seen.trials:
        return _no_network(loss)
    trials = [trial for trial in seen.trials if chosen(trial)]
    checked = f"the value of {loss.name} on a batch of shape {(SMALL, *loss.sample)}"
    if not trials:  # t = 0 was never drawn, or always: the timesteps check says why
        return Finding(checked, "batches with and without t = 0", "t is not drawn uniformly", loss.name)
    if any(trial.loss.size != 1 for trial in trials):
        return Finding(
            checked,
            "one number, the mean over all entries",
            f"a tensor of shape {trials[0].loss.shape}",
            loss.name,
            EQUATIONS[loss.predictor],
        )
    explained = [
        [agrees(trial.value, mean_square(target, trial.out)) for target in right_targets(seen, trial)]
        for trial in trials
    ]
    if any(all(column) for column in zip(*explained, strict=True)):
        return None
    k = next(k for k, row in enumerate(explained) if not any(row)) if not all(map(any, explained)) else 0
    trial = trials[k]
    wanted = mean_square(next(iter(right_targets(seen, trial))), trial.out)
    return Finding(
        checked,
        f"{wanted:.5f}, recomputed from what the network was shown",
        f"{trial.value:.5f}",
        f"{loss.name}, t = {trial.t.tolist()}",
        EQUATIONS[loss.predictor],
    )


def _gradient(answer: Answer, loss: _Loss, seen: LossObservation, stub: Arrays) -> Finding | None:
    """The gradient arrives at the network: of any loss that reads the network's output, right or wrong."""
    checked = f"the gradient of {loss.name} at the network's parameters"
    for i, record in enumerate(answer.data["trials"]):
        gradient = answer.arrays.get(f"{i}.grad")
        if gradient is None or not np.isfinite(gradient).all() or not np.abs(gradient).max() > 0:
            seen.problem = seen.problem or "no_gradient"
            got = "none" if gradient is None else "zero or not finite"
            if not record["requires_grad"]:
                got += ": the loss is cut off from the network (detach, no_grad or item)"
            return Finding(checked, "finite and not zero", got, loss.name, EQUATIONS[loss.predictor])
    return None
