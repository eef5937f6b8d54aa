"""Judges the forward process, q_sample (Task 1) and add_noise (Task 2): x_t = a_t x_0 + b_t eps.

With given noise, least squares read the pair (a_t, b_t) of each t off x_t. Without, the noise that was drawn follows
from x_t and that pair.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import partial

import numpy as np

from grader.judging.bench import Bench, Observation
from grader.judging.border import WHOLE, Answer, Expects, Tensor
from grader.judging.comparison import Array, Arrays, off, take
from grader.judging.draws import OddDraws, odd_draws
from grader.judging.findings import answered, asked
from grader.judging.fits import fit
from grader.lab import reference
from grader.lab.reference import Schedule
from grader.lab.settings import Setting
from grader.records import Finding
from grader.sandbox import ProbeFailure

EQUATION = "x_t = √ᾱ_t x_0 + √(1 − ᾱ_t) ε   (DDPM Eq. 4)"
LEFT = 1e-3  # of x_t, that x_0 and the noise need not explain
NONE = 1e-3  # a coefficient below this is 0


class ReturnedNoise(StrEnum):
    """What is wrong with the noise that comes back beside x_t."""

    ABSENT = "none comes back"
    MALFORMED = "its form is not that of x_0"
    NOT_THE_GIVEN = "it is not the noise that was passed in"
    NOT_THE_DRAWN = "it is not the noise that was drawn"


@dataclass
class ForwardObservation(Observation):
    """Coefficients that a forward function used: x_t = a_t x_0 + b_t eps, one pair per t; shapes (T,)."""

    schedule: Schedule
    a: Array
    b: Array
    t_first: int  # t of the first sample of the batch
    residual: float = np.inf  # largest part of x_t that no such pair explains
    foreign: bool = False  # whether x_t is right for standard noise, but not made of the given one
    changed: tuple[str, ...] = ()  # inputs that were modified
    odd: OddDraws | None = None  # what is wrong with the drawn noise
    returned: ReturnedNoise | None = None

    @property
    def is_linear(self) -> bool:
        """Whether x_t is a_t x_0 + b_t eps at every t, with whatever a_t and b_t."""
        return self.residual < LEFT


@dataclass(frozen=True)
class Forward:
    """A forward function, and what it is asked about."""

    name: str
    sample: tuple[int, ...]  # shape of one, with given noise
    per_t: int  # samples of each t
    large: tuple[int, ...]  # shape of the batch without noise


class ForwardRun:
    """A forward function asked twice: with noise, every t several times in one batch, and on a large batch without."""

    def __init__(self, bench: Bench, function: Forward, stand_ins: Arrays) -> None:
        self.name = function.name
        setting = Setting.short(bench.rng)
        self.given_inputs, self.drawn_inputs = _inputs(bench, function, setting.T)
        ask = partial(_ask, bench, self.name, setting, stand_ins)
        self.given, self.drawn = asked(partial(ask, self.given_inputs)), asked(partial(ask, self.drawn_inputs))
        unknown = np.full(setting.T, np.nan)
        self.seen = ForwardObservation(setting.schedule, unknown, unknown.copy(), int(self.given_inputs["t"][0]))

    def closed_form(self) -> Finding | None:
        """x_t by the closed form at every t; reads off `seen` what was used instead."""
        inputs, schedule = self.given_inputs, self.seen.schedule
        T = schedule.T
        checked = f"{self.name}(x_0, t, noise) with every t of T = {T} mixed in one batch"
        xt, malformed = take(answered(self.given), "xt", inputs["x0"].shape, checked)
        if xt is None:
            return malformed
        _fit(self.seen, xt, inputs)
        expected = reference.q_sample(schedule, inputs["x0"].astype(float), inputs["t"], inputs["noise"].astype(float))
        wrong = off(xt, expected)
        if wrong is None:
            return None
        by_t = [str(t) for t in range(T) if off(xt[inputs["t"] == t], expected[inputs["t"] == t])]
        where = f"{self.name}, wrong at t = {', '.join(by_t)}"
        return Finding(checked, "the closed form of q(x_t | x_0)", wrong, where, EQUATION)

    def drawn_noise(self) -> Finding | None:
        """The noise of a call without any is drawn from N(0, I)."""
        checked = f"{self.name}(x_0, t) without noise: it draws its own from N(0, I)"
        xt, malformed = take(answered(self.drawn), "xt", self.drawn_inputs["x0"].shape, checked)
        if xt is None:
            return malformed
        self.seen.odd = odd_draws(self.implied_noise(xt))
        if self.seen.odd is None:
            return None
        expected = "fresh, independent draws from N(0, 1) for every coordinate of every sample"
        return Finding(checked, expected, self.seen.odd.text, self.name, EQUATION)

    def implied_noise(self, xt: Array) -> Array:
        """The noise that was drawn for x_t, by the function's own pairs: a wrong one costs the closed form alone."""
        seen, inputs = self.seen, self.drawn_inputs
        usable = seen.is_linear and bool((np.abs(seen.b) > NONE).all())
        tables = (seen.a, seen.b) if usable else (np.sqrt(seen.schedule.ab), np.sqrt(1 - seen.schedule.ab))
        a, b = (reference.per_sample(table, inputs["t"], xt.ndim) for table in tables)
        return np.asarray((xt - a * inputs["x0"]) / b)

    def inputs_kept(self) -> Finding | None:
        """The caller's tensors are as they were, after a call that made x_t of them."""
        arrays, seen = answered(self.given).arrays, self.seen
        checked = f"{self.name} leaves its inputs as they are"
        unused = [name for name, table in (("noise", seen.b), ("x_0", seen.a)) if np.abs(table).max() < NONE]
        if np.isinf(seen.residual) or (seen.is_linear and unused):
            # Leaving its inputs alone is no merit of a function that does nothing with them.
            got = f"no trace of {unused[0]} in x_t" if unused else "no x_t"
            return Finding(f"{checked}, and makes x_t of them", "x_t made of x_0 and noise", got, self.name, EQUATION)
        seen.changed = tuple(
            label
            for key, label in (("x0", "x_0"), ("noise", "noise"), ("t", "t"))
            if not np.array_equal(arrays.get(f"{key}_after", np.zeros(0)), self.given_inputs[key])
        )
        if not seen.changed:
            return None
        got = f"{' and '.join(seen.changed)} changed in place"
        return Finding(checked, "inputs unchanged after the call", got, self.name)

    def remarks(self) -> list[str]:
        """float64 out of float32 costs nothing here."""
        if isinstance(self.given, ProbeFailure) or "xt" not in self.given.arrays:
            return []
        if self.given.arrays["xt"].dtype != np.float64:
            return []
        return [f"{self.name} turns float32 inputs into float64: a float32 network will refuse them"]


def forward_answer(inputs: Arrays) -> Expects:
    """What a forward function may answer: x_t, the noise where it returns that too, its inputs as they are then."""
    shape = inputs["x0"].shape
    after = {f"{name}_after": Tensor(shape) for name in ("x0", "noise")}
    return Expects({"xt": Tensor(shape), "eps": Tensor(shape), "t_after": Tensor(inputs["t"].shape, WHOLE)} | after)


def _ask(bench: Bench, name: str, setting: Setting, stand_ins: Arrays, inputs: Arrays) -> Answer:
    params = setting.params | {"seed": bench.seed()}
    return bench.ask(name, params, stand_ins | inputs, expects=forward_answer(inputs))


def _inputs(bench: Bench, function: Forward, T: int) -> tuple[Arrays, Arrays]:
    """A small batch with every t several times in random order and its noise; a large one without noise."""
    t = bench.rng.permutation(np.tile(np.arange(T), function.per_t)).astype(np.int64)
    while t[0] in (0, T - 1):  # the first t tells "one t for the whole batch" from a clamped index
        t = bench.rng.permutation(t)
    given: Arrays = {
        "x0": bench.uniform(-0.9, 0.9, len(t), *function.sample),
        "t": t,
        "noise": bench.normal(len(t), *function.sample),
    }
    drawn: Arrays = {
        "x0": bench.uniform(-0.9, 0.9, *function.large),
        "t": bench.rng.integers(0, T, function.large[0]).astype(np.int64),
    }
    drawn["t"][0] = t[0]  # so that one t for the batch has the same coefficients in both
    return given, drawn


def _fit(seen: ForwardObservation, xt: Array, inputs: Arrays) -> None:
    """The pair (a_t, b_t) of each t; exact where x_t is linear in x_0 and noise."""
    of_each = (inputs["t"] == t for t in range(seen.schedule.T))
    fits = [fit(xt[of_t], inputs["x0"][of_t], inputs["noise"][of_t]) for of_t in of_each]
    seen.a, seen.b = np.array([found.coefficients for found in fits]).T
    seen.residual = max(found.residual for found in fits)
    ab = reference.per_sample(seen.schedule.ab, inputs["t"], xt.ndim)
    z = ((xt - np.sqrt(ab) * inputs["x0"]) / np.sqrt(1 - ab)).ravel()
    shared = float((z * inputs["noise"].ravel()).mean())  # about z's part of the given noise, five errors off 0 or 1
    seen.foreign = seen.residual > 0.1 and abs(shared) < 0.4 and abs(float(z.std()) - 1) < 0.3
