"""The strip of q(x_t) in the report: the Swiss roll noised by the submitted q_sample at t = 0, 50, ..., 450."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from grader.sandbox import Answer

STRIP = "q_sample.png"
STEPS = range(0, 500, 50)
POINTS = 800
SCHEDULE = {"T": 1000, "beta_1": 1e-4, "beta_T": 0.02, "mode": "linear"}


class _Asks(Protocol):
    def call(self, half: str, probe: str, params: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Answer: ...


def swiss_roll(n: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """n points on a spiral of one and a half turns in the plane, (n, 2), of unit standard deviation."""
    angle = 1.5 * np.pi * (1 + 2 * rng.random(n))
    points = np.stack([angle * np.cos(angle), angle * np.sin(angle)], axis=1) + 0.1 * rng.standard_normal((n, 2))
    return np.asarray((points - points.mean(0)) / points.std(0), dtype=np.float32)


def ask_for_strip(sandbox: _Asks, seed: int) -> dict[int, NDArray[Any]]:
    """{t: points (N, 2)} from the student's q_sample, with its own noise. Raises ProbeFailure."""
    x0 = swiss_roll(POINTS, np.random.default_rng(seed))
    network = {"weight": np.eye(2, dtype=np.float32), "slope": np.zeros(2, np.float32), "bias": np.zeros(2, np.float32)}
    return {t: sandbox.call("task1", "q_sample", SCHEDULE | {"seed": (seed + t) % 2**31},
                            network | {"x0": x0, "t": np.full(POINTS, t)}).arrays["xt"] for t in STEPS}
