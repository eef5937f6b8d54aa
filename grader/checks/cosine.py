"""Judges the cosine schedule (Nichol & Dhariwal 2021, Eq. 17): the table, its two ends, its form, alpha-bar."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from grader.checks.base import Array, Bench, Finding, Judgement, answered, asked, judged, off
from grader.reference import Schedule
from grader.sandbox import Answer, ProbeFailure

LENGTHS = (1000, 50, 10)
EQUATION = ("β_t = min(1 − ᾱ_t/ᾱ_{t−1}, 0.999), ᾱ_t = f(t)/f(0), f(t) = cos²((t/T + s)/(1 + s) · π/2), s = 0.008   "
            "(Nichol & Dhariwal 2021, Eq. 17)")
POINTS = {"form": 0.5, "table": 2.0, "ends": 1.0, "alpha_bar": 0.5}


@dataclass
class CosineObservation:
    """The betas that came back for each T (only those of the right form)."""

    betas: dict[int, Array] = field(default_factory=dict)
    lengths: dict[int, tuple[int, ...]] = field(default_factory=dict)


def judge_cosine(bench: Bench) -> Judgement:
    seen = CosineObservation()
    answers = {T: asked(lambda T=T: bench.ask("schedule_tables", {  # type: ignore[misc]
        "T": T, "beta_1": 1e-4, "beta_T": 0.02, "mode": "cosine"})) for T in LENGTHS}
    for T, answer in answers.items():
        if isinstance(answer, ProbeFailure):
            continue
        betas = answer.arrays["betas"].astype(float)
        seen.lengths[T] = betas.shape
        if betas.shape == (T,):
            seen.betas[T] = betas
    clips = bench.policy.cosine_clips
    judges = {"form": _form, "table": lambda a: _table(a, seen, clips), "ends": lambda a: _ends(a, seen, clips),
              "alpha_bar": _alpha_bar}
    checks = [judged(name, POINTS[name], lambda judge=judge: judge({T: answered(a) for T, a in answers.items()}))
              for name, judge in judges.items()]
    return Judgement(checks, [seen])


def _form(answers: dict[int, Answer]) -> Finding | None:
    for T, answer in answers.items():
        checked = f"the betas of BaseScheduler(num_train_timesteps={T}, mode='cosine')"
        betas = answer.arrays["betas"]
        if betas.shape != (T,):
            return Finding(checked, f"shape ({T},)", f"shape {betas.shape}", "BaseScheduler", EQUATION)
        if "float" not in answer.data["dtypes"]["betas"]:
            return Finding(checked, "a floating-point table", answer.data["dtypes"]["betas"], "BaseScheduler", EQUATION)
        bad = np.flatnonzero(~((betas > 0) & (betas <= 1)))  # also catches NaN
        if len(bad):
            return Finding(checked, "numbers in (0, 1]", f"{betas[bad[0]]:.5g} at t = {bad[0]}", "BaseScheduler", EQUATION)
    return None


def _interior(T: int) -> slice:
    """The first beta shows the normalisation, the last two the clip; what lies between is the table."""
    return slice(1, T - 2)


def _compare(answers: dict[int, Answer], clips: tuple[float, ...], part, checked: str) -> Finding | None:  # type: ignore[no-untyped-def]
    for T, answer in answers.items():
        got = answer.arrays["betas"].astype(float)
        if got.shape != (T,):
            return Finding(checked, f"shape ({T},)", f"shape {got.shape}", f"T = {T}", EQUATION)
        got = np.nan_to_num(got, nan=np.inf, posinf=np.inf)
        wrong = []
        for clip in clips:
            right = Schedule.cosine(T, clip).betas
            # Small betas are judged relative to their size: an absolute tolerance would not see the first hundred.
            wrong.append(off(got[part(T)] / right[part(T)], np.ones_like(right[part(T)]), 5e-3))
        if all(wrong):
            ratio = str(wrong[0]).replace("is expected", "is expected (ratio to the right beta)")
            return Finding(checked, "betas within 0.5% of the table", ratio, f"T = {T}", EQUATION)
    return None


def _table(answers: dict[int, Answer], seen: CosineObservation, clips: tuple[float, ...]) -> Finding | None:
    return _compare(answers, clips, _interior, f"the cosine betas between the ends, T = {LENGTHS}")


def _ends(answers: dict[int, Answer], seen: CosineObservation, clips: tuple[float, ...]) -> Finding | None:
    checked = f"the first beta and the last two (clipped at {' or '.join(map(str, clips))}), T = {LENGTHS}"
    return _compare(answers, clips, lambda T: np.array([0, T - 2, T - 1]), checked)


def _alpha_bar(answers: dict[int, Answer]) -> Finding | None:
    """alpha-bar falls, never to NaN, and is the product of the alphas of the very betas."""
    for T, answer in answers.items():
        checked = f"alphas_cumprod of the cosine schedule, T = {T}"
        betas, ab = (answer.arrays[name].astype(float) for name in ("betas", "alphas_cumprod"))
        if ab.shape != (T,) or not np.isfinite(ab).all():
            return Finding(checked, f"{T} finite numbers", f"shape {ab.shape}, {int((~np.isfinite(ab)).sum())} not finite",
                           "BaseScheduler", EQUATION)
        if not (np.diff(ab) < 0).all() or not 0 <= ab[-1] < 0.01 or not 0.9 < ab[0] < 1:
            return Finding(checked, "a strictly falling table from nearly 1 to nearly 0",
                           f"{ab[0]:.4f} … {ab[-1]:.4f}, {int((np.diff(ab) >= 0).sum())} steps that do not fall",
                           "BaseScheduler", EQUATION)
        if betas.shape == ab.shape:
            wrong = off(ab, np.cumprod(1 - betas), 1e-3)
            if wrong:
                return Finding(checked, "the cumulative product of 1 − betas", wrong, "BaseScheduler", EQUATION)
    return None
