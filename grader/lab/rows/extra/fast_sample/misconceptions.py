"""What a wrong `fast_sample` may mean."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from grader.judging.diagnosis import about
from grader.lab.reference import Array, Schedule, ddim_tables, fast_timesteps, step_tables
from grader.lab.rows.extra.fast_sample.judge import JUMP, FastObservation, right_jump
from grader.lab.shared.companions import changed_in_place
from grader.lab.shared.strides import T, Transition, stride_misconceptions, visits

Variant = Callable[[Schedule, Transition], tuple[float, float]]  # coefficients of x_t and of the noise in a wrong jump
Root = Callable[[float], float]


def jumps(*variants: Variant, noisy: bool = False) -> Callable[[FastObservation], bool]:
    """Matches all jumps of strides above 1 before the last, two or more; `noisy`: with random noise on top as well."""

    def fits(jump: Transition, s: Schedule, variant: Variant) -> bool:
        return (noisy or jump.exact) and jump.takes(variant(s, jump), errors=4.0 * noisy)

    def matches(seen: FastObservation) -> bool:
        inner = [
            step for step in seen.transitions if step.following is not None and step.k > 1 and step.following != step.t
        ]
        if len(inner) < 2 or all(fits(jump, seen.schedule, through()) for jump in inner):
            return False
        with np.errstate(all="ignore"):
            return any(all(fits(jump, seen.schedule, variant) for jump in inner) for variant in variants)

    return matches


def _root(value: float) -> float:
    return float(np.sqrt(value))


def _rest(value: float) -> float:
    return float(np.sqrt(1.0 - value))


def _plain(value: float) -> float:
    return value


def _plain_rest(value: float) -> float:
    return 1.0 - value


def through(
    stretch: Root = _root,
    noise: Root = _rest,
    direction: Root = _rest,
    signal: Root = _root,
    here: Callable[[Schedule], Array] = lambda s: s.ab,
    there: Callable[[Schedule], Array] = lambda s: s.ab,
) -> Variant:
    """A jump signal(after) x0 + direction(after) eps with x0 = (x - noise(bar) eps) / stretch(bar), one part wrong."""

    def variant(s: Schedule, jump: Transition) -> tuple[float, float]:
        bar, after = here(s)[jump.t], 1.0 if jump.following is None else there(s)[jump.following]
        return signal(after) / stretch(bar), direction(after) - signal(after) * noise(bar) / stretch(bar)

    return variant


def _one_step(s: Schedule, jump: Transition) -> tuple[float, float]:
    return ddim_tables(s, jump.t, jump.t - 1 if jump.t > 0 else None)


def _ancestral(s: Schedule, jump: Transition) -> tuple[float, float]:
    tables = step_tables(s, "noise")
    return float(tables.a[jump.t]), float(tables.b[jump.t])


def _towards_xt(s: Schedule, jump: Transition) -> tuple[float, float]:
    p, q = through(direction=lambda after: 0.0)(s, jump)
    return p + _rest(s.ab[jump.following or 0]), q


def _old_level(s: Schedule, jump: Transition) -> tuple[float, float]:
    return through(direction=lambda after: _rest(s.ab[jump.t]))(s, jump)


def _beside(shift: int) -> Variant:
    """alpha-bar read `shift` timesteps beside t, here and there."""

    def table(s: Schedule) -> Array:
        return np.concatenate([[1.0], s.ab, s.ab[-1:]])[1 + shift :][: s.T]

    return through(here=table, there=table)


def _last_elsewhere(seen: FastObservation) -> bool:
    """The jumps before are right, and the last one leads to a noise level of the table instead of to x_0."""
    last = [jump for jump in seen.transitions if jump.following is None]
    before = [jump for jump in seen.transitions if jump.following is not None]
    if not last or not all(right_jump(jump, seen.schedule) for jump in before):
        return False
    return all(
        any(jump.exact and jump.takes(ddim_tables(seen.schedule, jump.t, goal)) for goal in range(T)) for jump in last
    )


CATALOGUE = (
    *about(
        JUMP,
        (
            "fast-start-redrawn",
            "sampling starts from noise of its own, not from the x_T that was passed in",
            "The caller hands x_T in, so that the same noise can be followed by two samplers.",
            lambda seen: seen.redrawn and not seen.changed,
        ),
        (
            "fast-one-step-coefficients",
            "the jump keeps the coefficients of one ordinary step",
            "From t the sampler lands at t − k. Read the second ᾱ there, not at t − 1; β_t alone knows nothing of k.",
            jumps(_one_step, _ancestral, noisy=True),
        ),
        (
            "fast-noise-added",
            "fresh noise is added",
            "With σ = 0 the only noise in x_s is the predicted one.",
            lambda seen: seen.unsteady and not seen.redrawn,
        ),
        (
            "fast-lost-square-root",
            "a square root is missing",
            "ᾱ and 1 − ᾱ are variances; signal and noise are multiplied by their square roots.",
            jumps(
                through(noise=_plain_rest),
                through(stretch=_plain),
                through(stretch=_plain, noise=_plain_rest),
                through(direction=_plain_rest),
                through(signal=_plain),
                through(direction=_plain_rest, signal=_plain),
            ),
        ),
        (
            "fast-alpha-for-alpha-bar",
            "α_t is used where the cumulative product ᾱ_t belongs",
            "x̂_0 undoes all steps up to t at once: which table tells how much is left after all of them?",
            jumps(through(here=lambda s: s.alphas, there=lambda s: s.alphas), through(here=lambda s: s.alphas)),
        ),
        (
            "fast-direction-left-out",
            "the predicted noise is not put back",
            "At s there is still noise in the image: √(1 − ᾱ_s) of it, and ε_θ says which.",
            jumps(through(direction=lambda after: 0.0)),
        ),
        (
            "fast-direction-of-xt",
            "x_t is put back in place of the predicted noise",
            "What is multiplied by √(1 − ᾱ_s) is ε_θ, the noise alone.",
            jumps(_towards_xt),
        ),
        (
            "fast-old-noise-level",
            "the predicted noise is put back at the level of t instead of that of s",
            "After the jump the image is at s: both of its coefficients are read there.",
            jumps(_old_level),
        ),
        (
            "fast-jump-to-x0",
            "every jump goes to the predicted x_0",
            "x̂_0 is a guess. The jump goes only as far as s: it mixes the guess with the predicted noise.",
            jumps(through(direction=lambda after: 0.0, signal=lambda after: 1.0)),
        ),
        (
            "fast-weights-swapped",
            "the weights of x̂_0 and of the noise are exchanged",
            "Near t = 0 the image is nearly x_0: which of the two weights is close to 1 there?",
            jumps(through(direction=_root, signal=_rest)),
        ),
        (
            "fast-sign",
            "a sign is wrong: noise is added where it is to be taken away, or the reverse",
            "Taking the noise out gives x̂_0; putting a smaller part of the same noise back gives x_s.",
            jumps(through(noise=lambda bar: -_rest(bar)), through(direction=lambda after: -_rest(after))),
        ),
        (
            "fast-index-shifted",
            "ᾱ is read one timestep beside the one that the network was told",
            "Code t = 0 is the paper's t = 1: the table already starts with the first step, so t needs no shift.",
            jumps(_beside(1), _beside(-1)),
        ),
        (
            "fast-last-step-left-out",
            "the sampler stops one visited timestep too early",
            "From the last visited timestep too there is a jump to take, the one to x_0.",
            visits(lambda ts, k: ts in [grid[:-1] for grid in fast_timesteps(T, k)]),
        ),
        (
            "fast-last-not-x0",
            "the last jump does not lead to x_0",
            "Past t = 0 there is no noise any more, so ᾱ is 1. Neither index 0 nor a negative one of the table has "
            "that.",
            _last_elsewhere,
        ),
        (
            "fast-network-told-the-count",
            "the network is told the number of the step instead of the timestep",
            "The network was trained with t = 0..T−1. Step number j is at another t when timesteps are skipped.",
            visits(lambda ts, k: 1 < len(ts) < T and ts in ([*range(len(ts))], [*range(len(ts))][::-1])),
        ),
        (
            "fast-predictor-ignored",
            "the output of every network is taken for noise",
            "A network of x_0 or of the mean says the noise only through as_noise().",
            lambda seen: seen.x0_treated_as_noise,
        ),
    ),
    *stride_misconceptions("fast", JUMP),
    changed_in_place("fast-changed-in-place", JUMP, "An operator such as *="),
)
