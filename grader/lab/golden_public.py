"""The public golden file of the student edition, from the float64 reference formulas; see grader.lab.goldens.

Everything in it may be seen by students: inputs, noise and outputs for one small schedule (T = 10, betas 0.01
to 0.3), where common mistakes move a number by 5e-4 or more and correct rewrites agree to 3e-6.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from grader.lab import reference
from grader.lab.goldens import FOLDER, Arrays, GoldenFile
from grader.lab.reference import Array, Schedule

T, BETA_1, BETA_T = 10, 0.01, 0.3
SEED = 412_551_014
STEPS = (0, 1, 5, 9)  # timesteps of the reverse steps: both ends, and where beta and beta-tilde differ most


def arrays() -> Arrays:
    """All arrays by name. Inputs are float32, as students' code receives them, outputs float64."""
    rng = np.random.default_rng(SEED)
    schedule = Schedule.linear(T, BETA_1, BETA_T)
    return {
        "schedule": np.array([T, BETA_1, BETA_T]),
        **_forward(rng, schedule, "points", (8, 2)),
        **_forward(rng, schedule, "images", (8, 3, 4, 4)),
        **_reverse(rng, schedule),
        "forward_of_x0": np.sqrt(schedule.ab),
        "forward_of_noise": np.sqrt(1.0 - schedule.ab),
        **dict(zip(("mean_of_xt", "mean_of_x0"), reference.posterior_mean_tables(schedule), strict=True)),
        "cosine_betas": Schedule.cosine(T).betas,
    }


def _forward(rng: np.random.Generator, schedule: Schedule, name: str, shape: tuple[int, ...]) -> Arrays:
    """x_t of a batch in which every sample has its own t, the ends among them."""
    x0 = rng.uniform(-1.0, 1.0, shape).astype(np.float32)
    noise = rng.standard_normal(shape).astype(np.float32)
    t = np.array([4, 0, 9, 1, 7, 2, 8, 5])
    xt = reference.q_sample(schedule, x0.astype(np.float64), t, noise.astype(np.float64))
    return {f"{name}_x0": x0, f"{name}_noise": noise, f"{name}_t": t, f"{name}_xt": xt}


def _reverse(rng: np.random.Generator, schedule: Schedule) -> Arrays:
    """Mean (steps, 3) and spread (steps,) of a reverse step from a pixel x_t (3,) and the network's output.

    The output lies in [-1, 1]: as a predicted x_0 it is the same in editions that clamp it to that range.
    """
    steps = np.array(STEPS)
    xt = rng.uniform(-0.5, 0.5, 3).astype(np.float32)
    out = rng.uniform(-0.5, 0.5, 3).astype(np.float32)
    found: Arrays = {"step_t": steps, "step_xt": xt, "step_out": out}
    for predictor in ("noise", "x0", "mean"):
        tables = reference.step_tables(schedule, predictor)
        mean: Array = np.outer(tables.a[steps], xt) + np.outer(tables.b[steps], out)
        found[f"step_mean_{predictor}"] = mean
        found["step_spread"] = tables.sigma[steps]
    return found


def record() -> dict[str, Any]:
    """What the JSON beside the arrays says."""
    return {
        "formulas": "float64 numpy, apart from the solutions; tested against diffusers' DDPMScheduler",
        "dtype": "inputs float32, outputs float64",
        "schedule": {"mode": "linear", "num_train_timesteps": T, "beta_1": BETA_1, "beta_T": BETA_T},
        "tolerances": {
            "atol": 1e-4,
            "why": "correct rewrites in float32 agree to 3e-6 with this schedule; common mistakes move a "
            "coefficient by 5e-4 or more",
            "standard_errors": 5,
            "why_standard_errors": "for means and spreads of large random batches; a right answer is farther "
            "off once in a million times, and the check's seed is fixed",
        },
    }


GOLDEN = GoldenFile(FOLDER / "public_golden.npz", arrays, record)
