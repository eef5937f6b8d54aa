"""The plane's warm-ups with one matrix, `train_step` and `sample`: stored cases, and fresh ones from the judge's seed.

Both functions draw from generators with given seeds, so the judge knows every number that they draw and what has to
come out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from grader.judging.bench import Bench, Judgement, Observation
from grader.judging.border import Answer, Expects, Said, Tensor
from grader.judging.comparison import Array, Arrays, off, take
from grader.judging.diagnosis import Misconception, about
from grader.lab.reference import Schedule
from grader.lab.shared.companions import Look, changed_in_place, inputs_kept, judge_companion
from grader.lab.torch_draws import TorchGenerator
from grader.records import Finding

GOLDENS = Path(__file__).resolve().parents[1] / "edition" / "companions_plane.npz"
FRESH = 4  # cases; the first has several points and features
LARGE = 1000  # T from which the betas are the lab's own
CLOSE = 1e-4


class WarmupSaid(Said):
    """Whether a gradient was asked of autograd."""

    autograd: bool


Size = tuple[int, int, int]  # N points of d features, T timesteps
Compute = Callable[["WarmupCase"], Array]


class Generator(Protocol):
    """What draws: grader.lab.torch_draws.TorchGenerator, or torch's own in the maker of the stored cases."""

    def randint(self, high: int) -> int: ...

    def randn(self, *shape: int) -> NDArray[Any]: ...


@dataclass
class WarmupCase:
    """A call of one of the two functions: what goes in, what is right, what came out (None: nothing usable)."""

    inputs: Arrays
    stored: bool = False
    expected: Array = field(default_factory=lambda: np.empty(0))
    got: Array | None = None

    @property
    def size(self) -> Size:
        count, d = self.inputs["x_clean"].shape if "x_clean" in self.inputs else self.inputs["shape"].astype(int)
        return int(count), int(d), len(self.inputs["betas"])

    @property
    def schedule(self) -> Schedule:
        return Schedule(self["betas"])

    @property
    def seed(self) -> int:
        return int(self.inputs["seed"])

    def randn(self, offset: int, generator: Callable[[int], Generator] = TorchGenerator) -> NDArray[Any]:
        """Noise (N, d) of a new generator seeded with seed + offset."""
        return generator(self.seed + offset).randn(*self.size[:2])

    def __getitem__(self, name: str) -> Array:
        return self.inputs[name].astype(float)

    def __str__(self) -> str:
        return "N = {}, d = {}, T = {}".format(*self.size) + f", seed = {self.seed}"


@dataclass(frozen=True)
class Warmup:
    """One of the two exercises."""

    name: str  # of its probe, and in the golden file
    function: str
    tensors: tuple[str, ...]
    numbers: tuple[str, ...]
    equation: str
    spread: Callable[[int], float]  # of the weights, for d features
    own_inputs: Callable[[Size, np.random.Generator], Arrays]
    draws: Callable[[WarmupCase, Callable[[int], Generator]], Arrays]
    right: Callable[[WarmupCase, Arrays], Array]  # the result in float64 for these draws
    by_hand: bool = False  # whether autograd may not be used

    def case(self, size: Size, rng: np.random.Generator, seed: int) -> WarmupCase:
        """New arguments by name, float32 as students' code receives them."""
        s, d = schedule_for(size[2]), size[1]
        shared = {"w_model": self.spread(d) * rng.standard_normal((d + 1, d)), "betas": s.betas, "alpha_bar": s.ab}
        inputs: Arrays = {name: value.astype(np.float32) for name, value in shared.items()}
        return WarmupCase(inputs | {"seed": np.array(seed)} | self.own_inputs(size, rng))

    def stored(self) -> list[WarmupCase]:
        """The cases that students have as well."""
        arrays = dict(np.load(GOLDENS, allow_pickle=False))
        found: list[WarmupCase] = []
        while f"{self.name}.{len(found)}.out" in arrays:
            prefix = f"{self.name}.{len(found)}."
            given = f"{prefix}in."
            inputs = {name.removeprefix(given): value for name, value in arrays.items() if name.startswith(given)}
            found.append(WarmupCase(inputs, stored=True, expected=arrays[f"{prefix}out"]))
        return found

    def fresh(self, bench: Bench) -> list[WarmupCase]:
        """Cases that nobody has seen."""
        cases = []
        for i in range(FRESH):
            low = 4 if i == 0 else 1
            count, d, T = (int(bench.rng.integers(*ends)) for ends in ((low, 30), (min(low, 2), 5), (5, 20)))
            case = self.case((count, d, T), bench.rng, bench.seed())
            cases.append(replace(case, expected=self.right(case, self.draws(case, TorchGenerator))))
        return cases


@dataclass
class WarmupObservation(Observation):
    """All calls of one exercise, and what else they did."""

    cases: list[WarmupCase]
    autograd: bool = False  # asked for a gradient where autograd is switched off
    unsteady: bool = False  # the same call gave something else under another global seed
    changed: tuple[str, ...] = ()  # inputs that were modified


def schedule_for(T: int) -> Schedule:
    """Betas from 0.01 to 0.3 for few timesteps, less for more, rounded to float32."""
    last = 0.02 if T >= LARGE else min(0.3, 5.0 / T)
    betas = np.linspace(last / 30.0 if T < LARGE else 1e-4, last, T)
    return Schedule(betas.astype(np.float32).astype(np.float64))


def judge_warmup(warmup: Warmup, bench: Bench) -> Judgement:
    """Checks by_hand (of an exercise that asks for it), stored, fresh, repeatable, inputs_kept."""
    seen = WarmupObservation([*warmup.stored(), *warmup.fresh(bench)])
    checks: dict[str, Look] = {"by_hand": lambda answer: _by_hand(warmup, seen)} if warmup.by_hand else {}
    checks |= {
        "stored": lambda answer: _right(answer, warmup, seen, stored=True),
        "fresh": lambda answer: _right(answer, warmup, seen, stored=False),
        "repeatable": lambda answer: _repeatable(warmup, seen),
        "inputs_kept": lambda answer: inputs_kept(warmup.function, seen.changed),
    }
    return judge_companion(lambda: _observed(_ask(bench, warmup, seen), warmup, seen), seen, checks)


def _ask(bench: Bench, warmup: Warmup, seen: WarmupObservation) -> Answer:
    numbers = [{name: case.inputs[name].item() for name in warmup.numbers} for case in seen.cases]
    arrays = {f"{i}.{name}": case.inputs[name] for i, case in enumerate(seen.cases) for name in warmup.tensors}
    results = [f"{name}.{i}" for i in range(len(seen.cases)) for name in ("out", "again")]
    inputs = [f"{i}.{name}_after" for i in range(len(seen.cases)) for name in warmup.tensors]
    expects = Expects.alike([*results, *inputs], Tensor(), WarmupSaid)
    params = {"cases": numbers, "seeds": [bench.seed(), bench.seed()]}
    return bench.ask(warmup.name, params, arrays, expects=expects)


def _observed(answer: Answer, warmup: Warmup, seen: WarmupObservation) -> Answer:
    seen.autograd = answer.said.autograd
    changed: dict[str, None] = {}
    for i, case in enumerate(seen.cases):
        first, again = (answer.arrays.get(f"{key}.{i}") for key in ("out", "again"))
        if first is None:
            continue
        case.got = take(answer, f"out.{i}", case.expected.shape, "")[0]
        seen.unsteady |= again is not None and not _same(first, again)
        after = {name: answer.arrays.get(f"{i}.{name}_after", np.empty(0)) for name in warmup.tensors}
        changed |= {name: None for name in after if not np.array_equal(after[name], case.inputs[name])}
    seen.changed = tuple(changed)
    return answer


def _same(first: NDArray[Any], again: NDArray[Any]) -> bool:
    return first.shape == again.shape and np.allclose(first, again, rtol=1e-5, atol=1e-5, equal_nan=True)


def _by_hand(warmup: Warmup, seen: WarmupObservation) -> Finding | None:
    if not seen.autograd:
        return None
    checked, got = f"{warmup.function} under disabled gradients", "a call of backward() or autograd.grad()"
    return Finding(checked, "a gradient derived by hand", got, warmup.function, warmup.equation)


def _right(answer: Answer, warmup: Warmup, seen: WarmupObservation, stored: bool) -> Finding | None:
    name = warmup.function
    if seen.autograd:
        return Finding(f"the result of {name}", "one made without autograd", "none", name, warmup.equation)
    for i, case in enumerate(seen.cases):
        if case.stored is not stored:
            continue
        checked = f"{name} with {case}"
        got, malformed = take(answer, f"out.{i}", case.expected.shape, checked)
        if got is None:
            return replace(malformed, where=name, equation=warmup.equation) if malformed else None
        wrong = off(got, case.expected)
        if wrong:
            draws = warmup.draws(case, TorchGenerator)
            where = f"{name}, which draws t = {draws['t']}" if "t" in draws else name
            due = "the result for the generators that the exercise names"
            return Finding(checked, due, wrong, where, warmup.equation)
    return None


def _repeatable(warmup: Warmup, seen: WarmupObservation) -> Finding | None:
    if seen.autograd or not seen.unsteady:
        return None
    checked, got = f"{warmup.function} called twice with the same arguments", "another one: it depends on the global"
    return Finding(checked, "the same result", f"{got} random state", warmup.function, warmup.equation)


# --- diagnosis


def computes(*variants: Compute) -> Callable[[WarmupObservation], bool]:
    """Matches the results of every call, for any of the given ways to compute them; never right results."""

    def matches(seen: WarmupObservation) -> bool:
        pairs = [(case, case.got) for case in seen.cases if case.got is not None]
        if all(close(got, case.expected) for case, got in pairs):
            return False
        with np.errstate(all="ignore"):
            return any(all(close(got, variant(case)) for case, got in pairs) for variant in variants)

    return matches


def close(got: Array, other: Array) -> bool:
    return got.shape == other.shape and bool(np.allclose(got, other, rtol=CLOSE, atol=CLOSE))


def warmup_misconceptions(
    prefix: str, equation: str, timed: Callable[[Callable[[int, int], float]], Compute]
) -> tuple[Misconception, ...]:
    """What both exercises can get wrong; `timed` computes with another number than t/T, made of t and T."""
    return (
        *about(
            equation,
            (
                "global-random-state",
                "the numbers are drawn from the global random state",
                "The same arguments must give the same result: make a torch.Generator, seed it, pass it to every draw.",
                lambda seen: seen.unsteady,
            ),
            (
                f"{prefix}-time-not-normalised",
                "t goes into the model as it is, or divided by another number than T",
                "The last column of the input is t/T, a number from 0 to just below 1.",
                computes(timed(lambda t, T: t), timed(lambda t, T: t / (T - 1)), timed(lambda t, T: (t + 1) / T)),
            ),
        ),
        changed_in_place("weights-changed-in-place", equation, "An operator such as -= or a method such as mul_"),
    )
