"""Judges what the submitted Task 1 code learns when it is trained much as the notebook trains it.

5,000 steps on points of a distribution that is drawn anew for each grading, with a T and betas of its own. What a
submission says of itself decides nothing; three processes keep apart what would let it invent an answer:
one trains on the points, and hands over its network's tensors;
one holds the trained network alone, and is asked for noise that only the grader knows: half of the points;
one draws points, having seen neither data nor tensors. The grader passes its network's calls on, and sees each link of
the chain; the Chamfer distance of what comes out decides the other half.
The first two are processes of one sandbox, the third is in a sandbox of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grader.judging.bench import Bench, Judgement, Observation
from grader.judging.border import FLOATING, NUMBERS, Answer, Expects, Tensor, tamed
from grader.judging.comparison import Array
from grader.judging.findings import all_unanswered, asked, judged, unanswered
from grader.lab.figures import draw_loss_curve, draw_samples
from grader.lab.reference import Schedule, q_sample
from grader.lab.rows.task1.training.chain import Chain, Link
from grader.lab.settings import NOTEBOOK
from grader.lab.spirals import Spiral, draw_spiral
from grader.lab.swiss_roll import chamfer_distance
from grader.records import Check, Finding, Verdict
from grader.sandbox import ProbeFailure, Questions

TRAINING: dict[str, Any] = NOTEBOOK | {"dim_hids": [128, 128, 128], "steps": 5000, "batch": 128, "lr": 5e-3}
DATA_POINTS = 10_000
EVALUATED = 2048  # points that are drawn
REFERENCES = 2  # sets of as many fresh points, over whose distances the mean is taken
MEASURED_AT, MEASURED = 128, 8192  # how many t, and points, the grader's own loss is taken over
NOT_NOISE = 2.0  # times the largest right loss: a network beyond it does not predict noise, and draws no points by it
TAIL = 500  # steps that the end of the loss curve is averaged over
NETWORK_CAP = 4 << 20  # bytes of a network's tensors; the handout's takes 0.3 MB
CALLS_CAP = 4  # calls of the network for each step
FORMS = ("number", "0-d", "[1]", "[1, 1]", "[B]", "[B, 1]")
DTYPES = ("int64", "int32", "int16", "uint8", "float64", "float32", "float16", "bfloat16")
APART = 0.1  # between a submission's own loss and the grader's, from which on it is remarked
LOSS = "L_simple   (DDPM Eq. 14)"
CHAMFER = f"Chamfer distance: squared nearest distances, both ways, summed over {EVALUATED:,} points"
WHERE = "p_sample_loop, p_sample and SimpleNet"
# What may come back: a network that went astray has words of its own for it.
ASTRAY = Tensor(dtypes=FLOATING, finite=False, largest=np.inf)
CURVE = Tensor((TRAINING["steps"],), finite=False, largest=np.inf)
WEIGHT = Tensor(dtypes=NUMBERS, finite=False, largest=np.inf, most=1 << 24)
BOTH = ["loss_curve", "evaluation"], [5.0, 5.0]


@dataclass(frozen=True)
class Task:
    """What is drawn for a grading: the points' distribution and the schedule."""

    spiral: Spiral
    settings: dict[str, Any]  # as the probes take them

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> Task:
        """T is 800 to 1,000, the betas are the notebook's give or take, and end where its forward process ends."""
        T = int(rng.integers(800, 1001))
        longer = TRAINING["T"] / T
        betas = {
            "beta_1": TRAINING["beta_1"] * float(rng.uniform(0.8, 1.2)),
            "beta_T": TRAINING["beta_T"] * longer * float(rng.uniform(0.95, 1.05)),
        }
        return cls(draw_spiral(rng), TRAINING | {"T": T} | betas)

    @property
    def schedule(self) -> Schedule:
        return Schedule.linear(self.settings["T"], self.settings["beta_1"], self.settings["beta_T"])


@dataclass
class TrainingObservation(Observation):
    """The submission's own losses, the grader's, the points drawn, the target, and how the points came about."""

    target: NDArray[np.float32]
    schedule: Schedule
    loss_range: tuple[float, float]  # where the grader's loss may lie
    losses: Array = field(default_factory=lambda: np.empty(0))
    end: float = float("nan")  # of the submission's own loss, smoothed
    loss: float = float("nan")  # the grader's
    x0_loss: float = float("nan")  # the same, were the network's answer meant for x_0
    points: NDArray[np.generic] | None = None
    chamfer: float = float("nan")
    chain: Chain | None = None
    form: dict[str, Any] | None = None  # of t, in which p_sample asks the network
    not_finite: bool = False  # whether the network or the chain left the finite numbers

    @property
    def target_variance(self) -> float:
        return float(self.target.var())

    @property
    def learnt(self) -> bool:
        """Whether the network predicts noise as it should."""
        return self.loss_range[0] <= self.loss <= self.loss_range[1]

    @property
    def learnt_x0(self) -> bool:
        """Whether the network's answers know more of x_0 than where the data lies."""
        return self.x0_loss < 0.9 * self.target_variance

    def draw(self, folder: Path) -> list[str]:
        drawn = []
        if len(self.losses):
            draw_loss_curve(self.losses, self.loss_range, folder / "loss_curve.png", self.loss)
            drawn.append("loss_curve.png")
        if self.points is not None:
            draw_samples(self.points, self.target, folder / "samples.png")
            drawn.append("samples.png")
        return drawn


def judge(bench: Bench) -> Judgement:
    """Checks loss_curve and evaluation."""
    limits = bench.policy.training
    task = Task.drawn(bench.rng)
    target = task.spiral.draw(DATA_POINTS, bench.rng)
    seen = TrainingObservation(target, task.schedule, limits.loss_range)
    with bench.beside() as apart:  # its worker starts while the other trains
        trained = asked(lambda: train(bench, task, target))
        if isinstance(trained, ProbeFailure):
            return Judgement(all_unanswered(*BOTH, trained), [seen])
        keep_curve(trained, seen)
        held = asked(lambda: hold(bench, task, trained))
        if isinstance(held, ProbeFailure):
            return Judgement(all_unanswered(*BOTH, held), [seen])
        seen.chain = Chain(task.schedule, EVALUATED)
        sampled = asked(lambda: sample(bench, apart, task, seen))
    loss = judged("loss_curve", 5.0, lambda: measure(bench, task, seen))
    if isinstance(sampled, ProbeFailure):
        evaluation = unanswered("evaluation", 5.0, sampled)
    else:
        evaluation = evaluate(sampled, seen, task, bench)
    return Judgement([loss, evaluation], [seen], _remarks(seen))


def train(bench: Bench, task: Task, target: NDArray[np.float32]) -> Answer:
    """Losses (steps,) of a training, and the network's tensors under "weight.". Raises ProbeFailure."""
    expects = Expects({"losses": CURVE}, families={"weight.": WEIGHT})
    return bench.ask("train", with_seed(task, bench), {"x0": target}, bench.policy.training.seconds, expects=expects)


def with_seed(task: Task, bench: Bench, **more: Any) -> dict[str, Any]:
    return task.settings | {"seed": bench.seed()} | more


def keep_curve(answer: Answer, seen: TrainingObservation) -> None:
    losses = answer.arrays.get("losses")
    if losses is not None:
        seen.losses = tamed(losses)
        seen.end = float(seen.losses[-TAIL:].mean())


def hold(bench: Bench, task: Task, trained: Answer) -> Answer:
    """Hand the trained network to a fresh process, which has nothing else of the training. Raises ProbeFailure."""
    weights = {name: value for name, value in trained.arrays.items() if name.startswith("weight.")}
    size = sum(value.nbytes for value in weights.values())
    if size > NETWORK_CAP:
        text = f"the network's tensors take {size / 2**20:.1f} MiB, more than the {NETWORK_CAP / 2**20:g} MiB allowed"
        raise ProbeFailure(Verdict.FAILED, text)
    bench.renew()
    return bench.ask("hold", with_seed(task, bench), weights, expects=Expects())


def _predicted(bench: Bench, form: dict[str, Any], x: NDArray[np.float32], t: NDArray[np.float32]) -> NDArray[Any]:
    """The held network's answer, (n, 2), as it came. Raises ProbeFailure, for another shape as well."""
    seconds, expects = bench.policy.training.seconds, Expects({"out": ASTRAY})
    answer = bench.ask("predict", form | {"seed": bench.seed()}, {"x": x, "t": t}, seconds, expects=expects)
    out = answer.arrays.get("out")
    if out is None or out.shape != x.shape:
        got = answer.misfits["out"].got if "out" in answer.misfits else f"shape {answer.shape('out')}"
        raise ProbeFailure(Verdict.CRASHED, f"SimpleNet returned {got} where floats of shape {x.shape} are expected")
    return out


def sample(bench: Bench, apart: Bench, task: Task, seen: TrainingObservation) -> Answer:
    """Draw points in the sandbox `apart`, whose network is the one that `bench` holds. Raises ProbeFailure."""
    chain = seen.chain
    assert chain is not None

    def answer(question: dict[str, Any], tables: dict[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        out = tamed(_predicted(bench, question, tables["x"], tables["t"])).astype(np.float32)
        if not np.isfinite(out).all():
            seen.not_finite = True
            raise ProbeFailure(Verdict.FAILED, f"SimpleNet returned NaN or infinity at t = {tables['t'][0]:g}")
        seen.form = question
        chain.called(tables["x"], tables["t"], out)
        return {"out": out}

    choices = {"form": frozenset(FORMS), "dtype": frozenset(DTYPES)}
    asks = Questions(answer, {"x": (2,), "t": ()}, EVALUATED, CALLS_CAP * task.settings["T"], choices)
    try:
        how, seconds = with_seed(task, bench, points=EVALUATED), bench.policy.training.seconds
        return apart.ask("sample", how, None, seconds, asks, expects=Expects({"points": ASTRAY}))
    except ProbeFailure as failure:
        seen.not_finite |= failure.verdict is Verdict.FAILED  # of x, then
        raise


def measure(bench: Bench, task: Task, seen: TrainingObservation) -> Finding | None:
    """The grader's own loss: on fresh points, with noise that it tells nobody, each t as often as any other."""
    schedule, rng = task.schedule, bench.rng
    some = (np.arange(MEASURED_AT) + rng.random(MEASURED_AT)) * schedule.T // MEASURED_AT
    t = rng.permutation(np.repeat(some.astype(int), MEASURED // MEASURED_AT))
    eps = rng.standard_normal((MEASURED, 2))
    x0 = task.spiral.draw(MEASURED, rng).astype(float)
    xt = q_sample(schedule, x0, t, eps).astype(np.float32)
    out = _of_all_t(bench, seen, xt, t)
    seen.loss, seen.x0_loss = (float(((tamed(out) - due) ** 2).mean()) for due in (eps, x0))
    seen.not_finite |= not np.isfinite(seen.loss)
    low, high = seen.loss_range
    if seen.learnt:
        return None
    checked = f"the loss of the trained network, taken by the grader on {MEASURED:,} fresh points of all t"
    got = f"{seen.loss:.3f}" if np.isfinite(seen.loss) else "NaN or infinity"
    if np.isfinite(seen.end):
        got += f" (compute_loss ended at {seen.end:.3f})"
    return Finding(checked, f"between {low:g} and {high:g}", got, "compute_loss and SimpleNet", LOSS)


def _of_all_t(bench: Bench, seen: TrainingObservation, x: NDArray[np.float32], t: NDArray[np.int64]) -> NDArray[Any]:
    """The network's answer to points at different t, all at once in the first form of t that it takes.

    A network that takes only one t at a time is asked for one at a time. Raises ProbeFailure.
    """
    shown = t.astype(np.float32) if seen.chain is None else seen.chain.value_at(t)
    form = seen.form or {"form": "[B]", "dtype": "int64"}
    first: ProbeFailure | None = None
    for name in ("[B]", "[B, 1]"):
        try:
            return _predicted(bench, form | {"form": name}, x, shown)
        except ProbeFailure as failure:
            first = first or failure
            if failure.verdict is not Verdict.CRASHED:
                break
    assert first
    if not seen.form or first.verdict is not Verdict.CRASHED:
        raise first
    out = np.empty(x.shape)
    for one in np.unique(t):
        out[t == one] = _predicted(bench, form, x[t == one], shown[t == one])
    return out


def evaluate(answer: Answer, seen: TrainingObservation, task: Task, bench: Bench) -> Check:
    """5 points for a Chamfer distance below chamfer_full, 2.5 below chamfer_part, if the network made the points."""
    limits, chain = bench.policy.training, seen.chain
    assert chain is not None
    full, part = limits.chamfer_full, limits.chamfer_part
    points = answer.arrays.get("points")
    checked = f"{EVALUATED:,} points drawn by p_sample_loop after training"
    if points is None or points.shape != (EVALUATED, 2):
        got = answer.misfits["points"].got if "points" in answer.misfits else f"shape {answer.shape('points')}"
        return Check.of("evaluation", 5.0, Finding(checked, f"shape ({EVALUATED}, 2)", got, "p_sample_loop", CHAMFER))
    seen.points = points
    drawn = tamed(points)
    if np.isfinite(drawn).all():
        chain.ended(drawn)
        fresh = [task.spiral.draw(EVALUATED, bench.rng).astype(float) for _ in range(REFERENCES)]
        seen.chamfer = float(np.mean([chamfer_distance(drawn, one) for one in fresh]))
        if not _explained(seen, chain):
            return _unexplained(checked, chain)
    else:
        seen.chamfer, seen.not_finite = float("inf"), True
    earned, limit = (5.0, full) if seen.chamfer < full * (1.0 + limits.chamfer_band) else (2.5, part)
    if seen.chamfer < limit * (1.0 + limits.chamfer_band):
        if chain.worst is not Link.STEP:
            return _for_a_person(f"points at a Chamfer distance of {seen.chamfer:.1f}, but {_why(chain)}")
        if not seen.loss <= NOT_NOISE * seen.loss_range[1]:
            return _not_noise(checked, seen)
        if seen.chamfer >= limit:
            return _for_a_person(f"a Chamfer distance of {seen.chamfer:.1f}, too near to the limit of {limit:g}")
        if limit == full:
            return Check("evaluation", Verdict.PASSED, 5.0, 5.0)
    else:
        earned = 0.0
    expected = f"a Chamfer distance below {full:g} (below {part:g} for half of the points)"
    return Check.of("evaluation", 5.0, Finding(checked, expected, f"{seen.chamfer:.1f}", WHERE, CHAMFER), earned)


def _explained(seen: TrainingObservation, chain: Chain) -> bool:
    """Whether the points may have been made by the network: steps of another kind need one that has learnt."""
    known = {Link.STEP: True, Link.OTHER_TARGET: seen.learnt_x0 or seen.learnt, Link.OTHER_STEP: seen.learnt}
    return known.get(chain.worst, False)


def _unexplained(checked: str, chain: Chain) -> Check:
    expected = "each step made of x_t, the network's answer and noise of at most a step's size"
    got = _why(chain)
    return Check.of("evaluation", 5.0, Finding(checked, expected, got, "p_sample_loop and p_sample", "DDPM Alg. 2"))


def _not_noise(checked: str, seen: TrainingObservation) -> Check:
    expected, got = "a network that predicts the noise in x_t", f"one whose loss is {seen.loss:.3f}"
    return Check.of("evaluation", 5.0, Finding(checked, expected, got, "compute_loss and SimpleNet", LOSS))


def _for_a_person(text: str) -> Check:
    return Check("evaluation", Verdict.NEEDS_REVIEW, 0.0, 5.0, f"{text}: a person has to look at the code")


def _why(chain: Chain) -> str:
    worst = max(chain.links, default=Link.STEP)
    words = {
        Link.OTHER_TARGET: "the steps take the network's answer for x_0",
        Link.OTHER_STEP: f"the step at t = {chain.place:g} has other parts than the lab's",
        Link.BROKEN: f"something else comes in at t = {chain.place:g}",
    }
    return "; ".join([*chain.oddities, *([words[worst]] if worst in words and chain.steps else [])])


def _remarks(seen: TrainingObservation) -> list[str]:
    if not np.isfinite(seen.loss) or abs(seen.end - seen.loss) <= APART:
        return []
    said = f"ended at {seen.end:.3f}" if np.isfinite(seen.end) else "did not end at a finite number"
    return [f"compute_loss {said} in training, while the grader took a loss of {seen.loss:.3f} on the trained network"]
