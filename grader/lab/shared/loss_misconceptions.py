"""Misconceptions about a training loss that several rows share, and what to match those of one row with.

Entries are (id, title, hint, matches), without the equation: each predictor has its own.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from grader.judging.diagnosis import about
from grader.lab import reference
from grader.lab.reference import Array, Schedule
from grader.lab.shared.loss_trials import (
    Disconnected,
    LossObservation,
    OddTimesteps,
    Trial,
    agrees,
    mean_square,
    right_targets,
)
from grader.lab.shared.losses import EQUATIONS

Matches = Callable[[LossObservation], bool]
Value = Callable[[Trial, Array], float]  # of the right target
Target = Callable[[Schedule, Trial], Array]
Entry = tuple[str, str, str, Matches]
NAMES = {"noise": "the noise", "x0": "x_0", "mean": "the posterior mean"}


def values(*predicted: Value) -> Matches:
    """Matches losses that are another function of the right target, in every trial."""

    def fits(seen: LossObservation, value: Value) -> bool:
        def agreeing(trial: Trial) -> list[bool]:
            return [
                trial.loss.size == 1 and agrees(trial.value, value(trial, target))
                for target in right_targets(seen, trial)
            ]

        return any(all(form) for form in zip(*map(agreeing, seen.trials), strict=True))

    return lambda seen: bool(seen.trials) and any(fits(seen, value) for value in predicted)


def targets(*wrong: Target) -> Matches:
    """Matches mean squared errors against another target, in every trial."""

    def fits(seen: LossObservation, target: Target) -> bool:
        return all(
            trial.loss.size == 1 and agrees(trial.value, mean_square(target(seen.schedule, trial), trial.out))
            for trial in seen.trials
        )

    def matches(seen: LossObservation) -> bool:
        with np.errstate(all="ignore"):
            return bool(seen.trials) and not is_right(seen) and any(fits(seen, target) for target in wrong)

    return matches


def is_right(seen: LossObservation) -> bool:
    """Whether every loss is the mean square against a right target."""
    return values(lambda trial, target: mean_square(target, trial.out))(seen)


def _independent_noise(seen: LossObservation) -> bool:
    """The value of a loss against noise that has nothing to do with what the network was shown."""
    if any(trial.noisings > 1 and not trial.mixed for trial in seen.trials):
        return True  # x_t of one call, the noise of another
    trials = [trial for trial in seen.large if trial.loss.size == 1]
    return bool(trials) and not is_right(seen) and all(_against_fresh_noise(seen, trial) for trial in trials)


def _against_fresh_noise(seen: LossObservation, trial: Trial) -> bool:
    """The target is fresh noise, or a mean that is made of it: a x_t + b z with a = 0, b = 1 or those of Eq. 11."""
    a, b = np.zeros(1), np.ones(1)
    if seen.predictor == "mean":
        right = reference.step_tables(seen.schedule, "noise")
        a, b = (trial.per_sample(table) for table in (right.a, right.b))
    rest = trial.out - a * trial.x_t
    expected = float((rest**2 + b**2).mean())
    spread = np.sqrt(float((2 * b**4 + 4 * b**2 * rest**2).mean()) / trial.out.size)
    return bool(abs(trial.value - expected) < 6 * spread)


def _other_noise(seen: LossObservation) -> bool:
    return (seen.odd_noise is not None or seen.noise_repeated) and is_right(seen)


def _network_sees(what: Callable[[Trial], Array]) -> Matches:
    return lambda seen: bool(seen.trials) and all(np.allclose(t.x_t, what(t), atol=1e-6) for t in seen.trials)


def _t_range(low: int, high: int) -> Matches:
    """Timesteps that stay on [low, T - 1 + high] and reach both ends."""

    def matches(seen: LossObservation) -> bool:
        if not seen.large:
            return False
        t = np.concatenate([trial.t for trial in seen.large])
        return (int(t.min()), int(t.max())) == (low, seen.schedule.T - 1 + high)

    return matches


def _odd(kind: OddTimesteps) -> Matches:
    return lambda seen: seen.odd_timesteps is kind


def _unreduced(seen: LossObservation) -> bool:
    return bool(seen.trials) and all(trial.loss.size > 1 for trial in seen.trials)


def confused(wrong: str, right: str, hint: str) -> Entry:
    """`wrong` is the target where `right` belongs: each "noise", "x0" or "mean"."""
    title = f"the target is {NAMES[wrong]} instead of {NAMES[right]}"
    of = {"noise": lambda s, trial: trial.eps, "x0": lambda s, trial: trial.x0}
    return f"{wrong}-for-{right}-target", title, hint, targets(of[wrong])


XT_AS_TARGET = (
    "xt-as-target",
    "the target is x_t, which is the network's own input",
    "A network that copies its input would have loss 0. What is it meant to find out about x_t?",
    targets(lambda s, trial: trial.x_t),
)
NOISE_DRAWN_TWICE = (
    "loss-noise-drawn-twice",
    "the target noise is not the noise inside x_t",
    "Draw the noise once, keep it, make x_t with it and compare with the same tensor: against fresh noise "
    "the loss can never fall below 1.",
    _independent_noise,
)
SHOWN = (
    (
        "loss-noise-not-standard",
        "the noise that makes x_t is not fresh standard Gaussian noise",
        "ε ~ N(0, I) has the shape of x_0: randn, not rand, and a fresh draw for every number in it.",
        _other_noise,
    ),
    (
        "network-sees-x0",
        "the network is shown x_0 instead of x_t",
        "The network learns to look through noise: it has to be given the noisy x_t.",
        _network_sees(lambda trial: trial.x0),
    ),
    (
        "network-sees-noise",
        "the network is shown pure noise",
        "Mix x_0 and the noise with the closed form first, and show the network the mixture x_t.",
        _network_sees(lambda trial: trial.eps),
    ),
)
REDUCTIONS = (
    (
        "sum-for-mean",
        "the squared errors are summed instead of averaged",
        "A sum grows with batch and image size, and with it the size of a step of Adam's gradient.",
        values(
            lambda trial, y: ((trial.out - y) ** 2).sum(),
            lambda trial, y: ((trial.out - y) ** 2).sum() / len(y),
            lambda trial, y: ((trial.out - y) ** 2).sum(axis=1).mean(),
        ),
    ),
    (
        "absolute-error",
        "the mean absolute error is used instead of the squared one",
        "The loss comes from the distance of two Gaussians' means, which is quadratic.",
        values(lambda trial, y: np.abs(trial.out - y).mean()),
    ),
    (
        "root-of-the-error",
        "a square root is taken of the squared error",
        "The objective is the squared norm itself: no root around it.",
        values(
            lambda trial, y: np.sqrt(mean_square(trial.out, y)),
            lambda trial, y: np.sqrt(((trial.out - y) ** 2).reshape(len(y), -1).sum(axis=1)).mean(),
            lambda trial, y: np.sqrt(((trial.out - y) ** 2).sum()),
        ),
    ),
    (
        "loss-scaled",
        "the loss carries an extra constant factor",
        "L_simple has weight 1: no half in front.",
        values(lambda trial, y: 0.5 * mean_square(trial.out, y), lambda trial, y: 2.0 * mean_square(trial.out, y)),
    ),
    (
        "error-not-squared",
        "the difference is not squared",
        "Errors of opposite sign must not cancel.",
        values(
            lambda trial, y: (trial.out - y).mean(),
            lambda trial, y: (y - trial.out).mean(),
            lambda trial, y: (trial.out - y).mean() ** 2,
        ),
    ),
    (
        "loss-not-reduced",
        "the loss is a tensor with one value per entry",
        "backward() starts from a single number: take the mean over all entries.",
        _unreduced,
    ),
    (
        "network-not-called",
        "the network is not asked about the noisy batch",
        "The loss compares the network's output with its target: call it on x_t and t.",
        lambda seen: seen.disconnected is Disconnected.NO_NETWORK,
    ),
    (
        "loss-without-gradient",
        "the loss is cut off from the network",
        "detach(), item(), .data or no_grad() end the graph: nothing would be learnt.",
        lambda seen: seen.disconnected is Disconnected.NO_GRADIENT,
    ),
)
TIMESTEPS = (
    (
        "other-t-for-network",
        "x_t is made at other timesteps than the network is told",
        "Draw t once and use it twice, unscaled: for x_t and for the network.",
        _odd(OddTimesteps.OTHER_FOR_X_T),
    ),
    (
        "loss-one-t-for-the-batch",
        "one timestep is drawn for the whole batch",
        "Draw as many timesteps as there are samples: every batch then sees many noise levels.",
        _odd(OddTimesteps.ONE_FOR_THE_BATCH),
    ),
    (
        "t-from-1",
        "t = 0 is never drawn",
        "Code t = 0 is the paper's t = 1: it belongs to the range.",
        _t_range(1, 0),
    ),
    (
        "t-from-1-to-T",
        "t is drawn from 1 … T",
        "The tables hold 0 … T − 1: code t = 0 is the paper's t = 1.",
        _t_range(1, 1),
    ),
    (
        "t-up-to-T",
        "t is drawn from 0 … T",
        "randint leaves out its upper end: no + 1 is needed.",
        _t_range(0, 1),
    ),
    (
        "t-misses-the-last",
        "t = T − 1 is never drawn",
        "randint leaves out its upper end: no − 1 is needed.",
        _t_range(0, -1),
    ),
    (
        "t-same-at-every-call",
        "the same timesteps are drawn at every call",
        "Draw new timesteps for every batch: with a fixed list or seed a sample is shown at one level only.",
        _odd(OddTimesteps.REPEATED),
    ),
    (
        "t-not-uniform",
        "the timesteps are not drawn uniformly",
        "Every t from 0 to T − 1 is as likely as any other.",
        _odd(OddTimesteps.NOT_UNIFORM),
    ),
)
OF_NOISE = about(
    EQUATIONS["noise"],
    confused(
        "x0",
        "noise",
        "This network estimates the noise inside x_t. Compare its output with the noise that you added.",
    ),
    XT_AS_TARGET,
    NOISE_DRAWN_TWICE,
    *SHOWN,
    *REDUCTIONS,
    *TIMESTEPS,
)
