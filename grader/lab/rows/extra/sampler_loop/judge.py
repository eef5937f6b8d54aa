"""Judges `sample`: DDPM's Algorithm 2, for a model that is a single matrix."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from grader.judging.comparison import Array, Arrays
from grader.lab import reference
from grader.lab.shared.warmups import Generator, Warmup, WarmupCase, judge_warmup

EQUATION = "x_{t−1} = 1/√α_t (x_t − β_t/√(1 − ᾱ_t) ε_θ) + √β_t z, z = 0 at t = 0   (DDPM Eq. 11, Algorithm 2)"


def _draws(case: WarmupCase, generator: Callable[[int], Generator]) -> Arrays:
    """start (N, d), and noise (T, N, d), of which that at t = 0 is none."""
    start = case.randn(0, generator)
    later = [case.randn(100 + t, generator) for t in range(1, case.size[2])]
    return {"start": start, "noise": np.stack([np.zeros_like(start), *later])}


def _right(case: WarmupCase, drawn: Arrays) -> Array:
    noises = {t: drawn["noise"][t].astype(float) for t in range(1, case.size[2])}
    return reference.sampler_loop(case["w_model"], case.schedule, drawn["start"].astype(float), noises)


SAMPLER_LOOP = Warmup(
    "sampler_loop",
    "sample",
    tensors=("w_model", "shape", "betas", "alpha_bar"),
    numbers=("seed",),
    equation=EQUATION,
    spread=lambda d: 0.5 / d,  # larger weights make the samples grow from step to step
    own_inputs=lambda size, rng: {"shape": np.array(size[:2], dtype=np.float32)},
    draws=_draws,
    right=_right,
)
judge = partial(judge_warmup, SAMPLER_LOOP)
