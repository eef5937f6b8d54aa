"""Judges a training loss, compute_loss (Task 1) and get_loss_noise / _x0 / _mean (Task 2), by its trials.

Batches of four tell a wrong target at t = 0 from a wrong target elsewhere; large batches show the distribution of t.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np

from grader.judging.bench import Bench, Judgement
from grader.judging.border import Answer
from grader.judging.comparison import Arrays
from grader.judging.draws import odd_draws
from grader.judging.findings import answered, asked, judged
from grader.lab.settings import Setting
from grader.lab.shared.loss_trials import (
    Disconnected,
    LossObservation,
    OddTimesteps,
    Trial,
    odd_gradient,
    read_trial,
    right_value,
    trials_answer,
    unexplained,
)
from grader.lab.shared.stand_in import draw_network
from grader.records import Finding, Verdict
from grader.sandbox import ProbeFailure

SMALL_TRIALS, SMALL = 60, 4  # without t = 0 in any of them: once in 10^11 runs
LARGE_TRIALS, LARGE = 3, 1024
# With T - 1 = 8 to 13 degrees of freedom a right draw exceeds this once in 10^8, and one that rounds (the ends half as
# likely as the rest) stays below it once in 10^4. Antithetic pairs, t with T - 1 - t, are right too and vary twice as
# much.
CHI_SQUARE = 65.0
GRADIENT_ATOL = 1e-3
NUDGED, NUDGE = 8, 0.02  # small trials that are repeated with other weights, and how far these are
LATER = frozenset(f"x0.{i}" for i in range(NUDGED, SMALL_TRIALS))
UNIFORM = "t ~ Uniform({1, …, T})   (DDPM Algorithm 1)"
IMAGES = (3, 6, 6)
EQUATIONS = {
    "noise": "L_simple = E ‖ε − ε_θ(x_t, t)‖², mean over all entries   (DDPM Eq. 14)",
    "x0": "L = E ‖x_0 − x_θ(x_t, t)‖², mean over all entries",
    "mean": "L = E ‖μ̃_t(x_t, x_0) − μ_θ(x_t, t)‖², mean over all entries   (DDPM Eqs. 7 and 8)",
}


@dataclass(frozen=True)
class Loss:
    """One loss to judge."""

    name: str
    probe: str
    predictor: str
    sample: tuple[int, ...]  # shape of one sample

    @property
    def equation(self) -> str:
        return EQUATIONS[self.predictor]


def image_loss(predictor: str) -> Loss:
    """A loss of Task 2."""
    return Loss(f"get_loss_{predictor}", "get_loss", predictor, IMAGES)


def judge_loss(bench: Bench, loss: Loss, points: dict[str, float]) -> Judgement:
    """Checks timesteps, target and gradient; target_t0, where it has points, takes the batches with t = 0 apart."""
    run = LossRun(bench, loss)
    apart = "target_t0" in points
    findings = {
        "timesteps": run.timesteps,
        "target": lambda: run.shown_noise() or run.target(lambda trial: not (apart and trial.has_t0)),
        "target_t0": lambda: run.target(lambda trial: trial.has_t0),
        "gradient": run.gradient,
    }
    return Judgement([judged(name, maximum, findings[name]) for name, maximum in points.items()], [run.seen])


class LossRun:
    """A loss called on many small batches and on a few large ones, and what that says."""

    def __init__(self, bench: Bench, loss: Loss) -> None:
        self.loss, self.bench, self.setting = loss, bench, Setting.short(bench.rng)
        self.seen = LossObservation(self.setting.schedule, loss.predictor)
        self.stand_ins = draw_network(bench, loss.sample[0]) | {
            name: bench.uniform(0.4, 0.9, self.setting.T + 2) for name in ("signal", "spread")
        }
        self.small_asked: tuple[list[int], Arrays] = [], {}  # seeds and tensors of the small batches
        self.small = asked(partial(self._ask, SMALL_TRIALS, SMALL, self.seen.trials))
        self.large = asked(partial(self._ask, LARGE_TRIALS, LARGE, self.seen.large))

    def _ask(self, trials: int, batch: int, into: list[Trial]) -> Answer:
        inputs = {f"x0.{i}": self.bench.uniform(-0.9, 0.9, batch, *self.loss.sample) for i in range(trials)}
        seeds = [self.bench.seed() for _ in range(trials)]
        given = self.stand_ins | inputs
        if into is self.seen.trials:
            self.small_asked = seeds, given
        answer = self._trials(seeds, given)
        for i in range(trials):
            trial = read_trial(i, answer, given, self.seen.schedule)
            if trial is None:
                self.seen.disconnected = Disconnected.NO_NETWORK
            else:
                into.append(trial)
        return answer

    def _trials(self, seeds: list[int], given: Arrays) -> Answer:
        params = self.setting.params | {"seeds": seeds, "predictor": self.loss.predictor}
        expects = trials_answer(len(seeds), self.loss.sample[0])
        answer = self.bench.ask(self.loss.probe, params, given, expects=expects)
        if len(answer.said.trials) != len(seeds):
            raise ProbeFailure(Verdict.FAILED, f"{len(answer.said.trials)} of {len(seeds)} trials were answered")
        return answer

    def timesteps(self) -> Finding | None:
        """One t per sample, uniform, the same for x_t and for the network."""
        answered(self.large)
        if not self.seen.large:
            return self._no_network()
        odd = _odd_timesteps(self.seen.large, self.setting.T)
        if odd is None:
            return None
        self.seen.odd_timesteps, got = odd
        checked = f"the timesteps that {self.loss.name} draws for a batch of {LARGE}, T = {self.setting.T}"
        expected = f"one t per sample, uniform on 0 … {self.setting.T - 1}, the same for x_t and for the network"
        return Finding(checked, expected, got, self.loss.name, UNIFORM)

    def shown_noise(self) -> Finding | None:
        """The network is shown x_0 mixed with noise from N(0, I), whoever drew that."""
        seen, loss = self.seen, self.loss
        if not seen.large:
            return None  # which the caller says
        checked = f"what {loss.name} shows to the network"
        expected = "x_t, made of x_0 and noise ε ~ N(0, I) by the forward process"
        if not all(trial.mixed for trial in seen.large + seen.trials):
            got = "a tensor that is not the x_t of this x_0 and this noise"
            return Finding(checked, expected, got, loss.name, loss.equation)
        # The small batches, whose losses are judged, get the same noise as the large ones, and the other way round.
        batches = [np.concatenate([trial.eps for trial in trials]) for trials in (seen.large, seen.trials) if trials]
        seen.odd_noise = next(filter(None, map(odd_draws, batches)), None)
        pairs = (pair for trials in (seen.large, seen.trials) for pair in pairwise(trials))
        seen.noise_repeated = any(np.array_equal(a.eps, b.eps) for a, b in pairs)
        if seen.odd_noise is None and not seen.noise_repeated:
            return None
        got = f"other noise: {seen.odd_noise or 'the same noise at every call'}"
        return Finding(checked, expected, got, loss.name, loss.equation)

    def target(self, chosen: Callable[[Trial], bool]) -> Finding | None:
        """One right target explains the loss in every chosen trial."""
        answered(self.small)
        seen, loss = self.seen, self.loss
        if not seen.trials:
            return self._no_network()
        trials = [trial for trial in seen.trials if chosen(trial)]
        checked = f"the value of {loss.name} on a batch of shape {(SMALL, *loss.sample)}"
        if not trials:  # t = 0 was never drawn, or always: the timesteps check says why
            return Finding(checked, "batches with and without t = 0", "t is not drawn uniformly", loss.name)
        if any(trial.loss.size != 1 for trial in trials):
            got = f"a tensor of shape {trials[0].loss.shape}"
            return Finding(checked, "one number, the mean over all entries", got, loss.name, loss.equation)
        trial = unexplained(seen, trials)
        if trial is None:
            return None
        expected = f"{right_value(seen, trial):.5f}, recomputed from what the network was shown"
        where = f"{loss.name}, t = {trial.t.tolist()}"
        return Finding(checked, expected, f"{trial.value:.5f}", where, loss.equation)

    def gradient(self) -> Finding | None:
        """The gradient arrives at the network: of a loss of the right value the one that belongs to this value, of
        another loss one that it follows."""
        answer = answered(self.small)
        checked = f"the gradient of {self.loss.name} at the network's parameters"
        for i, trial in enumerate(answer.said.trials):
            gradient = answer.arrays.get(f"{i}.grad")
            if gradient is None or not np.abs(gradient).max() > 0:
                self.seen.disconnected = self.seen.disconnected or Disconnected.NO_GRADIENT
                got = "none" if answer.shape(f"{i}.grad") is None else "zero or not finite"
                if not trial.requires_grad:
                    got += ": the loss is cut off from the network (detach, no_grad or item)"
                return Finding(checked, "finite and not zero", got, self.loss.name, self.loss.equation)
        value_is_right = bool(self.seen.trials) and unexplained(self.seen, self.seen.trials) is None
        if not value_is_right and not self._loss_follows_its_gradient(answer):
            self.seen.disconnected = self.seen.disconnected or Disconnected.OTHER_GRADIENT
            got = "one that the loss does not follow when the weights change"
            return Finding(checked, "that of the loss", got, self.loss.name, self.loss.equation)
        if value_is_right and (odd := odd_gradient(self.seen, self.seen.trials, GRADIENT_ATOL)):
            self.seen.disconnected = self.seen.disconnected or Disconnected.OTHER_GRADIENT
            return Finding(checked, "2 (out − target)/N, carried on", odd, self.loss.name, self.loss.equation)
        return None

    def _loss_follows_its_gradient(self, answer: Answer) -> bool:
        """Whether the loss of most trials changes with the stand-in's weight as its gradient says, whatever it is."""
        seeds, given = self.small_asked
        direction = self.bench.normal(*given["weight"].shape).astype(float)
        losses = []
        for step in (NUDGE, -NUDGE):
            nudged = given | {"weight": (given["weight"] + step * direction).astype(np.float32)}
            inputs = {name: array for name, array in nudged.items() if name not in LATER}
            moved = self._trials(seeds[:NUDGED], inputs)
            losses.append([float(moved.arrays.get(f"{i}.loss", np.full(1, np.nan)).mean()) for i in range(NUDGED)])
        slopes = [float((answer.arrays[f"{i}.grad"] * direction).sum()) for i in range(NUDGED)]
        agreeing = [
            abs((up - down) / (2 * NUDGE) - slope) <= 0.1 * abs(slope) + 1e-3 * (abs(up) + abs(down))
            for up, down, slope in zip(*losses, slopes, strict=True)
        ]
        return 2 * sum(agreeing) > NUDGED

    def _no_network(self) -> Finding:
        return Finding(
            f"{self.loss.name} asks the network about (x_t, t)",
            "the network called once on the noisy batch",
            "it was not called on a batch of that shape",
            self.loss.name,
            self.loss.equation,
        )


def _odd_timesteps(trials: list[Trial], T: int) -> tuple[OddTimesteps, str] | None:
    """In which way the timesteps are odd, and what a student reads of it."""
    if any(not np.array_equal(trial.t, trial.t_noising) for trial in trials):
        return OddTimesteps.OTHER_FOR_X_T, OddTimesteps.OTHER_FOR_X_T.value
    if any(len(np.unique(trial.t)) == 1 for trial in trials):
        return OddTimesteps.ONE_FOR_THE_BATCH, OddTimesteps.ONE_FOR_THE_BATCH.value
    t = np.concatenate([trial.t for trial in trials])
    low, high = int(t.min()), int(t.max())
    if (low, high) != (0, T - 1):
        return OddTimesteps.OTHER_RANGE, f"t from {low} to {high}"
    counts = np.bincount(t, minlength=T)
    share = len(t) / T
    if ((counts - share) ** 2).sum() / share > CHI_SQUARE:
        return OddTimesteps.NOT_UNIFORM, f"t is not uniform: counts {counts.tolist()} of {len(t)}"
    if len(trials) > 1 and all(np.array_equal(trials[0].t, trial.t) for trial in trials[1:]):
        return OddTimesteps.REPEATED, OddTimesteps.REPEATED.value
    return None
