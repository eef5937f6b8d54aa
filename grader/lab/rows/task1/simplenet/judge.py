"""Judges SimpleNet by what a noise-estimating network must be able to do, whatever its architecture."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from functools import partial
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from grader.judging.bench import Bench, Judgement, Observation
from grader.judging.border import NUMBERS, Answer, Count, Expects, Line, Said, Tensor, Unfit
from grader.judging.comparison import Array, Arrays, take
from grader.judging.findings import judged
from grader.records import Finding, Verdict
from grader.sandbox import ProbeFailure, Questions

LONG, WIDTHS = 1000, [64, 64, 64]  # T and hidden widths of the network that is looked at closely
TRIES = 8  # fresh networks: a ReLU at the end, which is judged for itself, leaves some of them dead
# Of the target's variance: right networks leave at most 0.25, a tanh at the end 0.5, no t or no bend 0.9.
LEARNT = 0.35
CONFIGS = [([128, 128, 128], 1000), ([64], 1000), ([32, 48], 50), ([16, 24, 32, 24, 16], 200)]
HUGE = 1e30  # outputs far from the origin may be large; beyond this nothing can be computed with them
ANY = Tensor(finite=False, largest=HUGE)  # form and finiteness have their own words
DEPENDENCE = 1e-9  # of the largest output, in float64: rounding stays below 1e-13
DEPENDENCE_FLOAT32 = 2e-5  # where a network insists on float32: rounding stays below 2e-6
WEIGHTS = Expects(families={"weight.": Tensor(dtypes=NUMBERS, finite=False, largest=np.inf)})
ROLES = "ε_θ(x_t, t): (B, 2), (B,) → (B, 2)   (DDPM Sec. 3.2)"

Calls = list[tuple[NDArray[Any], NDArray[Any]]]  # x (B, 2) and t (B,) or (1,)


class OutputsSaid(Said):
    """How many parameters the network has."""

    parameters: Annotated[int, Field(ge=0, le=10**12)]


class GradientSaid(Said):
    """The largest absolute gradient of each parameter by name (0: none), and how many tensors learn beside them."""

    largest: Annotated[dict[Line, float], Field(max_length=2000)]
    unregistered: Count


class Symptom(Enum):
    """What a network does that a noise estimate does not."""

    RETURNS_INPUT = auto()
    NO_PARAMETERS = auto()  # that the optimiser sees
    NOT_FINITE = auto()
    WRONG_SHAPE = auto()
    IGNORES_T = auto()
    IGNORES_X = auto()
    AFFINE = auto()  # in x
    NO_GRADIENT = auto()  # at some parameters
    ACTIVATION_AT_THE_END = auto()  # outputs of one sign, or within ±1
    DOES_NOT_LEARN = auto()


# No output of the right form to learn from: our arithmetic may crash on it.
FORMLESS = {Symptom.RETURNS_INPUT, Symptom.NO_PARAMETERS, Symptom.WRONG_SHAPE}


@dataclass
class NetworkObservation(Observation):
    """What the checks came across."""

    symptoms: set[Symptom] = field(default_factory=set)
    remarks: list[str] = field(default_factory=list)


def judge(bench: Bench) -> Judgement:
    """Checks shape, time, nonlinear, gradient, learns."""
    seen = NetworkObservation()
    judges = {
        "shape": (1.0, _shape),
        "time": (1.0, _time),
        "nonlinear": (0.5, _nonlinear),
        "gradient": (0.5, _gradient),
        "learns": (1.0, _learns),
    }
    checks = [judged(name, points, partial(check, bench, seen)) for name, (points, check) in judges.items()]
    return Judgement(checks, [seen], seen.remarks)


def _built(bench: Bench, hids: list[int], T: int) -> dict[str, Any]:
    """What a network is built with."""
    return {"dim_in": 2, "dim_out": 2, "dim_hids": hids, "T": T, "seed": bench.seed()}


def _outputs(bench: Bench, hids: list[int], T: int, calls: Calls, output: Tensor, double: bool = False) -> Answer:
    arrays: Arrays = {}
    for i, (x, t) in enumerate(calls):
        arrays[f"x.{i}"] = x.astype(np.float64 if double else np.float32)
        arrays[f"t.{i}"] = t.astype(np.int64)
    params = _built(bench, hids, T) | {"calls": len(calls), "double": double}
    expects = Expects.alike((f"y.{i}" for i in range(len(calls))), output, OutputsSaid)
    return bench.ask("simplenet_outputs", params, arrays, expects=expects)


def _shape(bench: Bench, seen: NetworkObservation) -> Finding | None:
    """Several widths and depths; batch of one; t per sample, one for all, and every t of the schedule."""
    for hids, T in CONFIGS:
        every = np.arange(T)
        calls = [
            (bench.normal(7, 2), bench.rng.integers(0, T, 7)),
            (bench.normal(1, 2), bench.rng.integers(0, T, 1)),
            (bench.normal(9, 2), bench.rng.integers(0, T, 1)),
            (bench.normal(T, 2), every),
        ]
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


def _malformed(
    bench: Bench, hids: list[int], T: int, x: NDArray[Any], t: NDArray[Any], seen: NetworkObservation
) -> Finding | None:
    checked = f"SimpleNet(2, 2, {hids}, {T})(x, t) with x of shape {x.shape} and t of shape {t.shape}"
    try:
        answer = _outputs(bench, hids, T, [(x, t)], Tensor((len(x), 2), largest=HUGE))
    except ProbeFailure as failure:
        raise ProbeFailure(failure.verdict, f"{checked}: {failure.message}", failure.where) from failure
    shape = (len(x), 2)
    y, finding = take(answer, "y.0", shape, checked)
    if y is not None and np.array_equal(y, x):
        seen.symptoms.add(Symptom.RETURNS_INPUT)
        return Finding(checked, "an estimate of the noise in x", "x itself", "SimpleNet.forward", ROLES)
    if not answer.said.parameters:
        seen.symptoms.add(Symptom.NO_PARAMETERS)
        return Finding(checked, "a network with parameters to learn", "it has none", "SimpleNet.__init__", ROLES)
    if y is None and finding is not None:
        misfit = answer.misfits.get("y.0")
        broken = misfit is not None and misfit.kind is Unfit.NOT_FINITE
        seen.symptoms.add(Symptom.NOT_FINITE if broken else Symptom.WRONG_SHAPE)
    return finding


def _precise(bench: Bench, T: int, calls: Calls) -> tuple[list[Array], float]:
    """Outputs of one network in float64, or float32 where its author fixed that; with the fitting threshold."""
    try:
        answer, threshold = _outputs(bench, WIDTHS, T, calls, ANY, double=True), DEPENDENCE
    except ProbeFailure:
        answer, threshold = _outputs(bench, WIDTHS, T, calls, ANY), DEPENDENCE_FLOAT32
    ys = [answer.arrays[f"y.{i}"].astype(float) for i in range(len(calls))]
    if {y.shape for y in ys} != {ys[0].shape} or not ys[0].size:
        shapes = ", ".join(str(y.shape) for y in ys)
        raise ProbeFailure(Verdict.FAILED, f"for inputs of shape {calls[0][0].shape} came outputs of shapes {shapes}")
    return ys, threshold


def _not_finite(ys: list[Array], checked: str, seen: NetworkObservation) -> Finding | None:
    if all(np.isfinite(y).all() for y in ys):
        return None
    seen.symptoms.add(Symptom.NOT_FINITE)
    return Finding(checked, "finite numbers", "NaN or infinity", "SimpleNet.forward", ROLES)


def _steps(bench: Bench, size: int) -> NDArray[np.int64]:
    """Random t of T = 1000 with both ends, where a logarithm or an exponential breaks."""
    return np.append(bench.rng.integers(0, LONG, size - 2), [0, LONG - 1]).astype(np.int64)


def _time(bench: Bench, seen: NetworkObservation) -> Finding | None:
    checked, ts = "SimpleNet at the same x and different t", [0, 1, 10, 250, 500, 998, 999]
    change = 0.0
    for _ in range(TRIES):
        x = bench.normal(64, 2)
        ys, threshold = _precise(bench, LONG, [(x, np.full(64, t)) for t in ts])
        if broken := _not_finite(ys, checked, seen):
            return broken
        change = _largest([y - ys[0] for y in ys[1:]]) / (_largest(ys) or 1.0)
        if change > threshold:
            return None
    seen.symptoms.add(Symptom.IGNORES_T)
    return Finding(
        checked,
        "outputs that depend on t",
        f"the same output at t = {', '.join(map(str, ts))} (largest relative change {change:.1e})",
        "SimpleNet.forward",
        ROLES,
    )


def _largest(ys: list[Array]) -> float:
    return max(float(np.abs(y).max()) for y in ys)


def _nonlinear(bench: Bench, seen: NetworkObservation) -> Finding | None:
    """An affine map has f(x + d) + f(x - d) = 2 f(x); long d cross the kinks of any activation."""
    checked, bend, moved = "SimpleNet as a function of x at fixed t", 0.0, False
    for _ in range(TRIES):
        # In float64 before the sum: rounded x + d and x - d are not symmetric about x.
        x, d, t = bench.normal(64, 2).astype(float), 6 * bench.normal(64, 2).astype(float), _steps(bench, 64)
        (plus, minus, middle), threshold = _precise(bench, LONG, [(x + d, t), (x - d, t), (x, t)])
        if broken := _not_finite([plus, minus, middle], checked, seen):
            return broken
        scale = _largest([plus, minus]) or 1.0
        moved = moved or _largest([plus - minus]) / scale > threshold
        bend = _largest([plus + minus - 2 * middle]) / scale
        if bend > threshold:
            return None
    seen.symptoms.add(Symptom.AFFINE if moved else Symptom.IGNORES_X)
    return Finding(
        checked,
        "a non-linear function",
        f"an affine one: f(x + d) + f(x − d) − 2 f(x) is {bend:.1e} of the largest output",
        "SimpleNet.forward",
        ROLES,
    )


def _gradient(bench: Bench, seen: NetworkObservation) -> Finding | None:
    """Every parameter gets some gradient from a batch that visits many t."""
    checked = "the gradient of SimpleNet's parameters"
    dead: set[str] | None = None
    for _ in range(TRIES):
        arrays: Arrays = {"x": 2 * bench.normal(512, 2), "t": _steps(bench, 512), "projection": bench.normal(512, 2)}
        params = _built(bench, WIDTHS, LONG)
        said = _unless_malformed(bench, seen, "simplenet_gradient", params, arrays, Expects(said=GradientSaid)).said
        if said.unregistered or not said.largest:
            seen.symptoms.add(Symptom.NO_PARAMETERS)
            got = f"{said.unregistered} tensors that learn are not" if said.largest else "there are none"
            return Finding(checked, "all layers among the module's parameters()", got, "SimpleNet.__init__", ROLES)
        silent = {name for name, size in said.largest.items() if not size > 0}
        dead = silent if dead is None else dead & silent
        if not dead:
            return None
    names = sorted(dead or ())
    seen.symptoms.add(Symptom.NO_GRADIENT)
    return Finding(
        checked,
        "a gradient at every parameter",
        f"none at {', '.join(names[:6])}" + (f" and {len(names) - 6} more" if len(names) > 6 else ""),
        "SimpleNet.forward",
        ROLES,
    )


def _unless_malformed(
    bench: Bench,
    seen: NetworkObservation,
    probe: str,
    params: dict[str, Any],
    arrays: Arrays,
    expects: Expects,
    asks: Questions | None = None,
) -> Answer:
    """Ask; where the output's form was found wrong before, a crash of our arithmetic on it is no crash of theirs."""
    try:
        return bench.ask(probe, params, arrays, asks=asks, expects=expects)
    except ProbeFailure as failure:
        if failure.verdict is Verdict.CRASHED and seen.symptoms & FORMLESS:
            raise ProbeFailure(
                Verdict.FAILED,
                "cannot be judged: the network gives no output of the right form that its parameters can learn from",
            ) from failure
        raise


def _learns(bench: Bench, seen: NetworkObservation) -> Finding | None:
    """A target that needs a bend in x, a dependence on t, and outputs of both signs beyond ±1, as noise has them.

    It is drawn anew and never shown: the network learns by the gradients at its outputs. What it has learnt has to be
    in its tensors, which a fresh process is given together with the points on which it is judged.
    """
    share = np.inf
    for steps in (200, 600, 600):  # small initial weights may be slow to leave a flat start
        share = _share_left(bench, seen, steps)
        if np.isfinite(share) and share < LEARNT:
            return None
    if np.isfinite(share) and _squashed(bench):
        seen.symptoms.add(Symptom.ACTIVATION_AT_THE_END)
    seen.symptoms.add(Symptom.DOES_NOT_LEARN)
    return Finding(
        "SimpleNet fitted to y = ±5(|Rx| − 1), R a rotation, the sign set by t, in 600 steps of Adam, at new x",
        f"an error below {100 * LEARNT:.0f}% of the target's variance",
        f"{100 * share:.0f}% of it",
        "SimpleNet",
        ROLES,
    )


def _share_left(bench: Bench, seen: NetworkObservation, steps: int) -> float:
    """Of a target's variance, what a network leaves at new points after so many steps."""
    target = BentTarget.draw(bench)
    (x, t), (x_new, t_new) = target.points(bench), target.points(bench)
    y, y_new = target(x, t), target(x_new, t_new)

    def gradient(question: dict[str, Any], tensors: Arrays) -> Arrays:
        """Of the mean square (out - y)^2 at the outputs."""
        return {"gradient": ((tensors["out"].astype(float) - y) * (2.0 / y.size)).astype(np.float32)}

    params = _built(bench, WIDTHS, LONG) | {"lr": 3e-3, "steps": steps}
    asks = Questions(gradient, {"out": (2,)}, len(y), steps, {})
    try:
        learnt = _unless_malformed(bench, seen, "simplenet_learn", params, {"x": x, "t": t}, WEIGHTS, asks)
    except ProbeFailure as failure:
        if failure.verdict is Verdict.FAILED and not seen.symptoms & FORMLESS:
            return float("nan")  # an output that is not finite
        raise
    bench.renew()
    expects = Expects({"y": Tensor(y_new.shape, finite=False, largest=HUGE)})
    arrays: Arrays = {"x": x_new, "t": t_new, **learnt.arrays}
    answer = _unless_malformed(bench, seen, "simplenet_learnt", params, arrays, expects)
    got, _ = take(answer, "y", y_new.shape, "SimpleNet after learning")
    return float("nan") if got is None else float(((got - y_new) ** 2).mean() / y_new.var())


@dataclass(frozen=True)
class BentTarget:
    """y_i = ±height_i (|R x|_i - level_i), each with its own sign, the other way round at the other end of t."""

    rotation: Array  # (2, 2)
    height: Array  # (2,)
    level: Array  # (2,)

    @classmethod
    def draw(cls, bench: Bench) -> BentTarget:
        # An eighth of a turn, more or less: then no function of each coordinate alone comes near.
        angle = (bench.rng.integers(0, 4) + bench.rng.uniform(1 / 3, 2 / 3)) * np.pi / 2.0
        rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        height = bench.rng.choice([-1.0, 1.0], 2) * bench.rng.uniform(4.5, 5.5, 2)
        return cls(rotation, height, bench.rng.uniform(0.9, 1.1, 2))

    def points(self, bench: Bench) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """x (256, 2), each at both ends of t, and t (256,)."""
        return np.repeat(bench.uniform(-2, 2, 128, 2), 2, axis=0), np.tile([0, LONG - 1], 128).astype(np.int64)

    def __call__(self, x: NDArray[np.float32], t: NDArray[np.int64]) -> Array:
        sign = np.where(t == 0, 1.0, -1.0)[:, None]
        return np.asarray(sign * self.height * (np.abs(x.astype(float) @ self.rotation.T) - self.level))


def _squashed(bench: Bench) -> bool:
    """Whether the output keeps one sign (ReLU, sigmoid) or ends at ±1 (tanh) however far x goes."""
    far = [_precise(bench, LONG, [(1e4 * bench.normal(64, 2), _steps(bench, 64))])[0][0] for _ in range(TRIES)]
    one_sign = _largest(far) > 0 and all((y >= 0).all() for y in far)
    return one_sign or all(abs(_largest([y]) - 1.0) < 1e-6 for y in far)
