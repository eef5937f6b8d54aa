"""What a wrong `sample` may mean."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from grader.judging.diagnosis import about
from grader.lab.reference import Array, Schedule
from grader.lab.rows.extra.sampler_loop.judge import EQUATION
from grader.lab.shared.warmups import Compute, WarmupCase, computes, warmup_misconceptions
from grader.lab.torch_draws import TorchGenerator

Table = Callable[[Schedule], Array]
RIGHT = (lambda s: 1 / np.sqrt(s.alphas), lambda s: s.betas / np.sqrt(1 - s.ab))
OFFSETS: tuple[Callable[[int, int], int], ...] = (  # of the seed of a step's noise, by t and T; seed + 100 + t is right
    *(lambda t, T, fixed=fixed: fixed for fixed in (0, 1, 100)),
    *(lambda t, T, first=first: first + t for first in (0, 1, 10, 99, 101, 1000)),
    lambda t, T: 100 - t,
    *(lambda t, T, first=first: first + T - t for first in (99, 100)),
)


def sampled(
    noise: Callable[[WarmupCase], Iterator[Array]] | None = None,
    start: Compute = lambda case: case.randn(0),
    scale: Table = RIGHT[0],
    share: Table = RIGHT[1],
    sigma: Table = lambda s: np.sqrt(s.betas),
    time: Callable[[int, int], float] = lambda t, T: t / T,
    steps: Callable[[int], range] = lambda T: range(T - 1, -1, -1),
    noisy: Callable[[int], bool] = lambda t: t > 0,
) -> Compute:
    """scale (x - share eps_theta) + sigma z in a loop, one part of it wrong; `noise` gives the draws in its order."""

    def variant(case: WarmupCase) -> Array:
        T, w, s = case.size[2], case["w_model"], case.schedule
        of_bracket, of_eps, spread = scale(s), share(s), sigma(s)
        draws = noise(case) if noise else None
        x = start(case)
        for t in steps(T):
            x = of_bracket[t] * (x - of_eps[t] * (x @ w[:-1] + time(t, T) * w[-1]))
            if noisy(t):
                x = x + spread[t] * (next(draws) if draws else case.randn(100 + t))
        return x

    return variant


def _seeded_by(offset: Callable[[int, int], int]) -> Callable[[WarmupCase], Iterator[Array]]:
    """The noise of each step from a generator of its own, seeded with seed + offset(t, T)."""
    return lambda case: (case.randn(offset(t, case.size[2])) for t in range(case.size[2] - 1, 0, -1))


def _one_generator(offset: int) -> Callable[[WarmupCase], Iterator[Array]]:
    def draws(case: WarmupCase) -> Iterator[Array]:
        generator = TorchGenerator(case.seed + offset)
        if offset == 0:
            generator.randn(*case.size[:2])  # the start
        while True:
            yield generator.randn(*case.size[:2])

    return draws


def _start(offset: Callable[[int], int]) -> Compute:
    """A loop that starts with seed + offset(T)."""
    return sampled(start=lambda case: case.randn(offset(case.size[2])))


CATALOGUE = (
    *about(
        EQUATION,
        (
            "sampler-noise-at-t0",
            "noise is added in the last step, t = 0",
            "The last step gives the sample itself: it returns the mean.",
            computes(sampled(noisy=lambda t: True)),
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
            computes(*(sampled(noise=_seeded_by(offset)) for offset in OFFSETS)),
        ),
        (
            "sampler-start-seed",
            "the start is drawn with another seed",
            "x_T comes from a generator seeded with seed.",
            computes(_start(lambda T: 1), _start(lambda T: 100), _start(lambda T: -1), _start(lambda T: 100 + T)),
        ),
        (
            "sampler-scale-left-out",
            "the factor 1/√α_t in front of the bracket is missing",
            "Each forward step shrinks the signal a little, so each reverse step has to stretch it.",
            computes(sampled(scale=lambda s: np.ones(s.T))),
        ),
        (
            "sampler-one-over-alpha",
            "the step divides by α_t instead of its square root",
            "One forward step multiplies by √(1 − β_t). What undoes that?",
            computes(sampled(scale=lambda s: 1 / s.alphas)),
        ),
        (
            "sampler-lost-square-root",
            "the predicted noise is divided by 1 − ᾱ_t instead of its square root",
            "The noise enters x_t with a standard deviation, not with a variance.",
            computes(sampled(share=lambda s: s.betas / (1 - s.ab))),
        ),
        (
            "sampler-alpha-for-alpha-bar",
            "α_t is used where ᾱ_t belongs, under the predicted noise",
            "ε_θ estimates all the noise between x_0 and x_t, so its size goes with the cumulative product.",
            computes(sampled(share=lambda s: np.sqrt(s.betas))),
        ),
        (
            "sampler-noise-added-back",
            "the predicted noise is added instead of subtracted",
            "A reverse step takes some of the noise away.",
            computes(sampled(share=lambda s: -RIGHT[1](s))),
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
            computes(sampled(noisy=lambda t: False)),
        ),
        (
            "sampler-no-noise-at-t1",
            "no noise is added at t = 1",
            "Algorithm 2 counts from 1: its last step is code t = 0.",
            computes(sampled(noisy=lambda t: t > 1)),
        ),
        (
            "sampler-stops-at-1",
            "the loop stops at t = 1 and never takes the step at t = 0",
            "range leaves out its end. Code t = 0 is the paper's t = 1.",
            computes(sampled(steps=lambda T: range(T - 1, 0, -1))),
        ),
        (
            "sampler-upwards",
            "the loop runs from t = 0 up to T − 1",
            "Sampling starts where the forward process ends: at pure noise, t = T − 1.",
            computes(sampled(steps=range)),
        ),
    ),
    *warmup_misconceptions("sampler", EQUATION, lambda time: sampled(time=time)),
)
