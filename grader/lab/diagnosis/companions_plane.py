"""Misconceptions about the 2D half's companion exercises: the warm-ups, the single forward step, naive skipping."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

import numpy as np

from grader.lab.checks.companions_chain import FORWARD, SKIP, ChainObservation, SkipObservation, Transition
from grader.lab.checks.companions_plane import EQUATIONS, WarmupCase, WarmupObservation, draws_for
from grader.lab.diagnosis.base import Misconception
from grader.lab.reference import Array, Schedule, forward_step_tables, skipped_timesteps, step_tables
from grader.lab.torch_draws import TorchGenerator

TRAIN, SAMPLER = ("extra.train_step",), ("extra.sampler_loop",)
STEP, SKIPPING = ("extra.forward_step",), ("extra.naive_skip",)
Tables = tuple[Array, Array]


def computes(*variants: Callable[[WarmupCase], Array]) -> Callable[[WarmupObservation], bool]:
    """Matches the results of every call, for any of the given ways to compute them; never right results."""

    def close(got: Array, other: Array) -> bool:
        return got.shape == other.shape and bool(np.allclose(got, other, rtol=1e-4, atol=1e-4))

    def matches(seen: WarmupObservation) -> bool:
        pairs = [(case, case.got) for case in seen.cases if case.got is not None]
        if not pairs or all(close(got, case.expected) for case, got in pairs):
            return False
        with np.errstate(all="ignore"):
            return any(all(close(got, variant(case)) for case, got in pairs) for variant in variants)

    return matches


def stepped(
    t: int | None = None,
    eps: Callable[[WarmupCase], Array] | None = None,
    forward: Callable[[Schedule], Tables] = lambda s: (np.sqrt(s.ab), np.sqrt(1 - s.ab)),
    time: Callable[[int, int], float] = lambda t, T: t / T,
    scale: Callable[[int, int], float] = lambda n, d: 2 / (n * d),
    target: Callable[[Array, Array], Array] = lambda x, eps: eps,
    update: Callable[[Array, Array, float], Array] = lambda w, g, lr: w - lr * g,
) -> Callable[[WarmupCase], Array]:
    """One training step in which one part is another than the right one."""

    def variant(case: WarmupCase) -> Array:
        count, d, T = case.size
        drawn = draws_for("train_step", case.inputs, case.size)
        own_t, own_eps = int(drawn["t"]) if t is None else t, drawn["eps"] if eps is None else eps(case)
        signal, spread = forward(case.schedule)
        x_t = signal[own_t] * case["x_clean"] + spread[own_t] * own_eps
        a = np.hstack([x_t, np.full((count, 1), time(own_t, T))])
        gradient = scale(count, d) * a.T @ (a @ case["w_model"] - target(case["x_clean"], own_eps))
        return np.asarray(update(case["w_model"], gradient, float(case["lr"]))).ravel()

    return variant


def _drawn_on(case: WarmupCase) -> Array:
    """Noise from the generator that drew t, without a new seed."""
    generator = TorchGenerator(case.seed)
    generator.randint(case.size[2])
    return generator.randn(*case.size[:2])


def _noise_seeded(offset: int) -> Callable[[WarmupCase], Array]:
    return lambda case: TorchGenerator(case.seed + offset).randn(*case.size[:2])


def _t_seeded(offset: int, noise_offset: int) -> Callable[[WarmupCase], Array]:
    def variant(case: WarmupCase) -> Array:
        t = TorchGenerator(case.seed + offset).randint(case.size[2])
        return stepped(t=t, eps=_noise_seeded(noise_offset))(case)

    return variant


def _other_t(seen: WarmupObservation) -> bool:
    """Every result is right for some t, though not for the one that the generator gives."""
    pairs = [(case, case.got) for case in seen.cases if case.got is not None and case.size[2] <= 50]

    def some_t(case: WarmupCase, got: Array) -> bool:
        return any(np.allclose(got, stepped(t=t)(case), rtol=1e-4, atol=1e-4) for t in range(case.size[2]))

    wrong = any(not np.allclose(got, case.expected, rtol=1e-4, atol=1e-4) for case, got in pairs)
    return wrong and all(some_t(case, got) for case, got in pairs)


def sampled(
    noise: Callable[[WarmupCase], Iterable[Array]] | None = None,
    start: Callable[[WarmupCase], Array] = lambda case: TorchGenerator(case.seed).randn(*case.size[:2]),
    mean: Callable[[Schedule], Tables] = lambda s: (step_tables(s, "noise").a, step_tables(s, "noise").b),
    sigma: Callable[[Schedule], Array] = lambda s: np.sqrt(s.betas),
    time: Callable[[int, int], float] = lambda t, T: t / T,
    steps: Callable[[int], list[int]] = lambda T: list(range(T - 1, -1, -1)),
    noisy: Callable[[int, int], bool] = lambda t, T: t > 0,
) -> Callable[[WarmupCase], Array]:
    """The sampler's loop in which one part is another than the right one; `noise` gives the draws in its order."""

    def variant(case: WarmupCase) -> Array:
        T, w, s = case.size[2], case["w_model"], case.schedule
        a, b = mean(s)
        spread, draws = sigma(s), iter(noise(case)) if noise else None
        x = start(case)
        for t in steps(T):
            x = a[t] * x + b[t] * (x @ w[:-1] + time(t, T) * w[-1])
            if noisy(t, T):
                x = x + spread[t] * (next(draws) if draws else _noise_seeded(100 + t)(case))
        return x

    return variant


def _seeded_by(offset: Callable[[int, int], int]) -> Callable[[WarmupCase], Iterable[Array]]:
    """The noise of each step from a generator of its own, seeded with seed + offset(t, T)."""
    return lambda case: (_noise_seeded(offset(t, case.size[2]))(case) for t in range(case.size[2] - 1, 0, -1))


def _one_generator(offset: int) -> Callable[[WarmupCase], Iterable[Array]]:
    def draws(case: WarmupCase) -> Iterable[Array]:
        generator = TorchGenerator(case.seed + offset)
        if offset == 0:
            generator.randn(*case.size[:2])  # the start
        while True:
            yield generator.randn(*case.size[:2])

    return draws


def _eq11(scale: Callable[[Schedule], Array], share: Callable[[Schedule], Array]) -> Callable[[Schedule], Tables]:
    """scale (x - share eps_theta)."""
    return lambda s: (scale(s), -scale(s) * share(s))


def _right_scale(s: Schedule) -> Array:
    return np.asarray(1 / np.sqrt(s.alphas))


def _right_share(s: Schedule) -> Array:
    return np.asarray(s.betas / np.sqrt(1 - s.ab))


def uses(*variants: Callable[[Schedule], Tables]) -> Callable[[ChainObservation], bool]:
    """Matches the forward step's coefficients (a_t, b_t) at every t, as closely as they are known."""

    def fits(seen: ChainObservation, a: Array, b: Array) -> bool:
        return bool(
            np.allclose(seen.a, a, rtol=1e-3, atol=1e-4)
            and (np.abs(seen.b - b) <= max(1e-3, seen.slack) * b + 1e-4).all()
        )

    def matches(seen: ChainObservation) -> bool:
        with np.errstate(all="ignore"):
            return (
                seen.residual < 1e-3
                and not fits(seen, *forward_step_tables(seen.schedule))
                and any(fits(seen, *variant(seen.schedule)) for variant in variants)
            )

    return matches


def _shifted(shift: Callable[[Array], Array]) -> Callable[[Schedule], Tables]:
    return lambda s: forward_step_tables(Schedule(shift(s.betas)))


def _repeats(noise: str) -> bool:
    return "share" in noise or "same" in noise


def _visits(test: Callable[[list[float], int, int], bool]) -> Callable[[SkipObservation], bool]:
    """A test of the steps, k and T of every stride above 1 whose timesteps are wrong."""

    def matches(seen: SkipObservation) -> bool:
        T = seen.schedule.T
        found = {k: steps for k, steps in seen.steps.items() if k > 1 and steps not in skipped_timesteps(T, k)}
        return bool(found) and all(steps and test(steps, k, T) for k, steps in found.items())

    return matches


def _starts_elsewhere(steps: list[float], k: int, T: int) -> bool:
    return steps[0] != T - 1 and all(a - b == k for a, b in pairwise(steps[:-1]))


def _jumps(seen: SkipObservation) -> bool:
    """A step with coefficients that lead to the next timestep visited, as DDIM or a respaced schedule have them."""
    far = [step for step in seen.crooked if step.following is not None and step.following < step.t - 1]
    return bool(far) and all(_is_jump(seen.schedule, step) for step in far)


def _is_jump(s: Schedule, step: Transition) -> bool:
    ratio = s.ab[step.t] / s.ab[step.following or 0]
    stretch = 1 / np.sqrt(ratio)
    ddim = np.sqrt(1 - s.ab[step.following or 0]) - stretch * np.sqrt(1 - s.ab[step.t])
    respaced = -stretch * (1 - ratio) / np.sqrt(1 - s.ab[step.t])
    slack = [8.0 * error + 1e-3 for error in step.errors]
    return bool(abs(step.p - stretch) <= slack[0] and min(abs(step.q - ddim), abs(step.q - respaced)) <= slack[1])


def _entries(
    rows: tuple[str, ...], equation: str, *entries: tuple[str, str, str, Callable[[Any], bool]]
) -> list[Misconception]:
    return [Misconception(id_, rows, title, hint, equation, matches) for id_, title, hint, matches in entries]


def _for_observation(kind: type, test: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda seen: isinstance(seen, kind) and test(seen)


_GLOBAL_STATE = (
    "global-random-state",
    "the numbers are drawn from the global random state",
    "The same arguments must give the same result: make a torch.Generator, seed it, and pass it to every draw.",
    lambda seen: seen.unsteady,
)
_IN_PLACE = (
    "weights-changed-in-place",
    "the caller's tensors are changed in place",
    "Operators such as -= and methods that end in an underscore write into the tensor that was passed in: a second "
    "call with it would start from other weights.",
    lambda seen: bool(seen.changed),
)

_TRAIN = _entries(
    TRAIN,
    EQUATIONS["train_step"],
    *[
        (
            "autograd-used",
            "the gradient comes from autograd",
            "Gradients are switched off here. Derive the loss by the prediction first, then carry it "
            "through the product.",
            lambda seen: seen.autograd,
        ),
        _GLOBAL_STATE,
        (
            "noise-from-used-generator",
            "t and the noise come from the same generator",
            "The noise has a generator of its own, seeded with seed + 1.",
            computes(stepped(eps=_drawn_on)),
        ),
        (
            "train-seed-offset",
            "a draw is made with another seed",
            "`seed` belongs to t, `seed + 1` to the noise.",
            computes(
                stepped(eps=_noise_seeded(0)),
                stepped(eps=_noise_seeded(2)),
                stepped(eps=_noise_seeded(100)),
                _t_seeded(1, 0),
                _t_seeded(1, 1),
                _t_seeded(1, 2),
            ),
        ),
        (
            "gradient-without-d",
            "the gradient is not divided by d: the mean is taken over the N points only",
            "The loss is a mean over all entries of the prediction. How many are there?",
            computes(stepped(scale=lambda n, d: 2 / n)),
        ),
        (
            "gradient-without-n",
            "the gradient is not divided by N: the mean is taken over the features only",
            "The loss is a mean over all entries of the prediction. How many are there?",
            computes(stepped(scale=lambda n, d: 2 / d)),
        ),
        (
            "gradient-of-a-sum",
            "the gradient is that of a sum, not of a mean",
            "The loss is a mean over N d entries: where is the factor 2/(N d)?",
            computes(stepped(scale=lambda n, d: 2.0), stepped(scale=lambda n, d: 1.0)),
        ),
        (
            "gradient-without-2",
            "the 2 from the derivative of the square is missing",
            "What is the derivative of (p − ε)² by p?",
            computes(stepped(scale=lambda n, d: 1 / (n * d))),
        ),
        (
            "product-transposed",
            "the product in the gradient is transposed",
            "The gradient has the shape of the weights, (d+1, d). Its entry (i, j) belongs to input i and output j.",
            computes(
                stepped(update=lambda w, g, lr: w - lr * g.T.reshape(w.shape)),
                stepped(update=lambda w, g, lr: (w - lr * g).T),
            ),
        ),
        (
            "update-uphill",
            "the step goes uphill",
            "A gradient points to where the loss grows. The step goes the other way; "
            "look at the sign of predicted − ε as well.",
            computes(stepped(update=lambda w, g, lr: w + lr * g)),
        ),
        (
            "train-time-not-normalised",
            "t goes into the model as it is, or divided by another number than T",
            "The last column of the input is t/T, a number from 0 to just below 1.",
            computes(
                stepped(time=lambda t, T: t),
                stepped(time=lambda t, T: t / (T - 1)),
                stepped(time=lambda t, T: (t + 1) / T),
            ),
        ),
        (
            "train-lost-square-root",
            "a square root is missing in x_t",
            "The squares of the two coefficients of the closed form sum to 1.",
            computes(
                stepped(forward=lambda s: (s.ab, 1 - s.ab)),
                stepped(forward=lambda s: (np.sqrt(s.ab), 1 - s.ab)),
                stepped(forward=lambda s: (s.ab, np.sqrt(1 - s.ab))),
            ),
        ),
        (
            "train-alpha-for-alpha-bar",
            "α_t is used where the cumulative product ᾱ_t belongs",
            "x_t is made from x_0 in one jump: which table tells how much is left after all steps up to t?",
            computes(
                stepped(forward=lambda s: (np.sqrt(s.alphas), np.sqrt(s.betas))),
                stepped(forward=lambda s: (np.sqrt(s.ab), np.sqrt(s.betas))),
            ),
        ),
        (
            "points-as-target",
            "the prediction is compared with the clean points, not with the noise",
            "The model predicts noise: what does its error compare with?",
            computes(stepped(target=lambda x, eps: x)),
        ),
        (
            "gradient-returned",
            "the gradient comes back, or the weights as they were",
            "Return the weights after the step, flattened.",
            computes(
                stepped(update=lambda w, g, lr: g),
                stepped(update=lambda w, g, lr: lr * g),
                stepped(update=lambda w, g, lr: w),
            ),
        ),
        (
            "learning-rate-ignored",
            "the learning rate is left out",
            "The step is lr times the gradient.",
            computes(stepped(update=lambda w, g, lr: w - g)),
        ),
        (
            "t-drawn-otherwise",
            "t is another one than the named generator draws",
            "torch.randint(0, T, (1,), generator=...) with a generator seeded with seed, and nothing else.",
            _other_t,
        ),
        _IN_PLACE,
    ],
)

_SAMPLER = _entries(
    SAMPLER,
    EQUATIONS["sampler_loop"],
    *[
        _GLOBAL_STATE,
        (
            "sampler-noise-at-t0",
            "noise is added in the last step, t = 0",
            "The last step gives the sample itself: it returns the mean.",
            computes(sampled(noisy=lambda t, T: True)),
        ),
        (
            "sampler-one-generator",
            "one generator draws the noise of all steps",
            "Each step makes a new generator, seeded with seed + 100 + t.",
            computes(*(sampled(noise=_one_generator(offset)) for offset in (0, 1, 100, 101))),
        ),
        (
            "sampler-seed-offset",
            "the noise of a step is drawn with another seed",
            "The step at t draws with seed + 100 + t: t is the timestep, not the number of steps taken.",
            computes(
                *(
                    sampled(noise=_seeded_by(offset))
                    for offset in (
                        lambda t, T: t,
                        lambda t, T: 100,
                        lambda t, T: 0,
                        lambda t, T: 1,
                        lambda t, T: 101 + t,
                        lambda t, T: 99 + t,
                        lambda t, T: 100 - t,
                        lambda t, T: 1 + t,
                        lambda t, T: 100 + T - 1 - t,
                        lambda t, T: 100 + T - t,
                        lambda t, T: 10 + t,
                        lambda t, T: 1000 + t,
                    )
                )
            ),
        ),
        (
            "sampler-start-seed",
            "the start is drawn with another seed",
            "x_T comes from a generator seeded with seed.",
            computes(
                *(sampled(start=_noise_seeded(offset)) for offset in (1, 100, -1)),
                sampled(start=lambda case: _noise_seeded(100 + case.size[2])(case)),
            ),
        ),
        (
            "sampler-scale-left-out",
            "the factor 1/√α_t in front of the bracket is missing",
            "Each forward step shrinks the signal a little, so each reverse step has to stretch it.",
            computes(sampled(mean=_eq11(lambda s: np.ones(s.T), _right_share))),
        ),
        (
            "sampler-one-over-alpha",
            "the step divides by α_t instead of its square root",
            "One forward step multiplies by √(1 − β_t). What undoes that?",
            computes(sampled(mean=_eq11(lambda s: 1 / s.alphas, _right_share))),
        ),
        (
            "sampler-lost-square-root",
            "the predicted noise is divided by 1 − ᾱ_t instead of its square root",
            "The noise enters x_t with a standard deviation, not with a variance.",
            computes(sampled(mean=_eq11(_right_scale, lambda s: s.betas / (1 - s.ab)))),
        ),
        (
            "sampler-alpha-for-alpha-bar",
            "α_t is used where ᾱ_t belongs, under the predicted noise",
            "ε_θ estimates all the noise between x_0 and x_t, so its size goes with the cumulative product.",
            computes(sampled(mean=_eq11(_right_scale, lambda s: np.sqrt(s.betas)))),
        ),
        (
            "sampler-noise-added-back",
            "the predicted noise is added instead of subtracted",
            "A reverse step takes some of the noise away.",
            computes(sampled(mean=_eq11(_right_scale, lambda s: -_right_share(s)))),
        ),
        (
            "sampler-variance-as-deviation",
            "the noise is multiplied by β_t instead of its square root",
            "β_t is a variance. What multiplies z so that the result has this variance?",
            computes(sampled(sigma=lambda s: s.betas)),
        ),
        (
            "sampler-posterior-variance",
            "the variance is β̃_t of the posterior instead of β_t",
            "Both stand in DDPM Sec. 3.2. This exercise takes the larger one, which needs no ᾱ_{t−1}.",
            computes(sampled(sigma=lambda s: np.sqrt(s.posterior_variance))),
        ),
        (
            "sampler-without-noise",
            "no noise is added at any step",
            "Algorithm 2 draws z at every step but the last.",
            computes(sampled(noisy=lambda t, T: False)),
        ),
        (
            "sampler-no-noise-at-t1",
            "no noise is added at t = 1",
            "Algorithm 2 counts from 1: its last step is code t = 0.",
            computes(sampled(noisy=lambda t, T: t > 1)),
        ),
        (
            "sampler-stops-at-1",
            "the loop stops at t = 1 and never takes the step at t = 0",
            "range leaves out its end. Code t = 0 is the paper's t = 1.",
            computes(sampled(steps=lambda T: list(range(T - 1, 0, -1)))),
        ),
        (
            "sampler-upwards",
            "the loop runs from t = 0 up to T − 1",
            "Sampling starts where the forward process ends: at pure noise, t = T − 1.",
            computes(sampled(steps=lambda T: list(range(T)))),
        ),
        (
            "sampler-time-not-normalised",
            "t goes into the model as it is, or divided by another number than T",
            "The last column of the input is t/T, a number from 0 to just below 1.",
            computes(
                sampled(time=lambda t, T: t),
                sampled(time=lambda t, T: t / (T - 1)),
                sampled(time=lambda t, T: (t + 1) / T),
            ),
        ),
        _IN_PLACE,
    ],
)

_STEP = _entries(
    STEP,
    FORWARD,
    *[
        (id_, title, hint, _for_observation(ChainObservation, test))
        for id_, title, hint, test in [
            (
                "chain-closed-form",
                "the jump from x_0 is taken instead of one step",
                "ᾱ_t stands for all steps up to t. What is given here is x_{t−1}, so a single β_t leads to x_t.",
                uses(lambda s: (np.sqrt(s.ab), np.sqrt(1 - s.ab))),
            ),
            (
                "chain-beta-as-deviation",
                "the noise is multiplied by β_t instead of its square root",
                "β_t is the variance of the fresh noise. What multiplies z so that the result has this variance?",
                uses(lambda s: (np.sqrt(s.alphas), s.betas)),
            ),
            (
                "chain-lost-square-root",
                "x_{t−1} is multiplied by 1 − β_t instead of its square root",
                "Variances add up: a² times the old variance plus β_t should be 1 where the old one was 1.",
                uses(lambda s: (s.alphas, np.sqrt(s.betas)), lambda s: (s.alphas, s.betas)),
            ),
            (
                "chain-factors-swapped",
                "the two factors are exchanged",
                "One step changes little: which of the two is close to 1?",
                uses(lambda s: (np.sqrt(s.betas), np.sqrt(s.alphas))),
            ),
            (
                "chain-not-shrunk",
                "x_{t−1} is not scaled down",
                "Without the factor in front of x_{t−1} the variance grows with every step instead of settling at 1.",
                uses(lambda s: (np.ones(s.T), np.sqrt(s.betas)), lambda s: (np.ones(s.T), s.betas)),
            ),
            (
                "chain-unit-noise",
                "the noise is added at full strength",
                "One step adds a little noise: z has to be multiplied by √β_t.",
                uses(lambda s: (np.sqrt(s.alphas), np.ones(s.T))),
            ),
            (
                "chain-without-noise",
                "no noise is added",
                "x_t is a draw from a Gaussian, not its mean.",
                lambda seen: bool(np.nan_to_num(seen.b).max() <= 1e-4),
            ),
            (
                "chain-index",
                "the schedule is read at another timestep",
                "Code t = 0 is the paper's t = 1: the table already starts with the first step, so t needs no shift.",
                uses(
                    *(
                        _shifted(shift)
                        for shift in (
                            lambda b: np.append(b[:1], b[:-1]),
                            lambda b: np.append(b[1:], b[-1:]),
                            lambda b: np.roll(b, 1),
                            lambda b: np.roll(b, -1),
                            lambda b: b[::-1],
                        )
                    )
                ),
            ),
            (
                "chain-noise-shared",
                "one draw of noise is shared or repeated",
                "Every number of every sample gets a fresh draw in every step: draw in the shape of "
                "x_prev, without a seed.",
                lambda seen: seen.residual < 1e-3 and seen.noise is not None and _repeats(seen.noise),
            ),
            (
                "chain-noise-not-gaussian",
                "the noise is not drawn from a standard Gaussian",
                "rand draws from a uniform distribution on [0, 1], randn from N(0, 1).",
                lambda seen: seen.residual < 1e-3 and seen.noise is not None and not _repeats(seen.noise),
            ),
            (
                "chain-changed-in-place",
                "the caller's tensor is changed in place",
                "Operators such as *= write into the tensor that was passed in, which the caller may still need.",
                lambda seen: seen.changed,
            ),
        ]
    ],
)

_SKIP = _entries(
    SKIPPING,
    SKIP,
    *[
        (
            "skip-not-skipping",
            "every timestep is visited",
            "With a stride of k the loop takes about T/k steps.",
            _visits(lambda steps, k, T: steps == [float(t) for t in range(T - 1, -1, -1)]),
        ),
        (
            "skip-upwards",
            "the loop runs from small t to large ones",
            "Sampling starts where the forward process ends: at pure noise, t = T − 1.",
            _visits(lambda steps, k, T: len(steps) > 1 and steps == sorted(steps)),
        ),
        (
            "skip-starts-elsewhere",
            "the loop does not start at t = T − 1",
            "The points it starts from are pure noise, which is what x has at t = T − 1: count down from there.",
            _visits(_starts_elsewhere),
        ),
        (
            "skip-stops-before-0",
            "the loop leaves out the step at t = 0 where its grid holds it",
            "range leaves out its end. Code t = 0 is the paper's t = 1, and that step belongs to the loop.",
            _visits(lambda steps, k, T: [*steps, 0.0] == skipped_timesteps(T, k)[0]),
        ),
        (
            "skip-first-steps-only",
            "consecutive steps are taken, and too few of them",
            "The stride belongs between the timesteps: T − 1, T − 1 − k, and so on.",
            _visits(lambda steps, k, T: 1 < len(steps) < T and steps == [T - 1.0 - i for i in range(len(steps))]),
        ),
        (
            "skip-other-stride",
            "the timesteps visited are not k apart",
            "From T − 1 on, each timestep is the one before it minus k.",
            _visits(lambda steps, k, T: steps[0] == T - 1 and any(a - b != k and b > 0 for a, b in pairwise(steps))),
        ),
        (
            "skip-jumps",
            "the step is made to jump over the timesteps left out",
            "That is the cure, and fast_sample of the image half asks for it. Here the ordinary "
            "p_sample is wanted as it is.",
            _jumps,
        ),
        (
            "skip-start-not-noise",
            "sampling does not start from standard Gaussian noise",
            "At t = T − 1 the forward process has mean 0 and variance 1. Start there, without scaling.",
            lambda seen: seen.start is not None,
        ),
        (
            "skip-result-dropped",
            "the result of a step does not go into the next one, or does not come back",
            "Each step must be given what the step before returned, and the last result is the sample.",
            lambda seen: bool(seen.broken),
        ),
    ],
)

CATALOGUE = _TRAIN + _SAMPLER + _STEP + _SKIP
