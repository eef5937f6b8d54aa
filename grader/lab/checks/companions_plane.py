"""Judges the warm-ups with one matrix, `train_step` and `sample`: stored cases, and fresh ones from the judge's seed.

Both draw from generators with given seeds, so the judge knows every number that they draw and what has to come out.
A companion exercise has 0 points; one that was left alone is `missing`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grader.judging.bench import Bench, Judgement, Observation
from grader.judging.comparison import Array, Arrays, off, take
from grader.judging.findings import all_unanswered, asked, judged
from grader.lab.golden_companions_plane import goldens, inputs_for, right_answer
from grader.lab.reference import Schedule
from grader.lab.torch_draws import TorchGenerator
from grader.records import Finding, Verdict
from grader.sandbox import Answer, ProbeFailure

EQUATIONS = {
    "train_step": "w − lr ∂L/∂w, L = mean over N d entries of ([x_t, t/T] w − ε)², x_t = √ᾱ_t x_0 + √(1 − ᾱ_t) ε   "
    "(DDPM Eq. 4, 14)",
    "sampler_loop": "x_{t−1} = 1/√α_t (x_t − β_t/√(1 − ᾱ_t) ε_θ) + √β_t z, z = 0 at t = 0   (DDPM Eq. 11, Algorithm 2)",
}
FUNCTIONS = {"train_step": "train_step", "sampler_loop": "sample"}
TENSORS = {
    "train_step": ("x_clean", "w_model", "betas", "alpha_bar"),
    "sampler_loop": ("w_model", "shape", "betas", "alpha_bar"),
}
NUMBERS = {"train_step": ("lr", "seed"), "sampler_loop": ("seed",)}
FRESH = 4  # cases; the first has several points and features


@dataclass
class WarmupCase:
    """A call of one of the two functions: what went in, what is right, what came out (None: nothing usable)."""

    inputs: Arrays
    size: tuple[int, int, int]  # (N, d, T)
    expected: Array
    stored: bool
    got: Array | None = None

    @property
    def schedule(self) -> Schedule:
        return Schedule(self.inputs["betas"].astype(float))

    @property
    def seed(self) -> int:
        return int(self.inputs["seed"])

    def __getitem__(self, name: str) -> Array:
        return self.inputs[name].astype(float)

    def __str__(self) -> str:
        return "N = {}, d = {}, T = {}".format(*self.size) + f", seed = {self.seed}"


@dataclass
class WarmupObservation(Observation):
    """All calls of one exercise, and what else they did."""

    cases: list[WarmupCase]
    autograd: bool = False  # asked for a gradient where autograd is switched off
    unsteady: bool = False  # the same call gave something else under another global seed
    changed: tuple[str, ...] = ()  # inputs that were modified


def judge_train_step(bench: Bench) -> Judgement:
    return _judge(bench, "train_step")


def judge_sampler_loop(bench: Bench) -> Judgement:
    return _judge(bench, "sampler_loop")


def unless_left_alone(failure: ProbeFailure) -> ProbeFailure:
    """A companion exercise whose placeholder stands is not wanted: `missing`, not `not_implemented`."""
    if failure.verdict is not Verdict.NOT_IMPLEMENTED:
        return failure
    return ProbeFailure(Verdict.MISSING, f"left alone, as companion exercises may be: {failure.message}", failure.where)


def draws_for(exercise: str, inputs: Arrays, size: tuple[int, int, int]) -> Arrays:
    """What the right generators give; see golden_companions_plane.right_answer."""
    (count, d, T), seed = size, int(inputs["seed"])
    if exercise == "train_step":
        t = np.array(TorchGenerator(seed).randint(T))
        return {"t": t, "eps": TorchGenerator(seed + 1).randn(count, d)}
    noise = [TorchGenerator(seed + 100 + t).randn(count, d) for t in range(T)]
    return {"start": TorchGenerator(seed).randn(count, d), "noise": np.stack(noise)}


def _judge(bench: Bench, exercise: str) -> Judgement:
    seen = WarmupObservation([*_stored(exercise), *_fresh(bench, exercise)])
    checks = ["by_hand"] if exercise == "train_step" else []
    checks += ["stored", "fresh", "repeatable", "inputs_kept"]
    answer = asked(lambda: _ask(bench, exercise, seen))
    if isinstance(answer, ProbeFailure):
        return Judgement(all_unanswered(checks, [0.0] * len(checks), unless_left_alone(answer)))
    _observe(answer, exercise, seen)
    judges = {
        "by_hand": lambda: _by_hand(seen),
        "stored": lambda: _right(answer, exercise, seen, stored=True),
        "fresh": lambda: _right(answer, exercise, seen, stored=False),
        "repeatable": lambda: _repeatable(exercise, seen),
        "inputs_kept": lambda: _inputs_kept(exercise, seen),
    }
    return Judgement([judged(name, 0.0, judges[name]) for name in checks], [seen])


def _stored(exercise: str) -> list[WarmupCase]:
    return [
        WarmupCase(golden.inputs, _size(golden.inputs), golden.out, stored=True)
        for golden in goldens()
        if golden.exercise == exercise
    ]


def _fresh(bench: Bench, exercise: str) -> list[WarmupCase]:
    cases = []
    for i in range(FRESH):
        low = 4 if i == 0 else 1
        count, d, T = (int(bench.rng.integers(*ends)) for ends in ((low, 30), (min(low, 2), 5), (5, 20)))
        inputs = inputs_for(exercise, (count, d, T), bench.rng, bench.seed())
        right = right_answer(exercise, inputs, draws_for(exercise, inputs, (count, d, T)))
        cases.append(WarmupCase(inputs, (count, d, T), right, stored=False))
    return cases


def _size(inputs: Arrays) -> tuple[int, int, int]:
    count, d = inputs["x_clean"].shape if "x_clean" in inputs else inputs["shape"].astype(int)
    return int(count), int(d), len(inputs["betas"])


def _ask(bench: Bench, exercise: str, seen: WarmupObservation) -> Answer:
    numbers = [{name: case.inputs[name].item() for name in NUMBERS[exercise]} for case in seen.cases]
    params: dict[str, Any] = {"cases": numbers, "seeds": [bench.seed(), bench.seed()]}
    arrays = {f"{i}.{name}": case.inputs[name] for i, case in enumerate(seen.cases) for name in TENSORS[exercise]}
    return bench.ask(exercise, params, arrays)


def _observe(answer: Answer, exercise: str, seen: WarmupObservation) -> None:
    seen.autograd = bool(answer.data.get("autograd"))
    changed: list[str] = []
    for i, case in enumerate(seen.cases):
        case.got = take(answer, f"out.{i}", case.expected.shape, "")[0]
        first, again = (answer.arrays.get(f"{key}.{i}") for key in ("out", "again"))
        seen.unsteady |= first is not None and again is not None and not _same(first, again)
        changed += [
            name
            for name in TENSORS[exercise]
            if name not in changed
            and f"out.{i}" in answer.arrays
            and not np.array_equal(answer.arrays.get(f"{i}.{name}_after", np.empty(0)), case.inputs[name])
        ]
    seen.changed = tuple(changed)


def _same(first: NDArray[Any], again: NDArray[Any]) -> bool:
    return first.shape == again.shape and np.allclose(first, again, rtol=1e-5, atol=1e-5, equal_nan=True)


def _by_hand(seen: WarmupObservation) -> Finding | None:
    if not seen.autograd:
        return None
    return Finding(
        "train_step under disabled gradients",
        "a gradient derived by hand",
        "a call of backward() or autograd.grad()",
        "train_step",
        EQUATIONS["train_step"],
    )


def _right(answer: Answer, exercise: str, seen: WarmupObservation, stored: bool) -> Finding | None:
    name = FUNCTIONS[exercise]
    if seen.autograd:
        return Finding(f"the result of {name}", "one made without autograd", "none", name, EQUATIONS[exercise])
    for i, case in enumerate(seen.cases):
        if case.stored is not stored:
            continue
        checked = f"{name} with {case}"
        got, malformed = take(answer, f"out.{i}", case.expected.shape, checked)
        if got is None:
            return replace(malformed, where=name, equation=EQUATIONS[exercise]) if malformed else None
        wrong = off(got, case.expected)
        if wrong:
            draws = draws_for(exercise, case.inputs, case.size)
            where = f"{name}, which draws t = {draws['t']}" if "t" in draws else name
            return Finding(
                checked, "the result for the generators that the exercise names", wrong, where, EQUATIONS[exercise]
            )
    return None


def _repeatable(exercise: str, seen: WarmupObservation) -> Finding | None:
    if seen.autograd or not seen.unsteady:
        return None
    return Finding(
        f"{FUNCTIONS[exercise]} called twice with the same arguments",
        "the same result",
        "another one: it depends on the global random state",
        FUNCTIONS[exercise],
        EQUATIONS[exercise],
    )


def _inputs_kept(exercise: str, seen: WarmupObservation) -> Finding | None:
    if not seen.changed:
        return None
    return Finding(
        f"{FUNCTIONS[exercise]} leaves its inputs as they are",
        "inputs unchanged after the call",
        f"{' and '.join(seen.changed)} changed in place",
        FUNCTIONS[exercise],
    )
