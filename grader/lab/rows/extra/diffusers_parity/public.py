"""Public check of the companion exercise diffusers_schedulers in image_diffusion_todo/companions.py."""

from __future__ import annotations

import importlib
from typing import Any

from grader.lab.edition.compare import T, Wrong, check_close, golden
from grader.lab.edition.steps import IMAGES, STEP_HINTS, check_draws, filled
from grader.lab.edition.ways import Way
from grader.lab.edition.yours import new_scheduler

EQUATION = "DDPM: Eq. 11 and the posterior variance; DDIM: Eq. 12 with sigma = 0, T-1, T-1-k, ..."
HINTS = STEP_HINTS | {"mean": "are the betas the lab's? is the predicted x_0 clipped?", "spread": "see variance_type"}
GRID = [9, 7, 5, 3, 1]  # of T = 10


def check() -> None:
    ddpm, ddim = importlib.import_module("companions").diffusers_schedulers(new_scheduler())
    check_ddpm(ddpm)
    check_ddim(ddim)


def check_ddpm(ddpm: Any) -> None:
    x_t, out = filled(golden("step_xt"), IMAGES), filled(golden("step_out"), IMAGES)
    for row, t in enumerate(golden("step_t").tolist()):
        where = f"the first of diffusers_schedulers in companions.py, a step at t = {t}"
        mean, spread = golden("step_mean_noise")[row], golden("step_spread")[row].item()
        check_draws(ddpm.step(out, t, x_t).prev_sample, IMAGES, mean, spread, where, HINTS)


def check_ddim(ddim: Any) -> None:
    way = Way(reach=3.0)  # beyond [-1, 1], where clipping shows
    ddim.set_timesteps(len(GRID))
    where = f"the second of diffusers_schedulers in companions.py, set_timesteps({len(GRID)}), T = {T}"
    grid = [int(t) for t in ddim.timesteps]
    if grid != GRID:
        raise Wrong("its timesteps", f"{GRID}", f"{grid}", where, "which timestep_spacing begins at T-1?")
    x = way.at(T - 1)
    for t in GRID:
        check_close(x, way.at(t), f"x at t = {t}", where, "are the betas the lab's? is anything clipped?", atol=1e-3)
        x = ddim.step(way.eps, t, x).prev_sample
    check_close(x, way.x_0, "x_0, for a network that knows the noise", where, "see set_alpha_to_one", atol=1e-3)
