"""Judges diffusers' two schedulers, as a student has set them up to be those of the lab."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from grader.judging.bench import Bench, Judgement, Observation
from grader.judging.border import Answer, Expects, Line, Said, Tensor
from grader.judging.comparison import ATOL, Arrays, off, take
from grader.judging.fits import fit
from grader.lab import reference
from grader.lab.reference import Schedule
from grader.lab.rows.extra.fast_sample.judge import JUMP
from grader.lab.settings import SHORT
from grader.lab.shared.companions import judge_companion
from grader.records import Check, Finding, Verdict

T = 12  # timesteps: many divisors
COUNTS = (12, 4, 3)
TS = (0, 1, 6, 11)
SHAPE = (32, 3, 8, 8)
KINDS = ["DDPMScheduler", "DDIMScheduler"]
DDPM = "DDPM Eq. 11 with the variance β̃_t, none at t = 0"
ABSENT = "not judged: diffusers is not installed where submissions run (pip install diffusers)"
wrong = partial(Finding, where="diffusers_schedulers")


Settings = Annotated[dict[Line, bool | int | float | Line], Field(max_length=200)]
Grid = Annotated[list[int], Field(max_length=10_000)]


class ParitySaid(Said):
    """Whether the library is there; per table of betas, as text, the settings of both schedulers and the second's grids
    by their number of timesteps."""

    installed: bool
    configs: dict[Line, Annotated[list[Settings], Field(min_length=2, max_length=2)]] = Field(default_factory=dict)
    grids: dict[Line, dict[Line, Grid]] = Field(default_factory=dict)


@dataclass
class ParityObservation(Observation):
    """The settings of the DDPM and the DDIM scheduler, for the lab's table of betas."""

    settings: list[dict[str, Any]] = field(default_factory=lambda: [{}, {}])


def judge(bench: Bench) -> Judgement:
    """Checks pair, ddpm_step, ddim_grid, ddim_jump, last_jump, any_schedule."""
    tables = (Schedule.linear(T, SHORT["beta_1"], SHORT["beta_T"]), Schedule(bench.rng.uniform(0.02, 0.4, T)))
    arrays: Arrays = {"x": bench.normal(*SHAPE), "out": bench.normal(*SHAPE)}
    arrays |= {f"betas.{i}": s.betas.astype(np.float32) for i, s in enumerate(tables)}
    params = SHORT | {"T": T, "tables": len(tables), "counts": list(COUNTS), "ts": list(TS), "seed": bench.seed()}
    seen, installed = ParityObservation(), [True]
    both = range(len(tables))
    steps = [f"ddpm.{i}.{t}.{name}" for i in both for t in TS for name in ("of_x", "of_zeros")]
    jumps = [f"ddim.{i}.{count}.{place}" for i in both for count in COUNTS for place in range(4 * T)]
    expects = Expects.alike([*steps, *jumps, "draw"], Tensor(), ParitySaid)

    def ask() -> Answer:
        # The library takes seconds to import, more where the machine is busy.
        answer = bench.ask("diffusers_schedulers", params, arrays, 3 * bench.policy.limits.probe_s, expects=expects)
        installed[0] = answer.said.installed
        seen.settings = answer.said.configs.get("0", seen.settings)
        return answer

    checks = {
        "pair": lambda answer: _pair(seen),
        "ddpm_step": lambda answer: _ddpm(answer, arrays, tables, 0),
        "ddim_grid": lambda answer: _grid(answer),
        "ddim_jump": lambda answer: _ddim(answer, arrays, tables, 0, last=False),
        "last_jump": lambda answer: _ddim(answer, arrays, tables, 0, last=True),
        "any_schedule": lambda answer: _any_schedule(answer, arrays, tables),
    }
    judgement = judge_companion(ask, seen, checks)
    if installed[0]:
        return judgement
    return Judgement([Check(name, Verdict.SKIPPED, 0.0, 0.0, ABSENT) for name in checks], remarks=[ABSENT])


def _pair(seen: ParityObservation) -> Finding | None:
    kinds, counts = ([str(about.get(name)) for about in seen.settings] for name in ("class", "num_train_timesteps"))
    if kinds != KINDS:
        checked = "what diffusers_schedulers returns"
        return wrong(checked, "a DDPMScheduler and a DDIMScheduler", " and ".join(kinds))
    if counts != [str(T)] * 2:
        return wrong("the schedulers' number of timesteps", f"T = {T} for both", " and ".join(counts))
    return None


def _ddpm(answer: Answer, arrays: Arrays, tables: tuple[Schedule, ...], table: int) -> Finding | None:
    right = reference.step_tables(tables[table], "noise")
    x, out = arrays["x"].astype(float), arrays["out"].astype(float)
    for t in TS:
        checked = f"a step of the DDPMScheduler at t = {t} of T = {T}"
        of_x, malformed = take(answer, f"ddpm.{table}.{t}.of_x", SHAPE, checked)
        of_zeros, also = take(answer, f"ddpm.{table}.{t}.of_zeros", SHAPE, checked)
        if of_x is None or of_zeros is None:
            return malformed or also
        (sigma,) = fit(of_zeros, answer.arrays["draw"]).coefficients
        differs = off(of_x - of_zeros, right.a[t] * x + right.b[t] * out, 5 * ATOL)
        if differs:
            return wrong(checked, "the mean of the lab's step", differs, equation=DDPM)
        if abs(sigma - right.sigma[t]) > 1e-3:
            due = f"noise of standard deviation {right.sigma[t]:.4f}"
            return wrong(checked, due, f"{sigma:.4f}", equation=DDPM)
    return None


def _grids(answer: Answer, table: int) -> dict[int, list[int]]:
    """The timesteps of the DDIM scheduler for each number of them; none where the pair is no pair."""
    found = answer.said.grids.get(str(table), {})
    return {count: found.get(str(count), []) for count in COUNTS}


def _grid(answer: Answer) -> Finding | None:
    for count, grid in _grids(answer, 0).items():
        due = list(range(T - 1, -1, -(T // count)))
        if grid != due:
            checked = f"the timesteps of the DDIMScheduler after set_timesteps({count}), T = {T}"
            shown, expected = (", ".join(map(str, ts)) for ts in (grid[: T + 4], due))
            return wrong(checked, expected, shown or "none", equation="T−1, T−1−k, T−1−2k, …, as fast_sample has it")
    return None


def _ddim(answer: Answer, arrays: Arrays, tables: tuple[Schedule, ...], table: int, last: bool) -> Finding | None:
    """The jumps between the timesteps that the scheduler has, whichever these are; `last`: those to x_0."""
    x, out = arrays["x"].astype(float), arrays["out"].astype(float)
    grids = _grids(answer, table)
    if not any(grids.values()):
        return wrong("the jumps of the DDIMScheduler", "a jump", "none", equation=JUMP)
    for count, place, t in [(count, *pair) for count, grid in grids.items() for pair in enumerate(grid)]:
        goal = t - T // count  # the library jumps by T // count, and past t = 0 to x_0, wherever its grid lies
        if not 0 <= t < T or (goal < 0) is not last:
            continue
        checked = f"the jump of the DDIMScheduler from t = {t} to {'x_0' if last else f't = {goal}'}, T = {T}"
        got, malformed = take(answer, f"ddim.{table}.{count}.{place}", SHAPE, checked)
        if got is None:
            return malformed
        p, q = reference.ddim_tables(tables[table], t, None if last else goal)
        differs = off(got, p * x + q * out, 5 * ATOL)
        if differs:
            return wrong(checked, "the jump of fast_sample", differs, equation=JUMP)
    return None


def _any_schedule(answer: Answer, arrays: Arrays, tables: tuple[Schedule, ...]) -> Finding | None:
    found = (
        _ddpm(answer, arrays, tables, 1)
        or _ddim(answer, arrays, tables, 1, last=False)
        or _ddim(answer, arrays, tables, 1, last=True)
    )
    return replace(found, checked=f"{found.checked}, for another table of betas") if found else None
