"""Misconceptions in the image half's companion exercises: the fast sampler, class labels, diffusers' schedulers."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from grader.lab.checks.companions_images import DDPM, JUMP, LONG, FastObservation, Jump, ParityObservation, right_jump
from grader.lab.checks.companions_labels import DROPOUT, EMBEDDING, GUIDANCE, NULL, ConditionalObservation
from grader.lab.diagnosis.base import Misconception
from grader.lab.reference import Array, Schedule, ddim_tables, fast_timesteps, step_tables

FAST, LABELS, PARITY = ("extra.fast_sample",), ("extra.class_conditional",), ("extra.diffusers_parity",)
Variant = Callable[[Schedule, Jump], tuple[float, float]]  # coefficients of x_t and of the noise in a wrong jump


def _after(s: Schedule, jump: Jump) -> float:
    return 1.0 if jump.following is None else float(s.ab[jump.following])


def jumps(*variants: Variant, noisy: bool = False) -> Callable[[FastObservation], bool]:
    """Matches all jumps of strides above 1 before the last, two or more; `noisy`: with random noise on top as well."""

    def fits(jump: Jump, s: Schedule, variant: Variant) -> bool:
        p, q = variant(s, jump)
        return (noisy or jump.residual < 1e-3) and all(
            abs(got - expected) < 1e-3 + 4.0 * error * noisy
            for got, expected, error in zip((jump.p, jump.q), (p, q), jump.errors, strict=True)
        )

    def matches(seen: FastObservation) -> bool:
        inner = [jump for jump in seen.jumps if jump.following is not None and jump.k > 1 and jump.following != jump.t]
        if len(inner) < 2 or all(fits(jump, seen.schedule, _right) for jump in inner):
            return False
        with np.errstate(all="ignore"):
            return any(all(fits(jump, seen.schedule, variant) for jump in inner) for variant in variants)

    return matches


def through(
    stretch: Callable[[float], float],
    noise: Callable[[float], float],
    direction: Callable[[float], float],
    signal: Callable[[float], float] = np.sqrt,
) -> Variant:
    """A jump signal(after) x0 + direction(after) eps with x0 = (x - noise(ab) eps) / stretch(ab)."""

    def variant(s: Schedule, jump: Jump) -> tuple[float, float]:
        ab, after = float(s.ab[jump.t]), _after(s, jump)
        return signal(after) / stretch(ab), direction(after) - signal(after) * noise(ab) / stretch(ab)

    return variant


def _root(value: float) -> float:
    return float(np.sqrt(value))


def _rest(value: float) -> float:
    return float(np.sqrt(1.0 - value))


def _right(s: Schedule, jump: Jump) -> tuple[float, float]:
    return ddim_tables(s, jump.t, jump.following)


def _one_step(s: Schedule, jump: Jump) -> tuple[float, float]:
    return ddim_tables(s, jump.t, jump.t - 1 if jump.t > 0 else None)


def _ancestral(s: Schedule, jump: Jump) -> tuple[float, float]:
    tables = step_tables(s, "noise")
    return float(tables.a[jump.t]), float(tables.b[jump.t])


def _alphas(both: bool) -> Variant:
    """alpha_t where alpha-bar_t belongs, at the goal of the jump too or not."""

    def variant(s: Schedule, jump: Jump) -> tuple[float, float]:
        here = s.alphas[jump.t]
        after = 1.0 if jump.following is None else (s.alphas if both else s.ab)[jump.following]
        return _root(after / here), _rest(after) - _root(after / here) * _rest(here)

    return variant


def _towards_xt(s: Schedule, jump: Jump) -> tuple[float, float]:
    ab, after = s.ab[jump.t], _after(s, jump)
    return _root(after / ab) + _rest(after), -_root(after / ab) * _rest(ab)


def _old_level(s: Schedule, jump: Jump) -> tuple[float, float]:
    ab, after = s.ab[jump.t], _after(s, jump)
    return _root(after / ab), _rest(ab) - _root(after / ab) * _rest(ab)


def _shifted(shift: int) -> Variant:
    def variant(s: Schedule, jump: Jump) -> tuple[float, float]:
        padded = np.concatenate([[1.0], s.ab, s.ab[-1:]])
        after = 1.0 if jump.following is None else padded[jump.following + 1 + shift]
        here = padded[jump.t + 1 + shift]
        return _root(after / here), _rest(after) - _root(after / here) * _rest(here)

    return variant


def _last_elsewhere(seen: FastObservation) -> bool:
    """The jumps before are right, and the last one leads to a noise level of the table instead of to x_0."""
    last = [jump for jump in seen.jumps if jump.following is None]
    before = [jump for jump in seen.jumps if jump.following is not None]
    if not last or not all(right_jump(jump, seen.schedule) for jump in before):
        return False

    def leads_to(jump: Jump, goal: int) -> bool:
        p, q = ddim_tables(seen.schedule, jump.t, goal)
        return jump.residual < 1e-3 and abs(jump.p - p) < 1e-3 and abs(jump.q - q) < 1e-3

    return all(any(leads_to(jump, goal) for goal in range(seen.schedule.T)) for jump in last)


def _visits(test: Callable[[list[float], int, int], bool]) -> Callable[[FastObservation], bool]:
    """Some stride above 1 visits the wrong timesteps, in a way that `test`, given them, k and T, recognises."""

    def matches(seen: FastObservation) -> bool:
        T = seen.schedule.T
        wrong = [
            (steps, k)
            for k, steps in seen.steps.items()
            if k > 1 and steps and steps not in [[float(t) for t in grid] for grid in fast_timesteps(T, k)]
        ]
        return bool(wrong) and all(test(steps, k, T) for steps, k in wrong)

    return matches


def _last_left_out(steps: list[float], k: int, T: int) -> bool:
    return any(steps == [float(t) for t in grid[:-1]] for grid in fast_timesteps(T, k))


def _counts(steps: list[float], k: int, T: int) -> bool:
    ways = (list(range(len(steps))), list(range(len(steps)))[::-1])
    return 1 < len(steps) < T and steps in [[float(t) for t in way] for way in ways]


def _e(
    id_: str, rows: tuple[str, ...], title: str, hint: str, equation: str, type_: type, test: Callable[[Any], bool]
) -> Misconception:
    return Misconception(id_, rows, title, hint, equation, lambda seen: isinstance(seen, type_) and test(seen))


def _entries(
    rows: tuple[str, ...], equation: str, type_: type, *lines: tuple[str, str, str, Callable[[Any], bool]]
) -> list[Misconception]:
    return [_e(id_, rows, title, hint, equation, type_, test) for id_, title, hint, test in lines]


_FAST = _entries(
    FAST,
    JUMP,
    FastObservation,
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
            through(_root, lambda ab: 1 - ab, _rest),
            through(lambda ab: ab, _rest, _rest),
            through(lambda ab: ab, lambda ab: 1 - ab, _rest),
            through(_root, _rest, lambda ab: 1 - ab),
            through(_root, _rest, _rest, lambda ab: ab),
            through(_root, _rest, lambda ab: 1 - ab, lambda ab: ab),
        ),
    ),
    (
        "fast-alpha-for-alpha-bar",
        "α_t is used where the cumulative product ᾱ_t belongs",
        "x̂_0 undoes all steps up to t at once: which table tells how much is left after all of them?",
        jumps(_alphas(True), _alphas(False)),
    ),
    (
        "fast-direction-left-out",
        "the predicted noise is not put back",
        "At s there is still noise in the image: √(1 − ᾱ_s) of it, and ε_θ says which.",
        jumps(through(_root, _rest, lambda ab: 0.0)),
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
        jumps(through(_root, _rest, lambda ab: 0.0, lambda ab: 1.0)),
    ),
    (
        "fast-weights-swapped",
        "the weights of x̂_0 and of the noise are exchanged",
        "Near t = 0 the image is nearly x_0: which of the two weights is close to 1 there?",
        jumps(through(_root, _rest, _root, _rest)),
    ),
    (
        "fast-sign",
        "a sign is wrong: noise is added where it is to be taken away, or the reverse",
        "Taking the noise out gives x̂_0; putting a smaller part of the same noise back gives x_s.",
        jumps(through(_root, lambda ab: -_rest(ab), _rest), through(_root, _rest, lambda ab: -_rest(ab))),
    ),
    (
        "fast-index-shifted",
        "ᾱ is read one timestep beside the one that the network was told",
        "Code t = 0 is the paper's t = 1: the table already starts with the first step, so t needs no shift.",
        jumps(_shifted(1), _shifted(-1)),
    ),
    (
        "fast-last-step-left-out",
        "the sampler stops one visited timestep too early",
        "From the last visited timestep too there is a jump to take, the one to x_0.",
        _visits(_last_left_out),
    ),
    (
        "fast-last-not-x0",
        "the last jump does not lead to x_0",
        "Past t = 0 there is no noise any more, so ᾱ is 1 there. Neither index 0 nor a negative one of the table has "
        "that.",
        _last_elsewhere,
    ),
    (
        "fast-not-skipping",
        "every timestep is visited",
        "With a stride of k the sampler takes about T/k steps.",
        _visits(lambda steps, k, T: steps == [float(t) for t in range(T - 1, -1, -1)]),
    ),
    (
        "fast-upwards",
        "the sampler runs from small t to large ones",
        "Sampling starts where the forward process ends: at pure noise, t = T − 1.",
        _visits(lambda steps, k, T: len(steps) > 1 and steps == sorted(steps) and not _counts(steps, k, T)),
    ),
    (
        "fast-network-told-the-count",
        "the network is told the number of the step instead of the timestep",
        "The network was trained with t = 0..T−1. Step number j is at another t when timesteps are skipped.",
        _visits(_counts),
    ),
    (
        "fast-other-stride",
        "the timesteps visited are not k apart",
        "From T − 1 on, each timestep is the one before it minus k.",
        _visits(lambda steps, k, T: len(steps) > 1 and any(a - b != k for a, b in pairwise(steps))),
    ),
    (
        "fast-starts-elsewhere",
        "the sampler does not start at t = T − 1",
        "x_T is pure noise, which is what x has at t = T − 1: count down from there.",
        _visits(lambda steps, k, T: steps[0] != T - 1),
    ),
    (
        "fast-predictor-ignored",
        "the output of every network is taken for noise",
        "A network of x_0 or of the mean says the noise only through as_noise().",
        lambda seen: seen.x0_treated_as_noise,
    ),
    (
        "fast-changed-in-place",
        "the caller's tensor is changed in place",
        "Operators such as *= write into the tensor that was passed in, which the caller may still need.",
        lambda seen: seen.changed,
    ),
)


def embeds(name: str, *variants: Callable[[ConditionalObservation], Array]) -> Callable[[ConditionalObservation], bool]:
    """Matches what came of the embedding, with labels ("labels") or without ("none")."""

    def matches(seen: ConditionalObservation) -> bool:
        got = seen.embedded.get(name)
        rows = seen.labels.astype(int) if name == "labels" else np.full(len(seen.time), NULL)
        if got is None or np.allclose(got, seen.time + seen.table[rows], atol=1e-4):
            return False
        return any(np.allclose(got, variant(seen), atol=1e-4) for variant in variants)

    return matches


def _rows(seen: ConditionalObservation) -> Array:
    return np.asarray(seen.table[seen.labels.astype(int)])


def _shares(test: Callable[[float, float], bool]) -> Callable[[ConditionalObservation], bool]:
    """Wrong shares for every p strictly between 0 and 1, all recognised by `test` of p and the share."""

    def matches(seen: ConditionalObservation) -> bool:
        inner = [drop for drop in seen.drops if 0 < drop.p < 1]
        wrong = any(abs(drop.share - drop.p) > 0.02 * max(1.0, drop.spread) for drop in inner)
        return wrong and all(test(drop.p, drop.share) for drop in inner)

    return matches


def _near(share: float, expected: float) -> bool:
    return abs(share - expected) < 0.025


def _one_share(seen: ConditionalObservation) -> bool:
    shares = [drop.share for drop in seen.drops if 0 < drop.p < 1]
    return len(shares) == 2 and abs(shares[0] - shares[1]) < 0.02 and 0.0 < shares[0] < 1.0


def _spread(test: Callable[[float], bool]) -> Callable[[ConditionalObservation], bool]:
    return lambda seen: any(0 < drop.p < 1 and 0 < drop.share < 1 and test(drop.spread) for drop in seen.drops)


def guides(*variants: Callable[[Array, Array, float], Array]) -> Callable[[ConditionalObservation], bool]:
    """Matches the guided prediction at every scale, as a function of the two predictions and the scale."""

    def matches(seen: ConditionalObservation) -> bool:
        if not seen.guided:
            return False
        c, u = seen.predictions[-1], seen.predictions[NULL]
        if all(np.allclose(got, u + scale * (c - u), atol=1e-3) for scale, got in seen.guided.items()):
            return False
        return any(
            all(np.allclose(got, variant(c, u, scale), atol=1e-3) for scale, got in seen.guided.items())
            for variant in variants
        )

    return matches


def _other_null(seen: ConditionalObservation) -> bool:
    """The right formula, with another label than null_label for no class."""
    if not seen.guided:
        return False
    c = seen.predictions[-1]
    others = [guess for label, guess in seen.predictions.items() if label not in (-1, NULL)]
    return any(
        all(np.allclose(got, other + scale * (c - other), atol=1e-3) for scale, got in seen.guided.items())
        for other in others
    )


_EMBEDDING = _entries(
    LABELS,
    EMBEDDING,
    ConditionalObservation,
    (
        "class-replaces-time",
        "the class's row takes the place of the time's embedding",
        "The network has to know both: how much noise there is, and of which class the image is.",
        embeds("labels", _rows),
    ),
    (
        "class-multiplied",
        "the two embeddings are multiplied",
        "They are summed, as two shifts of the same features.",
        embeds("labels", lambda seen: seen.time * _rows(seen), lambda seen: seen.time * (1 + _rows(seen))),
    ),
    (
        "class-concatenated",
        "the two embeddings are put side by side",
        "The blocks expect E numbers: the class's row has as many as the time's embedding, and is added to it.",
        lambda seen: seen.embedded_shape == (len(seen.time), 2 * seen.time.shape[1]),
    ),
    (
        "class-ignored",
        "the labels have no effect",
        "Look the labels up in the table, and add the rows.",
        embeds("labels", lambda seen: seen.time, lambda seen: seen.time + seen.table[NULL]),
    ),
    (
        "null-row-left-out",
        "without labels nothing is added",
        "In training a dropped label is null_label, whose row is added. Sampling without a class has to do the same.",
        embeds("none", lambda seen: seen.time),
    ),
    (
        "null-label-is-a-class",
        "without labels the row of a real class is added",
        "null_label names the row that stands for no class.",
        embeds("none", *(lambda seen, row=row: seen.time + seen.table[row] for row in range(NULL))),
    ),
)
_DROPOUT = _entries(
    LABELS,
    DROPOUT,
    ConditionalObservation,
    (
        "null-label-wrong",
        "a dropped label becomes something else than null_label",
        "Every class 0..num_classes−1 is a real one. What stands for no class is passed in.",
        lambda seen: any(drop.others for drop in seen.drops),
    ),
    (
        "dropout-repeats-itself",
        "the same labels are dropped at every call",
        "A seed that is set inside makes every batch drop the same places.",
        lambda seen: seen.repeated,
    ),
    (
        "dropout-generator-ignored",
        "the generator that was passed in is not used",
        "torch.rand takes it: generator=generator.",
        lambda seen: seen.generator_ignored and not seen.repeated,
    ),
    (
        "dropout-of-whole-batches",
        "the labels of a batch are dropped together",
        "Draw one random number for each label: torch.rand in the shape of labels.",
        _spread(lambda ratio: ratio > 4),
    ),
    (
        "dropout-of-a-fixed-number",
        "a fixed number of labels is dropped of every batch",
        "Each label is dropped by itself with probability p: in a small batch sometimes none, sometimes several.",
        _spread(lambda ratio: ratio < 0.6),
    ),
    (
        "dropout-never",
        "no label is ever dropped",
        "torch.rand lies in [0, 1): it is below p with probability p. Return the new labels, too.",
        _shares(lambda p, share: share == 0),
    ),
    (
        "dropout-always",
        "every label is dropped",
        "Only a share of p is to be dropped.",
        _shares(lambda p, share: share == 1),
    ),
    (
        "dropout-inverted",
        "labels are kept with probability p instead of dropped",
        "torch.rand is below p with probability p. Which labels does that choose in your code?",
        _shares(lambda p, share: _near(share, 1 - p)),
    ),
    ("dropout-share-fixed", "the share that is dropped does not depend on p", "p is passed in.", _one_share),
    (
        "dropout-share-wrong",
        "the share that is dropped is not p",
        "torch.rand is uniform on [0, 1), which torch.randn and sums or products of draws are not.",
        _shares(lambda p, share: 0 < share < 1 and not _near(share, p) and not _near(share, 1 - p)),
    ),
)
_GUIDANCE = _entries(
    LABELS,
    GUIDANCE,
    ConditionalObservation,
    (
        "guidance-swapped",
        "the predictions with and without a class are exchanged",
        "At scale 0 the class should have no part in the result, at scale 1 all of it.",
        guides(lambda c, u, s: c + s * (u - c)),
    ),
    (
        "guidance-other-convention",
        "the scale is counted from the prediction for the class",
        "That is the paper's w. Here scale = 1 + w: at scale 1 the result is the network's prediction for the class.",
        guides(lambda c, u, s: c + s * (c - u)),
    ),
    (
        "guidance-negative",
        "the guidance leads away from the class",
        "The difference is the prediction with the class minus the one without.",
        guides(lambda c, u, s: u + s * (u - c), lambda c, u, s: c - s * (c - u)),
    ),
    (
        "guidance-not-a-difference",
        "the two predictions are added up",
        "At scale 1 both terms with ε_uncond cancel. Look at the brackets.",
        guides(lambda c, u, s: u + s * c, lambda c, u, s: u + s * c - u, lambda c, u, s: u + s * (c + u)),
    ),
    (
        "guidance-difference-alone",
        "only the scaled difference is returned",
        "The difference is a direction. It is added to the prediction without a class.",
        guides(lambda c, u, s: s * (c - u)),
    ),
    (
        "guidance-scale-ignored",
        "the scale has no effect",
        "One of the two predictions alone comes back.",
        guides(lambda c, u, s: c, lambda c, u, s: u),
    ),
    (
        "guidance-null-label",
        "the prediction without a class is asked for with another label than null_label",
        "Every class 0..num_classes−1 is a real one. What stands for no class is passed in.",
        _other_null,
    ),
    (
        "labels-changed-in-place",
        "the caller's tensor is changed in place",
        "labels[...] = ... writes into the tensor that was passed in, which the caller still needs.",
        lambda seen: bool(seen.changed),
    ),
)


def _config(place: int, name: str, test: Callable[[Any], bool]) -> Callable[[ParityObservation], bool]:
    """Whether a setting of the DDPM (0) or DDIM (1) scheduler passes `test`; for either: place -1."""

    def matches(seen: ParityObservation) -> bool:
        places = (0, 1) if place < 0 else (place,)
        return any(name in seen.configs[0][i] and test(seen.configs[0][i][name]) for i in places if seen.configs)

    return matches


_PARITY = _entries(
    PARITY,
    JUMP,
    ParityObservation,
    (
        "parity-exchanged",
        "the two schedulers come back in the other order",
        "DDPM first, then DDIM.",
        lambda seen: (
            bool(seen.configs)
            and [about.get("class") for about in seen.configs[0]] == ["DDIMScheduler", "DDPMScheduler"]
        ),
    ),
    (
        "parity-timesteps",
        "the schedulers have another number of timesteps than the lab's",
        "num_train_timesteps is 1000 unless you say otherwise.",
        _config(-1, "num_train_timesteps", lambda value: value != LONG),
    ),
    (
        "parity-betas",
        "the betas are made by the library instead of taken from the lab's table",
        "The library's own go from 1e-4 to 0.02 whatever T is. trained_betas takes any table.",
        _config(-1, "own_betas", lambda value: not value),
    ),
    (
        "parity-clip-sample",
        "the library clips the predicted x_0, which the lab does not",
        "clip_sample is on by default.",
        _config(-1, "clip_sample", bool),
    ),
    (
        "parity-thresholding",
        "the library thresholds the predicted x_0, which the lab does not",
        "That is a technique of another model: leave it off.",
        _config(-1, "thresholding", bool),
    ),
    (
        "parity-prediction-type",
        "the schedulers take the network's output for something else than noise",
        "prediction_type is about what the network was trained to predict.",
        _config(-1, "prediction_type", lambda value: value != "epsilon"),
    ),
    (
        "parity-zero-snr",
        "the library rescales the betas",
        "rescale_betas_zero_snr changes the schedule that was trained with.",
        _config(-1, "rescale_betas_zero_snr", bool),
    ),
    (
        "parity-last-alpha",
        "the last jump does not lead to x_0",
        "With set_alpha_to_one=False the library takes ᾱ of the first step where the lab has 1.",
        _config(1, "set_alpha_to_one", lambda value: not value),
    ),
    (
        "parity-spacing",
        "the DDIM scheduler visits other timesteps than fast_sample",
        "timestep_spacing decides: 'leading' counts up from 0, 'linspace' divides evenly, 'trailing' counts down from "
        "T − 1.",
        _config(1, "timestep_spacing", lambda value: value != "trailing"),
    ),
)
_VARIANCE = _entries(
    PARITY,
    DDPM,
    ParityObservation,
    (
        "parity-variance-type",
        "the variance of the DDPM steps is not the lab's",
        "The lab's steps have β̃_t, the posterior's variance, which the library calls small.",
        _config(0, "variance_type", lambda value: not str(value).startswith("fixed_small")),
    ),
)

CATALOGUE = _FAST + _EMBEDDING + _DROPOUT + _GUIDANCE + _PARITY + _VARIANCE
