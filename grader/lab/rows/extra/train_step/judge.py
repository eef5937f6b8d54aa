"""Judges `train_step`: one step of gradient descent by hand, for a model that is a single matrix."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from grader.judging.comparison import Array, Arrays
from grader.lab import reference
from grader.lab.shared.warmups import Generator, Size, Warmup, WarmupCase, judge_warmup

EQUATION = (
    "w − lr ∂L/∂w, L = mean over N d entries of ([x_t, t/T] w − ε)², x_t = √ᾱ_t x_0 + √(1 − ᾱ_t) ε   (DDPM Eq. 4, 14)"
)


def _points_and_rate(size: Size, rng: np.random.Generator) -> Arrays:
    points = rng.uniform(-2.0, 2.0, size[:2]).astype(np.float32)
    return {"x_clean": points, "lr": np.array(rng.uniform(0.2, 1.0))}


def draws(case: WarmupCase, generator: Callable[[int], Generator]) -> Arrays:
    """t, and eps (N, d)."""
    return {"t": np.array(generator(case.seed).randint(case.size[2])), "eps": case.randn(1, generator)}


def _right(case: WarmupCase, drawn: Arrays) -> Array:
    t, eps = int(drawn["t"]), drawn["eps"].astype(float)
    return reference.train_step(case["x_clean"], case["w_model"], case.schedule, float(case["lr"]), t, eps)


TRAIN_STEP = Warmup(
    "train_step",
    "train_step",
    tensors=("x_clean", "w_model", "betas", "alpha_bar"),
    numbers=("lr", "seed"),
    equation=EQUATION,
    spread=lambda d: 0.7,
    own_inputs=_points_and_rate,
    draws=draws,
    right=_right,
    by_hand=True,
)
judge = partial(judge_warmup, TRAIN_STEP)
