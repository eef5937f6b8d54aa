"""Judges the cosine schedule (Nichol & Dhariwal 2021, Eq. 17): its form, the table, its two ends, alpha-bar."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from grader.judging.bench import Bench, Judgement, Observation
from grader.judging.border import Answer, Expects, Line, Said, Tensor, tamed
from grader.judging.comparison import Array, off
from grader.judging.findings import answered, asked, judged
from grader.lab.reference import Schedule
from grader.lab.settings import NOTEBOOK, Setting
from grader.records import Finding
from grader.sandbox import ProbeFailure

LENGTHS = ((800, 1200), (40, 60), (8, 11))  # a T is drawn between each two
MOST = 10_000  # numbers of a table
EQUATION = (
    "β_t = min(1 − ᾱ_t/ᾱ_{t−1}, 0.999), ᾱ_t = f(t)/f(0), f(t) = cos²((t/T + s)/(1 + s) · π/2), s = 0.008   "
    "(Nichol & Dhariwal 2021, Eq. 17)"
)
POINTS = {"form": 0.5, "table": 2.0, "start": 0.5, "end": 0.5, "alpha_bar": 0.5}
# Small betas are judged relative to their size: an absolute tolerance would not see the first hundred. A table made in
# float32 is off by up to 0.3% at t = 0 of T = 1000.
RTOL = 5e-3
SMALL = 2e-4  # betas that a lower clip of 1e-4 may reach belong to the start
CLIP_ATOL = 2e-4  # tells 0.999 from 0.9999 and from 1
ALPHA_BAR_ATOL = 0.02  # a missing s or another clip is not charged twice

Part = Callable[[Schedule], NDArray[np.bool_]]


class TablesSaid(Said):
    """The dtype of each table, as torch names it."""

    dtypes: dict[Line, Line]


@dataclass
class CosineObservation(Observation):
    """The betas that came back for each T (only those of the right form)."""

    betas: dict[int, Array] = field(default_factory=dict)
    lengths: dict[int, tuple[int, ...]] = field(default_factory=dict)


def judge(bench: Bench) -> Judgement:
    """Checks form, table, start, end, alpha_bar."""
    seen, setting = CosineObservation(), Setting.long(bench.rng)
    table = Tensor(finite=False, largest=np.inf, most=MOST)
    expects = Expects.alike(("betas", "alphas", "alphas_cumprod"), table, TablesSaid)
    lengths = [int(bench.rng.integers(low, high + 1)) for low, high in LENGTHS]
    given = setting.params | {"mode": "cosine"}
    answers = {T: asked(partial(bench.ask, "schedule_tables", given | {"T": T}, expects=expects)) for T in lengths}
    for T, answer in answers.items():
        if isinstance(answer, ProbeFailure):
            continue
        answer.arrays.update({name: tamed(array) for name, array in answer.arrays.items()})
        betas = answer.arrays.get("betas", np.empty(0))
        seen.lengths[T] = answer.shape("betas") or ()
        if betas.shape == (T,) and np.isfinite(betas).any():
            seen.betas[T] = betas
    clips = bench.policy.cosine.clips
    bounds = " or ".join(map(str, clips))
    judges: dict[str, Callable[[dict[int, Answer]], Finding | None]] = {
        "form": partial(_form, setting),
        "table": lambda a: _compare(a, clips, _between, "the cosine betas between the ends"),
        "start": lambda a: _compare(a, clips, _start, f"the first beta, and all betas below {SMALL}"),
        "end": lambda a: _compare(a, clips, _end, f"the last two betas, clipped at {bounds}"),
        "alpha_bar": _alpha_bar,
    }

    def run(name: str) -> Finding | None:
        return judges[name]({T: answered(answer) for T, answer in answers.items()})

    return Judgement([judged(name, points, partial(run, name)) for name, points in POINTS.items()], [seen])


def _start(s: Schedule) -> NDArray[np.bool_]:
    """The betas that show the normalisation by f(0), and a lower clip."""
    return (np.arange(s.T) == 0) | (s.betas < SMALL)


def _between(s: Schedule) -> NDArray[np.bool_]:
    return np.asarray(~(_start(s) | _end(s)))


def _end(s: Schedule) -> NDArray[np.bool_]:
    """The betas that show the upper clip."""
    return np.arange(s.T) >= s.T - 2


def _form(setting: Setting, answers: dict[int, Answer]) -> Finding | None:
    for T, answer in answers.items():
        checked = f"the betas of BaseScheduler(num_train_timesteps={T}, mode='cosine')"
        betas, dtype = answer.arrays["betas"], answer.said.dtypes.get("betas", "none")
        if betas.shape != (T,):
            return Finding(checked, f"shape ({T},)", f"shape {betas.shape}", "BaseScheduler", EQUATION)
        if "float" not in dtype:
            return Finding(checked, "a floating-point table", dtype, "BaseScheduler", EQUATION)
        bad = np.flatnonzero(~((betas > 0) & (betas <= 1)))  # also catches NaN
        if len(bad):
            got = f"{betas[bad[0]]:.5g} at t = {bad[0]}"
            return Finding(checked, "numbers in (0, 1]", got, "BaseScheduler", EQUATION)
        falls = np.flatnonzero(np.diff(betas[1:]) < -1e-6)  # the first is judged with the start
        if len(falls) or (max(answers) == T and betas[-1] <= betas[1]):
            got = f"a fall after t = {falls[0] + 1}" if len(falls) else "the same number throughout"
            return Finding(checked, "betas that grow with t", got, "BaseScheduler", EQUATION)
        ends = ((setting.beta_1, setting.beta_T), (NOTEBOOK["beta_1"], NOTEBOOK["beta_T"]))
        others = (make(T, *pair).betas for make in (Schedule.linear, Schedule.quad) for pair in ends)
        if any(np.allclose(betas, other, rtol=1e-3) for other in others):
            return Finding(checked, "a table of its own", "that of another mode", "BaseScheduler", EQUATION)
    return None


def _compare(answers: dict[int, Answer], clips: tuple[float, ...], part: Part, checked: str) -> Finding | None:
    """One of the accepted clips explains the chosen betas of every T."""
    wrong = [_first_wrong(answers, clip, part, checked) for clip in clips]
    return wrong[0] if all(wrong) else None


def _first_wrong(answers: dict[int, Answer], clip: float, part: Part, checked: str) -> Finding | None:
    for T, answer in answers.items():
        got = answer.arrays["betas"]
        if got.shape != (T,):
            return Finding(f"{checked}, T = {T}", f"shape ({T},)", f"shape {got.shape}", "BaseScheduler", EQUATION)
        right = Schedule.cosine(T, clip)
        allowed = np.where(right.betas >= clip, CLIP_ATOL, RTOL * right.betas)
        wrong = np.flatnonzero(part(right) & ~(np.abs(got - right.betas) <= allowed))  # NaN is wrong
        if len(wrong):
            t = wrong[np.nan_to_num(np.abs(got[wrong] / right.betas[wrong] - 1), nan=np.inf).argmax()]
            return Finding(
                f"{checked}, T = {T}",
                f"β = {right.betas[t]:.6g} at t = {t}",
                f"β = {got[t]:.6g}; {len(wrong)} of {int(part(right).sum())} betas differ by more than "
                "0.5%, or a clipped one by more than 0.0002",
                "BaseScheduler",
                EQUATION,
            )
    return None


def _alpha_bar(answers: dict[int, Answer]) -> Finding | None:
    """alpha-bar falls along the squared cosine, never to NaN, and is the product of the alphas of the very betas."""
    for T, answer in answers.items():
        checked = f"alphas_cumprod of the cosine schedule, T = {T}"
        betas, ab = (answer.arrays[name] for name in ("betas", "alphas_cumprod"))
        if ab.shape != (T,) or not np.isfinite(ab).all():
            got = f"shape {ab.shape}, {int((~np.isfinite(ab)).sum())} not finite"
            return Finding(checked, f"{T} finite numbers", got, "BaseScheduler", EQUATION)
        if not (np.diff(ab) < 0).all() or ab[-1] < 0:
            return Finding(
                checked,
                "a strictly falling table from nearly 1 to nearly 0",
                f"{ab[0]:.4f} … {ab[-1]:.4f}, {int((np.diff(ab) >= 0).sum())} steps that do not fall",
                "BaseScheduler",
                EQUATION,
            )
        wrong = off(ab, Schedule.cosine(T).ab, ALPHA_BAR_ATOL)
        if wrong:
            return Finding(checked, "a table that falls along a squared cosine", wrong, "BaseScheduler", EQUATION)
        wrong = off(ab, np.cumprod(1 - betas), 1e-3) if betas.shape == ab.shape else None
        if wrong:
            return Finding(checked, "the cumulative product of 1 − betas", wrong, "BaseScheduler", EQUATION)
    return None
