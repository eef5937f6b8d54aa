"""Judges SimpleNet by what a noise-estimating network must be able to do, whatever its architecture."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from grader.checks.base import Array, Arrays, Bench, Finding, Judgement, judged, take
from grader.records import Verdict
from grader.sandbox import Answer, ProbeFailure

CONFIGS = [([128, 128, 128], 1000), ([64], 1000), ([32, 48], 50), ([16, 24, 32, 24, 16], 200)]
DEPENDENCE = 1e-9  # of the largest output, in float64: rounding stays below 1e-13
DEPENDENCE_FLOAT32 = 2e-5  # where a network insists on float32: rounding stays below 2e-6
ROLES = "ε_θ(x_t, t): (B, 2), (B,) → (B, 2)   (DDPM Sec. 3.2)"


@dataclass
class NetworkObservation:
    """Symptoms by name: wrong_shape, not_finite, ignores_t, ignores_x, affine, no_gradient, no_parameters,
    does_not_learn, activation_at_the_end (all outputs positive)."""

    symptoms: set[str] = field(default_factory=set)
    remarks: list[str] = field(default_factory=list)


def judge_simplenet(bench: Bench) -> Judgement:
    seen = NetworkObservation()
    judges = {"shape": (1.0, _shape), "time": (1.0, _time), "nonlinear": (0.5, _nonlinear),
              "gradient": (0.5, _gradient), "learns": (1.0, _learns)}
    checks = [judged(name, points, lambda judge=judge: judge(bench, seen)) for name, (points, judge) in judges.items()]
    return Judgement(checks, [seen], seen.remarks)


def _outputs(bench: Bench, hids: list[int], T: int, calls: list[tuple[Array, Array]], double: bool) -> Answer:
    arrays: Arrays = {}
    for i, (x, t) in enumerate(calls):
        arrays[f"x.{i}"] = x.astype(np.float64 if double else np.float32)
        arrays[f"t.{i}"] = t.astype(np.int64)
    params = {"dim_in": 2, "dim_out": 2, "dim_hids": hids, "T": T, "calls": len(calls), "seed": bench.seed(),
              "double": double}
    return bench.ask("simplenet_outputs", params, arrays)


def _shape(bench: Bench, seen: NetworkObservation) -> Finding | None:
    """Several widths and depths; batch of one; t per sample, one for all, and every t of the schedule."""
    for hids, T in CONFIGS:
        every = np.arange(T)
        calls = [(bench.normal(7, 2), bench.rng.integers(0, T, 7)), (bench.normal(1, 2), bench.rng.integers(0, T, 1)),
                 (bench.normal(9, 2), bench.rng.integers(0, T, 1)), (bench.normal(T, 2), every)]
        for x, t in calls:
            try:
                finding = _malformed(bench, hids, T, x, t, seen)
            except ProbeFailure as failure:
                if len(t) == len(x) or failure.verdict is not Verdict.CRASHED:
                    raise
                # An embedding that is concatenated needs one t per sample, which is all that the lab's loops give.
                seen.remarks[:] = ["SimpleNet does not accept one t for the whole batch, only one per sample"]
            else:
                if finding:
                    return finding
    return None


def _malformed(bench: Bench, hids: list[int], T: int, x: Array, t: Array, seen: NetworkObservation) -> Finding | None:
    checked = f"SimpleNet(2, 2, {hids}, {T})(x, t) with x of shape {x.shape} and t of shape {t.shape}"
    try:
        answer = _outputs(bench, hids, T, [(x, t)], double=False)
    except ProbeFailure as failure:
        raise ProbeFailure(failure.verdict, f"{checked}: {failure.message}", failure.where) from failure
    if not answer.data["parameters"]:
        seen.symptoms.add("no_parameters")
        return Finding(checked, "a network with parameters to learn", "it has none", "SimpleNet.__init__", ROLES)
    y, finding = take(answer, "y.0", (len(x), 2), checked)
    if y is None and finding is not None:
        seen.symptoms.add("not_finite" if "finite" in finding.expected else "wrong_shape")
    return finding


def _precise(bench: Bench, T: int, calls: list[tuple[Array, Array]]) -> tuple[list[Array], float]:
    """Outputs of one network in float64, or float32 where its author fixed that; with the fitting threshold."""
    try:
        answer, threshold = _outputs(bench, [64, 64, 64], T, calls, double=True), DEPENDENCE
    except ProbeFailure:
        answer, threshold = _outputs(bench, [64, 64, 64], T, calls, double=False), DEPENDENCE_FLOAT32
    return [answer.arrays[f"y.{i}"].astype(float) for i in range(len(calls))], threshold


def _time(bench: Bench, seen: NetworkObservation) -> Finding | None:
    T = 1000
    x = bench.normal(64, 2)
    ts = [0, 1, 10, 250, 500, 998, 999]
    ys, threshold = _precise(bench, T, [(x, np.full(64, t)) for t in ts])
    if all((y >= 0).all() for y in ys) and any((y > 0).any() for y in ys):
        seen.symptoms.add("activation_at_the_end")
    scale = max(float(np.abs(y).max()) for y in ys) or 1.0
    change = max(float(np.abs(y - ys[0]).max()) for y in ys[1:]) / scale
    if np.isfinite(change) and change > threshold:
        return None
    seen.symptoms.add("ignores_t")
    return Finding("SimpleNet at the same x and different t", "outputs that depend on t",
                   f"the same output at t = {', '.join(map(str, ts))} (largest relative change {change:.1e})",
                   "SimpleNet.forward", ROLES)


def _nonlinear(bench: Bench, seen: NetworkObservation) -> Finding | None:
    """An affine map has f(x + d) + f(x - d) = 2 f(x); long d cross the kinks of any activation."""
    x, d, t = bench.normal(64, 2), 6 * bench.normal(64, 2), bench.rng.integers(0, 1000, 64)
    (plus, minus, middle), threshold = _precise(bench, 1000, [(x + d, t), (x - d, t), (x, t)])
    scale = max(float(np.abs(plus).max()), float(np.abs(minus).max())) or 1.0
    moved = float(np.abs(plus - minus).max()) / scale
    bend = float(np.abs(plus + minus - 2 * middle).max()) / scale
    if moved <= threshold:
        seen.symptoms.add("ignores_x")
    if np.isfinite(bend) and bend > threshold:
        return None
    seen.symptoms.add("affine")
    return Finding("SimpleNet as a function of x at fixed t", "a non-linear function",
                   f"an affine one: f(x + d) + f(x − d) − 2 f(x) is {bend:.1e} of the largest output",
                   "SimpleNet.forward", ROLES)


def _gradient(bench: Bench, seen: NetworkObservation) -> Finding | None:
    """Every parameter gets some gradient from a batch that visits many t."""
    arrays: Arrays = {"x": 2 * bench.normal(512, 2), "t": bench.rng.integers(0, 1000, 512).astype(np.int64),
                      "projection": bench.normal(512, 2)}
    params = {"dim_in": 2, "dim_out": 2, "dim_hids": [64, 64, 64], "T": 1000, "seed": bench.seed()}
    largest = bench.ask("simplenet_gradient", params, arrays).data["largest"]
    checked = "the gradient of SimpleNet's parameters"
    if not largest:
        return Finding(checked, "parameters to learn", "the network has none", "SimpleNet.__init__", ROLES)
    dead = [name for name, size in largest.items() if not size > 0]
    if not dead:
        return None
    seen.symptoms.add("no_gradient")
    return Finding(checked, "a gradient at every parameter", f"none at {', '.join(sorted(dead)[:6])}"
                   + (f" and {len(dead) - 6} more" if len(dead) > 6 else ""), "SimpleNet.forward", ROLES)


def _learns(bench: Bench, seen: NetworkObservation) -> Finding | None:
    """A target that needs a bend in x and a dependence on t; measured against the variance of the target."""
    n, T = 256, 1000
    x, t = bench.normal(n, 2), bench.rng.choice([0, T - 1], n).astype(np.int64)
    y = (np.where(t == 0, 1.0, -1.0)[:, None] * np.abs(x)).astype(np.float32)
    params = {"dim_in": 2, "dim_out": 2, "dim_hids": [64, 64, 64], "T": T, "seed": bench.seed(), "lr": 3e-3,
              "steps": 200}
    losses = bench.ask("simplenet_learn", params, {"x": x, "t": t, "y": y}).arrays["losses"]
    share = float(np.min(losses[-20:]) / y.var())
    if np.isfinite(share) and share < 0.35:
        return None
    seen.symptoms.add("does_not_learn")
    return Finding("SimpleNet fitted to y = ±|x|, the sign set by t, in 200 steps of Adam",
                   "an error below 35% of the target's variance", f"{100 * share:.0f}% of it", "SimpleNet", ROLES)
