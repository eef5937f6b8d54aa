"""Misconceptions about the cosine schedule."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from grader.judging.diagnosis import about
from grader.lab.reference import Array, Schedule, cosine_f
from grader.lab.rows.task2.cosine.judge import EQUATION, CosineObservation


def _betas(f: Array) -> Array:
    return np.asarray(1.0 - f[1:] / f[:-1])


def _grid(T: int) -> Array:
    return np.arange(T + 1) / T


def _clipped(betas: Array) -> Array:
    return np.minimum(betas, 0.999)


def computes(*variants: Callable[[int], Array]) -> Callable[[CosineObservation], bool]:
    """Matches the betas of every T that was observed, clipped at 0.999 or not."""

    def fits(seen: CosineObservation, betas: Callable[[int], Array]) -> bool:
        def equal(T: int, predicted: Array) -> bool:
            got = seen.betas[T]
            return predicted.shape == got.shape and bool(np.allclose(got, predicted, rtol=2e-3, atol=1e-7))

        return all(equal(T, betas(T)) or equal(T, np.clip(betas(T), 0, 0.999)) for T in seen.betas)

    def matches(seen: CosineObservation) -> bool:
        right = all(np.allclose(b, Schedule.cosine(T).betas, rtol=1e-3, atol=1e-7) for T, b in seen.betas.items())
        with np.errstate(all="ignore"):
            return bool(seen.betas) and not right and any(fits(seen, variant) for variant in variants)

    return matches


def _length(difference: int) -> Callable[[CosineObservation], bool]:
    return lambda seen: bool(seen.lengths) and all(shape == (T + difference,) for T, shape in seen.lengths.items())


def _other_clip(seen: CosineObservation) -> bool:
    """Right everywhere but where the betas end at one constant that is not 0.999."""

    def fits(T: int, got: Array) -> bool:
        top = float(np.nanmax(got))
        right = Schedule.cosine(T).betas
        return abs(top - 0.999) > 1e-5 and top < 0.999999 and bool(np.allclose(got, np.minimum(right, top), rtol=2e-3))

    return bool(seen.betas) and all(fits(T, got) for T, got in seen.betas.items())


def _lower_clip(seen: CosineObservation) -> bool:
    """Right but for small betas that were lifted to one constant."""

    def fits(T: int, got: Array) -> bool:
        right = Schedule.cosine(T).betas
        return bool(np.allclose(got[:-1], np.maximum(right, got.min())[:-1], rtol=2e-3))

    lifted = any(got.min() > 1.05 * Schedule.cosine(T).betas.min() for T, got in seen.betas.items())
    return lifted and all(fits(T, got) for T, got in seen.betas.items())


CATALOGUE = about(
    EQUATION,
    (
        "cosine-without-clip",
        "the betas are not clipped from above",
        "At the end of the schedule ᾱ goes to 0, and β to 1: the last step would divide by zero.",
        computes(lambda T: _betas(cosine_f(_grid(T)))),
    ),
    (
        "cosine-without-f0",
        "ᾱ is not divided by its value at t = 0",
        "f(0) is a little below 1, as s is not 0. Without dividing by it, the first β takes the difference on itself.",
        computes(lambda T: _clipped(_betas(np.append(1.0, cosine_f(_grid(T))[1:])))),
    ),
    (
        "cosine-lower-clip",
        "small betas are lifted to a lower bound",
        "The paper clips from above only. The first betas of this schedule are meant to be tiny.",
        _lower_clip,
    ),
    (
        "cosine-other-clip",
        "the betas are clipped at another value than 0.999",
        "Look up the bound in the paper: Sec. 3.2, below Eq. 17.",
        _other_clip,
    ),
    (
        "cosine-without-offset",
        "the offset s is missing",
        "s keeps the first betas from being too small: it stands inside the cosine and in its normalisation.",
        computes(lambda T: _clipped(_betas(cosine_f(_grid(T), s=0.0)))),
    ),
    (
        "cosine-offset-in-steps",
        "the offset s is added to t instead of t/T",
        "Which of the two is of the size of 0.008, t or t/T?",
        computes(
            lambda T: _clipped(_betas(np.cos((np.arange(T + 1) + 0.008) / (T + 0.008) * np.pi / 2) ** 2)),
            lambda T: _clipped(_betas(np.cos((np.arange(T + 1) + 0.008) / (T * 1.008) * np.pi / 2) ** 2)),
        ),
    ),
    (
        "cosine-offset-not-normalised",
        "the division by 1 + s is missing",
        "With t = T the argument must come to exactly π/2.",
        computes(lambda T: _betas(np.cos((_grid(T) + 0.008) * np.pi / 2) ** 2)),
    ),
    (
        "cosine-not-squared",
        "the cosine is not squared",
        "ᾱ is a variance: it is the square of the cosine.",
        computes(lambda T: _clipped(_betas(np.sqrt(cosine_f(_grid(T)))))),
    ),
    (
        "cosine-full-half-wave",
        "the argument of the cosine runs to π instead of π/2",
        "The cosine must fall from 1 to 0 over the schedule, once.",
        computes(lambda T: _betas(np.cos((_grid(T) + 0.008) / 1.008 * np.pi) ** 2)),
    ),
    (
        "alpha-bar-as-betas",
        "the table of ᾱ is used as the betas",
        "The cosine describes ᾱ. The betas follow from the ratio of neighbouring values.",
        computes(
            lambda T: cosine_f(_grid(T))[1:] / cosine_f(np.zeros(1)),
            lambda T: cosine_f(_grid(T))[:-1] / cosine_f(np.zeros(1)),
            lambda T: cosine_f(_grid(T))[1:],
        ),
    ),
    (
        "alphas-as-betas",
        "the alphas are used as the betas",
        "The ratio of neighbouring ᾱ is α. What is β then?",
        computes(lambda T: cosine_f(_grid(T))[1:] / cosine_f(_grid(T))[:-1]),
    ),
    (
        "one-minus-alpha-bar-as-betas",
        "1 − ᾱ is used as the betas",
        "1 − ᾱ_t is all the noise since x_0, β_t that of a single step.",
        computes(
            lambda T: _clipped(1 - cosine_f(_grid(T))[1:] / cosine_f(np.zeros(1))),
            lambda T: _clipped(1 - cosine_f(_grid(T))[1:]),
        ),
    ),
    (
        "cosine-shifted",
        "the table is shifted by one step",
        "β of code t = 0 compares ᾱ after the first step with ᾱ before it, which is 1.",
        computes(
            lambda T: _clipped(np.append(0.0, _betas(cosine_f(_grid(T)))[:-1])),
            lambda T: _clipped(np.append(_betas(cosine_f(_grid(T)))[:1], _betas(cosine_f(_grid(T)))[:-1])),
            lambda T: _clipped(np.append(_betas(cosine_f(_grid(T)))[1:], 0.999)),
        ),
    ),
    (
        "cosine-grid-too-short",
        "the grid has T points instead of T + 1",
        "T betas need the T + 1 values of ᾱ at t = 0, 1, …, T.",
        lambda seen: (
            _length(-1)(seen)
            or computes(
                lambda T: _clipped(np.append(_betas(cosine_f(np.linspace(0, 1, T))), 0.999)),
                lambda T: _clipped(_betas(np.append(cosine_f(np.zeros(1)), cosine_f(np.arange(T) / T)))),
                lambda T: _clipped(_betas(np.append(1.0, cosine_f(np.linspace(0, 1, T))))),
                lambda T: _clipped(_betas(np.append(cosine_f(np.zeros(1)), cosine_f(np.linspace(0, 1, T))))),
                lambda T: _clipped(_betas(cosine_f(np.linspace(0, 1, T + 1) * T / (T + 1)))),
            )(seen)
        ),
    ),
    (
        "cosine-one-too-many",
        "T + 1 betas are returned",
        "T + 1 values of ᾱ have T ratios of neighbours.",
        _length(1),
    ),
    (
        "cosine-reversed",
        "the schedule runs backwards",
        "β is smallest at t = 0. Which value does your ratio have in the denominator?",
        computes(lambda T: Schedule.cosine(T).betas[::-1]),
    ),
    (
        "cosine-of-betas",
        "the betas themselves follow a cosine between β_1 and β_T",
        "In this schedule ᾱ follows the cosine; β_1 and β_T play no part in it.",
        computes(
            lambda T: 1e-4 + (0.02 - 1e-4) * (1 - np.cos(np.pi * np.linspace(0, 1, T))) / 2,
            lambda T: 1e-4 + (0.02 - 1e-4) * (1 - np.cos(np.pi / 2 * np.linspace(0, 1, T))),
        ),
    ),
    (
        "cosine-is-linear",
        "the table is that of another mode",
        "The branch for 'cosine' still returns the linear or the quadratic table.",
        computes(lambda T: Schedule.linear(T, 1e-4, 0.02).betas, lambda T: Schedule.quad(T, 1e-4, 0.02).betas),
    ),
)
