"""Makes the public golden file of the student edition, from the float64 reference formulas.

    python -m grader.lab.golden_public            rebuild it and show how far each array moved
    python -m grader.lab.golden_public --check    show the differences only; exit 1 where there are any

Everything in it may be seen by students: inputs, noise and outputs for one small schedule (T = 10, betas 0.01
to 0.3), where common mistakes move a number by 5e-4 or more and correct rewrites agree to 3e-6.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from grader.lab import reference
from grader.lab.reference import Array, Schedule

FOLDER = Path(__file__).parent / "edition"
ARRAYS = FOLDER / "public_golden.npz"
RECORD = FOLDER / "public_golden.json"

T, BETA_1, BETA_T = 10, 0.01, 0.3
SEED = 412_551_014
STEPS = (0, 1, 5, 9)  # timesteps of the reverse steps: both ends, and where beta and beta-tilde differ most
SAME = 1e-12  # differences of a rebuild that other versions of numpy may cause


def arrays() -> dict[str, Any]:
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


def _forward(rng: np.random.Generator, schedule: Schedule, name: str, shape: tuple[int, ...]) -> dict[str, Any]:
    """x_t of a batch in which every sample has its own t, the ends among them."""
    x0 = rng.uniform(-1.0, 1.0, shape).astype(np.float32)
    noise = rng.standard_normal(shape).astype(np.float32)
    t = np.array([4, 0, 9, 1, 7, 2, 8, 5])
    xt = reference.q_sample(schedule, x0.astype(np.float64), t, noise.astype(np.float64))
    return {f"{name}_x0": x0, f"{name}_noise": noise, f"{name}_t": t, f"{name}_xt": xt}


def _reverse(rng: np.random.Generator, schedule: Schedule) -> dict[str, Any]:
    """Mean (steps, 3) and spread (steps,) of a reverse step from a pixel x_t (3,) and the network's output.

    The output lies in [-1, 1]: as a predicted x_0 it is the same in editions that clamp it to that range.
    """
    steps = np.array(STEPS)
    xt = rng.uniform(-0.5, 0.5, 3).astype(np.float32)
    out = rng.uniform(-0.5, 0.5, 3).astype(np.float32)
    found: dict[str, Any] = {"step_t": steps, "step_xt": xt, "step_out": out}
    for predictor in ("noise", "x0", "mean"):
        tables = reference.step_tables(schedule, predictor)
        mean: Array = np.outer(tables.a[steps], xt) + np.outer(tables.b[steps], out)
        found[f"step_mean_{predictor}"] = mean
        found["step_spread"] = tables.sigma[steps]
    return found


def record() -> dict[str, Any]:
    """What the JSON beside the arrays says."""
    return {
        "maker": "python -m grader.lab.golden_public",
        "formulas": "float64 numpy, apart from the solutions; tested against diffusers' DDPMScheduler",
        "numpy": np.__version__,
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


def differences(new: dict[str, Any]) -> dict[str, float]:
    """Largest absolute difference of each array from the committed file; inf where shape or name is new."""
    old = dict(np.load(ARRAYS, allow_pickle=False)) if ARRAYS.exists() else {}
    found = {}
    for name in sorted(new.keys() | old.keys()):
        if name not in new or name not in old or new[name].shape != old[name].shape:
            found[name] = float("inf")
        else:
            found[name] = float(np.abs(new[name].astype(np.float64) - old[name]).max())
    return found


def main(argv: list[str] | None = None) -> int:
    """Rebuild or check the golden file."""
    parser = argparse.ArgumentParser(
        prog="python -m grader.lab.golden_public",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where a number differs")
    args = parser.parse_args(argv)
    new = arrays()
    moved = differences(new)
    for name, difference in moved.items():
        print(f"{name:18} {new[name].shape if name in new else 'gone'!s:14} largest difference {difference:.3g}")
    if args.check:
        return int(max(moved.values()) > SAME)
    np.savez(ARRAYS, **new)
    RECORD.write_text(json.dumps(record(), indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
