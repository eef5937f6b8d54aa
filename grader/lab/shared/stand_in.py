"""The judge's side of the stand-in network that probes put in the place of a trained one (probes/stand_ins.py)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from grader.judging.bench import Bench
from grader.judging.comparison import Array, Arrays
from grader.records import Verdict
from grader.sandbox import ProbeFailure


def draw_network(bench: Bench, features: int) -> Arrays:
    """Arbitrary coefficients for points (2 features) or images (one a channel), as a request carries them."""
    weight, sign = bench.uniform(0.3, 1.0, features, features), np.sign(bench.normal(features, features))
    return {
        "weight": weight * sign,
        "slope": bench.uniform(0.1, 0.3, features),
        "bias": bench.uniform(0.2, 0.5, features),
    }


def network_output(coefficients: Arrays, x: NDArray[np.floating], t: float | Array) -> Array:
    """What the network answers, in float64: W x + slope t + bias over axis 1. x: (B, D, ...); t: one, or (B,).

    Raises ProbeFailure for an x that it cannot have been asked about.
    """
    features = len(coefficients["bias"])
    if x.ndim < 2 or x.shape[1] != features or np.size(t) not in (1, len(x)):
        asked_with = f"x of shape {x.shape} and {np.size(t)} values of t"
        raise ProbeFailure(Verdict.FAILED, f"the network takes {features} features, and was shown {asked_with}")
    weight, slope, bias = (coefficients[name].astype(float) for name in ("weight", "slope", "bias"))
    drift = np.outer(np.broadcast_to(t, len(x)), slope) + bias  # (B, D)
    mixed = np.einsum("ij,bj...->bi...", weight, x.astype(float))
    return np.asarray(mixed + drift.reshape(*drift.shape, *[1] * (x.ndim - 2)))
