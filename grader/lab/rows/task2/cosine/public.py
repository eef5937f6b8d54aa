"""Public check of the cosine schedule in image_diffusion_todo/scheduler.py."""

from __future__ import annotations

import importlib

from grader.lab.edition.compare import BETA_1, BETA_T, T, Wrong, check_close, check_tensor, golden

EQUATION = "beta_t = min(1 - alpha-bar_t / alpha-bar_{t-1}, 0.999)    IDDPM Eq. 17 and Sec. 3.2"


def check() -> None:
    scheduler = importlib.import_module("scheduler")
    where = f"BaseScheduler(num_train_timesteps={T}, mode='cosine') in scheduler.py"
    betas = scheduler.BaseScheduler(T, BETA_1, BETA_T, mode="cosine").betas
    hint = "t runs over T + 1 values, 0 to T; each beta lies between two neighbours; the last is clipped"
    check_close(betas, golden("cosine_betas"), "the table of betas", where, hint)
    long = scheduler.BaseScheduler(1000, 1e-4, 0.02, mode="cosine").betas
    where = "BaseScheduler(num_train_timesteps=1000, mode='cosine') in scheduler.py"
    check_tensor(long, (1000,), "the table of betas", where)
    if long.min() <= 0 or long.max() > 0.9991:
        got, hint = f"{long.min():.3g} to {long.max():.5g}", "the last beta would be 1 without a limit"
        raise Wrong("the range of the betas", "above 0, at most 0.999", got, where, hint)
