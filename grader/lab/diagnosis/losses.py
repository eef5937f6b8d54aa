"""Misconceptions about the training losses: compute_loss, get_loss_noise, get_loss_x0, get_loss_mean."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from grader.lab import reference
from grader.lab.checks.losses import EQUATIONS, LossObservation, Trial, agrees, mean_square, right_targets
from grader.lab.diagnosis.base import Misconception
from grader.lab.reference import Array, Schedule

NOISE = ("task1.compute_loss", "task2.loss_noise")
X0, MEAN = ("task2.loss_x0",), ("task2.loss_mean",)
ALL = NOISE + X0 + MEAN
Value = Callable[[LossObservation, Trial, Array], float]
Target = Callable[[Schedule, Trial], Array]


def values(*predicted: Value) -> Callable[[LossObservation], bool]:
    """Matches losses that are another function of the right target, in every trial, while the right one is not."""

    def fits(seen: LossObservation, value: Value) -> bool:
        def agreeing(trial: Trial) -> list[bool]:
            return [
                trial.loss.size == 1 and agrees(trial.value, value(seen, trial, target))
                for target in right_targets(seen, trial)
            ]

        return any(all(form) for form in zip(*map(agreeing, seen.trials), strict=True))

    return lambda seen: bool(seen.trials) and any(fits(seen, value) for value in predicted)


def targets(*wrong: Target) -> Callable[[LossObservation], bool]:
    """Matches mean squared errors against another target, in every trial."""

    def fits(seen: LossObservation, target: Target) -> bool:
        return all(
            trial.loss.size == 1 and agrees(trial.value, mean_square(target(seen.schedule, trial), trial.out))
            for trial in seen.trials
        )

    def matches(seen: LossObservation) -> bool:
        with np.errstate(all="ignore"):
            return bool(seen.trials) and not _right(seen) and any(fits(seen, target) for target in wrong)

    return matches


def _right(seen: LossObservation) -> bool:
    return values(lambda _, trial, target: mean_square(target, trial.out))(seen)


def posterior(of_xt: Callable[[Schedule], Array], of_x0: Callable[[Schedule], Array]) -> Target:
    """A posterior mean with other weights of x_t and x_0; tables of shape (T,)."""

    def target(s: Schedule, trial: Trial) -> Array:
        t, n = trial.level, trial.x0.ndim
        a, b = (reference.per_sample(table(s), t, n) for table in (of_xt, of_x0))
        return np.asarray(a * trial.x_t + b * trial.x0)

    return target


def from_noise(a: Callable[[Schedule], Array], b: Callable[[Schedule], Array]) -> Target:
    """A posterior mean from the noise with other weights; tables of shape (T,)."""

    def target(s: Schedule, trial: Trial) -> Array:
        t, n = trial.level, trial.x0.ndim
        return np.asarray(reference.per_sample(a(s), t, n) * trial.x_t + reference.per_sample(b(s), t, n) * trial.eps)

    return target


def _weights(previous: Callable[[Schedule], Array]) -> Target:
    """Eq. 7 with another table for alpha-bar_{t-1}."""
    return posterior(
        lambda s: np.sqrt(s.alphas) * (1 - previous(s)) / (1 - s.ab),
        lambda s: np.sqrt(previous(s)) * s.betas / (1 - s.ab),
    )


def _independent_noise(seen: LossObservation) -> bool:
    """The value of a loss against noise that has nothing to do with what the network was shown."""
    if any(trial.noisings > 1 and not trial.mixed for trial in seen.trials):
        return True  # x_t of one call, the noise of another
    trials = [trial for trial in seen.large if trial.loss.size == 1]
    return bool(trials) and not _right(seen) and all(_against_fresh_noise(seen, trial) for trial in trials)


def _against_fresh_noise(seen: LossObservation, trial: Trial) -> bool:
    """The target is fresh noise, or a mean that is made of it: a x_t + b z with a = 0, b = 1 or those of Eq. 11."""
    a, b = np.zeros(1), np.ones(1)
    if seen.predictor == "mean":
        right = reference.step_tables(seen.schedule, "noise")
        a, b = (reference.per_sample(table, trial.level, trial.x0.ndim) for table in (right.a, right.b))
    rest = trial.out - a * trial.x_t
    expected = float((rest**2 + b**2).mean())
    spread = np.sqrt(float((2 * b**4 + 4 * b**2 * rest**2).mean()) / trial.out.size)
    return bool(abs(trial.value - expected) < 6 * spread)


def _weighted(seen: LossObservation) -> bool:
    """The squared error over the variance of the step, twice or not, in every batch without t = 0, where that is 0."""
    trials = [trial for trial in seen.trials if trial.loss.size == 1 and (trial.level > 0).all()]
    variances = (seen.schedule.posterior_variance, seen.schedule.betas)

    def fits(variance: Array, factor: float) -> bool:
        return all(
            any(
                agrees(
                    trial.value,
                    factor * float(((trial.out - y) ** 2 / reference.per_sample(variance, trial.level, y.ndim)).mean()),
                )
                for y in right_targets(seen, trial)
            )
            for trial in trials
        )

    return bool(trials) and any(fits(variance, factor) for variance in variances for factor in (0.5, 1.0))


def _network_sees(what: Callable[[Trial], Array]) -> Callable[[LossObservation], bool]:
    return lambda seen: bool(seen.trials) and all(np.allclose(t.x_t, what(t), atol=1e-6) for t in seen.trials)


def _t_range(low: int, high: int) -> Callable[[LossObservation], bool]:
    """Timesteps that stay on [low, T - 1 + high] and reach both ends."""

    def matches(seen: LossObservation) -> bool:
        if not seen.large:
            return False
        t = np.concatenate([trial.t for trial in seen.large])
        return (int(t.min()), int(t.max())) == (low, seen.schedule.T - 1 + high)

    return matches


def _t_says(text: str) -> Callable[[LossObservation], bool]:
    return lambda seen: text in (seen.t_problem or "")


def _unreduced(seen: LossObservation) -> bool:
    return bool(seen.trials) and all(trial.loss.size > 1 for trial in seen.trials)


def _everywhere(
    rows_of: dict[str, tuple[str, ...]], id_: str, title: str, hint: str, matches: Callable[[LossObservation], bool]
) -> list[Misconception]:
    """One entry a predictor, as each has its own equation."""
    return [Misconception(id_, rows, title, hint, EQUATIONS[predictor], matches) for predictor, rows in rows_of.items()]


_EACH = {"noise": NOISE, "x0": X0, "mean": MEAN}

_TARGETS = [
    Misconception(
        "x0-for-noise-target",
        NOISE,
        "the target is x_0 instead of the noise",
        "This network estimates the noise inside x_t. Compare its output with the noise that you added.",
        EQUATIONS["noise"],
        targets(lambda s, trial: trial.x0),
    ),
    Misconception(
        "noise-for-x0-target",
        X0,
        "the target is the noise instead of x_0",
        "With the predictor 'x0' the network estimates the clean image: compare its output with that.",
        EQUATIONS["x0"],
        targets(lambda s, trial: trial.eps),
    ),
    Misconception(
        "noise-for-mean-target",
        MEAN,
        "the target is the noise instead of the posterior mean",
        "With the predictor 'mean' the network estimates the mean of q(x_{t−1} | x_t, x_0): compute that.",
        EQUATIONS["mean"],
        targets(lambda s, trial: trial.eps),
    ),
    Misconception(
        "x0-for-mean-target",
        MEAN,
        "the target is x_0 instead of the posterior mean",
        "The posterior mean lies between x_0 and x_t; only at t = 0 is it x_0.",
        EQUATIONS["mean"],
        targets(lambda s, trial: trial.x0),
    ),
    *_everywhere(
        _EACH,
        "xt-as-target",
        "the target is x_t, which is the network's own input",
        "A network that copies its input would have loss 0. What is it meant to find out about x_t?",
        targets(lambda s, trial: trial.x_t),
    ),
    Misconception(
        "loss-clamped-alpha-bar-at-t0",
        MEAN,
        "ᾱ before the first step is taken from a clamped index",
        "Clamping t − 1 to 0 reads ᾱ_0 twice. Before the first step nothing is lost yet: what is ᾱ there?",
        EQUATIONS["mean"],
        targets(_weights(lambda s: np.append(s.ab[:1], s.ab[:-1])), _weights(lambda s: np.roll(s.ab, 1))),
    ),
    Misconception(
        "loss-posterior-weights-swapped",
        MEAN,
        "the weights of x_0 and x_t are exchanged in the target",
        "At small t the posterior mean is almost x_0, at large t almost x_t. Which weight is large where?",
        EQUATIONS["mean"],
        targets(
            posterior(lambda s: reference.posterior_mean_tables(s)[1], lambda s: reference.posterior_mean_tables(s)[0])
        ),
    ),
    Misconception(
        "loss-posterior-not-shifted",
        MEAN,
        "ᾱ_t is used where ᾱ_{t−1} belongs in the target",
        "Two places of the formula speak of the noise level after the step, at t − 1.",
        EQUATIONS["mean"],
        targets(
            _weights(lambda s: s.ab),
            posterior(lambda s: reference.posterior_mean_tables(s)[0], lambda s: np.sqrt(s.ab) * s.betas / (1 - s.ab)),
        ),
    ),
    Misconception(
        "loss-posterior-lost-square-root",
        MEAN,
        "a square root is missing in the target",
        "Both weights of the posterior mean hold a square root: one over ᾱ_{t−1}, the other over α_t.",
        EQUATIONS["mean"],
        targets(
            posterior(lambda s: s.alphas * (1 - s.ab_prev) / (1 - s.ab), lambda s: s.ab_prev * s.betas / (1 - s.ab)),
            posterior(lambda s: reference.posterior_mean_tables(s)[0], lambda s: s.ab_prev * s.betas / (1 - s.ab)),
            posterior(
                lambda s: s.alphas * (1 - s.ab_prev) / (1 - s.ab), lambda s: reference.posterior_mean_tables(s)[1]
            ),
            from_noise(lambda s: s.alphas**-0.5, lambda s: -s.betas / ((1 - s.ab) * np.sqrt(s.alphas))),
            from_noise(lambda s: 1 / s.alphas, lambda s: -s.betas / (np.sqrt(1 - s.ab) * s.alphas)),
        ),
    ),
    Misconception(
        "loss-alpha-for-alpha-bar",
        MEAN,
        "α_t and ᾱ_t are confused in the target",
        "ᾱ describes all the steps from x_0, α a single one. Go through the formula factor by factor.",
        EQUATIONS["mean"],
        targets(
            from_noise(lambda s: s.alphas**-0.5, lambda s: -np.sqrt(s.betas) / np.sqrt(s.alphas)),
            from_noise(lambda s: s.ab**-0.5, lambda s: -s.betas / (np.sqrt(1 - s.ab) * np.sqrt(s.ab))),
            posterior(
                lambda s: np.sqrt(s.ab) * (1 - s.ab_prev) / (1 - s.ab), lambda s: reference.posterior_mean_tables(s)[1]
            ),
        ),
    ),
    *_everywhere(
        {"noise": NOISE, "mean": MEAN},
        "loss-noise-drawn-twice",
        "the target noise is not the noise inside x_t",
        "Draw the noise once, keep it, make x_t with it and compare with the same tensor: against fresh noise "
        "the loss can never fall below 1.",
        _independent_noise,
    ),
    *_everywhere(
        _EACH,
        "loss-noise-not-standard",
        "the noise that makes x_t is not fresh standard Gaussian noise",
        "ε ~ N(0, I) has the shape of x_0: randn, not rand, and a fresh draw for every number in it.",
        lambda seen: seen.noise_problem is not None and _right(seen),
    ),
    *_everywhere(
        {"noise": NOISE, "x0": X0, "mean": MEAN},
        "network-sees-x0",
        "the network is shown x_0 instead of x_t",
        "The network learns to look through noise: it has to be given the noisy x_t.",
        _network_sees(lambda trial: trial.x0),
    ),
    *_everywhere(
        {"noise": NOISE, "x0": X0, "mean": MEAN},
        "network-sees-noise",
        "the network is shown pure noise",
        "Mix x_0 and the noise with the closed form first, and show the network the mixture x_t.",
        _network_sees(lambda trial: trial.eps),
    ),
]

_REDUCTIONS = [
    *_everywhere(
        _EACH,
        "sum-for-mean",
        "the squared errors are summed instead of averaged",
        "A sum grows with batch and image size, and with it the size of a step of Adam's gradient.",
        values(
            lambda _, trial, y: ((trial.out - y) ** 2).sum(),
            lambda _, trial, y: ((trial.out - y) ** 2).sum() / len(y),
            lambda _, trial, y: ((trial.out - y) ** 2).sum(axis=1).mean(),
        ),
    ),
    *_everywhere(
        _EACH,
        "absolute-error",
        "the mean absolute error is used instead of the squared one",
        "The loss comes from the distance of two Gaussians' means, which is quadratic.",
        values(lambda _, trial, y: np.abs(trial.out - y).mean()),
    ),
    *_everywhere(
        _EACH,
        "root-of-the-error",
        "a square root is taken of the squared error",
        "The objective is the squared norm itself: no root around it.",
        values(
            lambda _, trial, y: np.sqrt(mean_square(trial.out, y)),
            lambda _, trial, y: np.sqrt(((trial.out - y) ** 2).reshape(len(y), -1).sum(axis=1)).mean(),
            lambda _, trial, y: np.sqrt(((trial.out - y) ** 2).sum()),
        ),
    ),
    *_everywhere(
        _EACH,
        "loss-scaled",
        "the loss carries an extra constant factor",
        "L_simple has weight 1: no half in front.",
        values(
            lambda _, trial, y: 0.5 * mean_square(trial.out, y), lambda _, trial, y: 2.0 * mean_square(trial.out, y)
        ),
    ),
    Misconception(
        "loss-weighted",
        MEAN,
        "the squared error is divided by the variance of the step",
        "That is the bound itself. This lab trains with the unweighted error, which DDPM found to be better.",
        EQUATIONS["mean"],
        _weighted,
    ),
    *_everywhere(
        _EACH,
        "error-not-squared",
        "the difference is not squared",
        "Errors of opposite sign must not cancel.",
        values(
            lambda _, trial, y: (trial.out - y).mean(),
            lambda _, trial, y: (y - trial.out).mean(),
            lambda _, trial, y: (trial.out - y).mean() ** 2,
        ),
    ),
    *_everywhere(
        _EACH,
        "loss-not-reduced",
        "the loss is a tensor with one value per entry",
        "backward() starts from a single number: take the mean over all entries.",
        _unreduced,
    ),
    *_everywhere(
        _EACH,
        "network-not-called",
        "the network is not asked about the noisy batch",
        "The loss compares the network's output with its target: call it on x_t and t.",
        lambda seen: seen.problem == "no_network",
    ),
    *_everywhere(
        _EACH,
        "loss-without-gradient",
        "the loss is cut off from the network",
        "detach(), item(), .data or no_grad() end the graph: nothing would be learnt.",
        lambda seen: seen.problem == "no_gradient",
    ),
]

_TIMESTEPS = [
    *_everywhere(
        _EACH,
        "other-t-for-network",
        "x_t is made at other timesteps than the network is told",
        "Draw t once and use it twice, unscaled: for x_t and for the network.",
        _t_says("other timesteps"),
    ),
    *_everywhere(
        _EACH,
        "loss-one-t-for-the-batch",
        "one timestep is drawn for the whole batch",
        "Draw as many timesteps as there are samples: every batch then sees many noise levels.",
        _t_says("whole batch"),
    ),
    *_everywhere(
        _EACH,
        "t-from-1",
        "t = 0 is never drawn",
        "Code t = 0 is the paper's t = 1: it belongs to the range.",
        _t_range(1, 0),
    ),
    *_everywhere(
        _EACH,
        "t-from-1-to-T",
        "t is drawn from 1 … T",
        "The tables hold 0 … T − 1: code t = 0 is the paper's t = 1.",
        _t_range(1, 1),
    ),
    *_everywhere(
        _EACH,
        "t-up-to-T",
        "t is drawn from 0 … T",
        "randint leaves out its upper end: no + 1 is needed.",
        _t_range(0, 1),
    ),
    *_everywhere(
        _EACH,
        "t-misses-the-last",
        "t = T − 1 is never drawn",
        "randint leaves out its upper end: no − 1 is needed.",
        _t_range(0, -1),
    ),
    *_everywhere(
        _EACH,
        "t-same-at-every-call",
        "the same timesteps are drawn at every call",
        "Draw new timesteps for every batch: with a fixed list or seed a sample is shown at one level only.",
        _t_says("same timesteps"),
    ),
    *_everywhere(
        _EACH,
        "t-not-uniform",
        "the timesteps are not drawn uniformly",
        "Every t from 0 to T − 1 is as likely as any other.",
        _t_says("not uniform"),
    ),
]

CATALOGUE = _TARGETS + _REDUCTIONS + _TIMESTEPS
