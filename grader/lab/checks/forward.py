"""Judges q_sample (Task 1) and add_noise (Task 2): x_t = sqrt(alpha-bar_t) x_0 + sqrt(1 - alpha-bar_t) eps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from grader.judging.bench import Bench, Judgement, Observation
from grader.judging.comparison import Array, Arrays, off, take
from grader.judging.draws import as_text, odd_draws
from grader.judging.findings import answered, asked, judged
from grader.lab import reference
from grader.lab.reference import Schedule
from grader.lab.settings import SHORT
from grader.records import Finding
from grader.sandbox import Answer, ProbeFailure

EQUATION = "x_t = √ᾱ_t x_0 + √(1 − ᾱ_t) ε   (DDPM Eq. 4)"


@dataclass
class ForwardObservation(Observation):
    """Coefficients that a forward function used: x_t = a_t x_0 + b_t eps, one pair per t; shapes (T,)."""

    schedule: Schedule
    a: Array
    b: Array
    residual: float  # largest part of x_t that no such pair explains
    t_first: int  # t of the first sample of the batch
    foreign: bool = False  # whether x_t is right for standard noise, but not made of the given one
    changed: tuple[str, ...] = ()  # inputs that were modified
    noise: str | None = None  # what is wrong with the drawn noise
    pair: str | None = None  # what is wrong with the returned noise


@dataclass
class _Case:
    """One of the two halves: its function, probe, shapes and network stand-in."""

    name: str
    small: tuple[int, ...]
    large: tuple[int, ...]
    returns_noise: bool


TASK1 = _Case("q_sample", (2,), (16384, 2), returns_noise=False)
TASK2 = _Case("add_noise", (3, 6, 5), (128, 3, 12, 10), returns_noise=True)


def judge_q_sample(bench: Bench) -> Judgement:
    return _judge(bench, TASK1, {"closed_form": 2.5, "drawn_noise": 1.0, "inputs_kept": 0.5})


def judge_add_noise(bench: Bench) -> Judgement:
    return _judge(bench, TASK2, {"closed_form": 2.0, "drawn_noise": 1.0, "returned_noise": 0.5, "inputs_kept": 0.5})


def network_coefficients(bench: Bench, features: int) -> Arrays:
    """Arbitrary coefficients of the stand-in network for points (2) or images (channels)."""
    weight, sign = bench.uniform(0.3, 1.0, features, features), np.sign(bench.normal(features, features))
    return {
        "weight": weight * sign,
        "slope": bench.uniform(0.1, 0.3, features),
        "bias": bench.uniform(0.2, 0.5, features),
    }


def _judge(bench: Bench, case: _Case, points: dict[str, float]) -> Judgement:
    schedule = Schedule.linear(SHORT["T"], SHORT["beta_1"], SHORT["beta_T"])
    given_inputs, drawn_inputs = _inputs(bench, case, schedule.T)
    given = asked(lambda: _ask(bench, case, given_inputs))
    drawn = asked(lambda: _ask(bench, case, drawn_inputs))
    seen = ForwardObservation(
        schedule, np.full(schedule.T, np.nan), np.full(schedule.T, np.nan), np.inf, int(given_inputs["t"][0])
    )
    judgement = Judgement(observations=[seen])
    findings = {
        "closed_form": lambda: _closed_form(answered(given), given_inputs, case, schedule, seen),
        "drawn_noise": lambda: _drawn_noise(answered(drawn), drawn_inputs, case, schedule, seen),
        "returned_noise": lambda: _returned_noise(answered(given), given_inputs, answered(drawn), drawn_inputs, seen),
        "inputs_kept": lambda: _inputs_kept(answered(given), given_inputs, case, seen),
    }
    for check_id, maximum in points.items():
        judgement.checks.append(judged(check_id, maximum, findings[check_id]))
    if not isinstance(given, ProbeFailure) and given.arrays["xt"].dtype == np.float64:
        judgement.remarks.append(f"{case.name} turns float32 inputs into float64: a float32 network will refuse them")
    return judgement


def _inputs(bench: Bench, case: _Case, T: int) -> tuple[Arrays, Arrays]:
    """A small batch with every t several times in random order and its noise; a large one without noise."""
    t = bench.rng.permutation(np.tile(np.arange(T), 8 if len(case.small) == 1 else 3)).astype(np.int64)
    while t[0] in (0, T - 1):  # the first t tells "one t for the whole batch" from a clamped index
        t = bench.rng.permutation(t)
    given: Arrays = {
        "x0": bench.uniform(-0.9, 0.9, len(t), *case.small),
        "t": t,
        "noise": bench.normal(len(t), *case.small),
    }
    drawn: Arrays = {
        "x0": bench.uniform(-0.9, 0.9, *case.large),
        "t": bench.rng.integers(0, T, case.large[0]).astype(np.int64),
    }
    drawn["t"][0] = t[0]  # so that one t for the batch has the same coefficients in both
    return given, drawn


def _ask(bench: Bench, case: _Case, inputs: Arrays) -> Answer:
    stub = network_coefficients(bench, 2) if case is TASK1 else {}
    return bench.ask(case.name, SHORT | {"seed": bench.seed()}, inputs | stub)


def _closed_form(
    answer: Answer, inputs: Arrays, case: _Case, schedule: Schedule, seen: ForwardObservation
) -> Finding | None:
    checked = f"{case.name}(x_0, t, noise) with every t of T = {schedule.T} mixed in one batch"
    xt, finding = take(answer, "xt", inputs["x0"].shape, checked)
    if xt is None:
        return finding
    _fit(seen, xt, inputs)
    expected = reference.q_sample(schedule, inputs["x0"].astype(float), inputs["t"], inputs["noise"].astype(float))
    wrong = off(xt, expected)
    if wrong is None:
        return None
    by_t = [int(t) for t in range(schedule.T) if off(xt[inputs["t"] == t], expected[inputs["t"] == t])]
    return Finding(
        checked,
        "the closed form of q(x_t | x_0)",
        wrong,
        f"{case.name}, wrong at t = {', '.join(map(str, by_t))}",
        EQUATION,
    )


def _fit(seen: ForwardObservation, xt: Array, inputs: Arrays) -> None:
    """Least squares for the pair (a_t, b_t) of each t; exact where x_t is linear in x_0 and noise."""
    worst = 0.0
    for t in range(seen.schedule.T):
        rows = inputs["t"] == t
        columns = np.stack([inputs["x0"][rows].ravel(), inputs["noise"][rows].ravel()], axis=1).astype(float)
        target = xt[rows].ravel()
        pair, *_ = np.linalg.lstsq(columns, target, rcond=None)
        seen.a[t], seen.b[t] = pair
        worst = max(worst, float(np.abs(columns @ pair - target).max()))
    seen.residual = worst
    ab = reference.per_sample(seen.schedule.ab, inputs["t"], xt.ndim)
    z = ((xt - np.sqrt(ab) * inputs["x0"]) / np.sqrt(1 - ab)).ravel()
    shared = float((z * inputs["noise"].ravel()).mean())  # about z's part of the given noise, five errors off 0 or 1
    seen.foreign = worst > 0.1 and abs(shared) < 0.4 and abs(float(z.std()) - 1) < 0.3


def _own_coefficients(seen: ForwardObservation) -> tuple[Array, Array]:
    """The submission's own pair per t, so that a wrong coefficient is not held against the noise as well."""
    usable = seen.residual < 1e-3 and bool((np.abs(seen.b) > 1e-3).all())
    return (seen.a, seen.b) if usable else (np.sqrt(seen.schedule.ab), np.sqrt(1 - seen.schedule.ab))


def _implied_noise(xt: Array, x0: NDArray[np.float32], t: NDArray[np.int64], seen: ForwardObservation) -> Array:
    a, b = (reference.per_sample(table, t, xt.ndim) for table in _own_coefficients(seen))
    return np.asarray((xt - a * x0) / b)


def _drawn_noise(
    answer: Answer, inputs: Arrays, case: _Case, schedule: Schedule, seen: ForwardObservation
) -> Finding | None:
    checked = f"{case.name}(x_0, t) without noise: it draws its own from N(0, I)"
    xt, finding = take(answer, "xt", inputs["x0"].shape, checked)
    if xt is None:
        return finding
    seen.noise = as_text(odd_draws(_implied_noise(xt, inputs["x0"], inputs["t"], seen)))
    if seen.noise is None:
        return None
    return Finding(
        checked,
        "fresh, independent draws from N(0, 1) for every coordinate of every sample",
        seen.noise,
        case.name,
        EQUATION,
    )


def _returned_noise(
    given: Answer, given_inputs: Arrays, drawn: Answer, drawn_inputs: Arrays, seen: ForwardObservation
) -> Finding | None:
    checked = "the second value that add_noise returns"
    for answer, inputs in ((given, given_inputs), (drawn, drawn_inputs)):
        eps, finding = take(answer, "eps", inputs["x0"].shape, checked)
        if eps is None:
            seen.pair = "malformed" if "eps" in answer.arrays else "absent"
            return finding
        used = (
            inputs["noise"].astype(float)
            if "noise" in inputs
            else _implied_noise(answer.arrays["xt"].astype(float), inputs["x0"], inputs["t"], seen)
        )
        wrong = off(eps, used, atol=1e-3)  # dividing by b_t enlarges float32 rounding
        if wrong:
            seen.pair = "given" if "noise" in inputs else "drawn"
            return Finding(checked, "the very noise that went into x_t", wrong, "add_noise", EQUATION)
    return None


def _inputs_kept(answer: Answer, inputs: Arrays, case: _Case, seen: ForwardObservation) -> Finding | None:
    unused = [name for name, table in (("noise", seen.b), ("x_0", seen.a)) if np.abs(table).max() < 1e-3]
    if np.isinf(seen.residual) or (seen.residual < 1e-3 and unused):
        # Leaving its inputs alone is no merit of a function that does nothing with them.
        return Finding(
            f"{case.name} leaves its inputs as they are, and makes x_t of them",
            "x_t made of x_0 and noise",
            f"no trace of {unused[0]} in x_t" if unused else "no x_t",
            case.name,
            EQUATION,
        )
    names = {"x0": "x_0", "noise": "noise", "t": "t"}
    seen.changed = tuple(
        label
        for key, label in names.items()
        if not np.array_equal(answer.arrays.get(f"{key}_after", np.zeros(0)), inputs[key])
    )
    if not seen.changed:
        return None
    return Finding(
        f"{case.name} leaves its inputs as they are",
        "inputs unchanged after the call",
        f"{' and '.join(seen.changed)} changed in place",
        case.name,
    )
