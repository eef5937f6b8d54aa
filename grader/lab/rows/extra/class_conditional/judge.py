"""Judges the exercise about class labels: their embedding, their dropout, and classifier-free guidance.

Dropout is judged by its share and by how the number dropped of a batch varies: B p (1 - p) where each label is dropped
by itself, B times that where a batch shares its fate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from grader.judging.bench import Bench, Judgement, Observation
from grader.judging.border import NUMBERS, WHOLE, Answer, Expects, Line, Said, Tensor
from grader.judging.comparison import Array, Arrays, off, take
from grader.judging.findings import answered, asked, judged
from grader.lab import reference
from grader.lab.shared.companions import inputs_kept, none_answered
from grader.records import Finding, Verdict
from grader.sandbox import ProbeFailure

EMBEDDING = "embedding(t) + table[label], without a label + table[null]   (Ho & Salimans 2022, Sec. 3)"
DROPOUT = "c ← ∅ with probability p, each image by itself   (Ho & Salimans 2022, Algorithm 1)"
GUIDANCE = "ε = ε_uncond + scale (ε_cond − ε_uncond)   (Ho & Salimans 2022, Eq. 6, scale = 1 + w)"
T = 10  # timesteps that the network of the guidance is shown
CLASSES, NULL, WIDTH = 10, 10, 12
SCALES = {0.0: "the prediction without a class", 1.0: "the prediction for the class"} | dict.fromkeys(
    (3.0, 7.5), "beyond the prediction for the class, away from the one without"
)
GUIDED, GUIDED_NULL = (6, 3, 4, 4), 17
BATCHES = (600, 16)  # of labels
CASES = ((0.25, 10, 600), (0.1, 23, 600), (0.0, 10, 20), (1.0, 23, 20))  # p, null_label, number of batches
Labels = NDArray[np.int64]
in_dropout = partial(Finding, where="drop_labels", equation=DROPOUT)


class LabelsSaid(Said):
    """The dtype of the labels, as torch names it."""

    dtype: Line


@dataclass
class Drop:
    """What came of one p: the share that was dropped, and the spread of the number a batch."""

    p: float
    null: int
    count: int  # labels
    share: float
    spread: float  # variance of the number dropped of a batch, as a multiple of B share (1 - share)
    others: tuple[int, ...]  # what took the place of a label, besides null

    @property
    def some(self) -> bool:
        return 0 < self.p < 1

    @property
    def uneven(self) -> bool:
        """Whether labels are dropped together, or a fixed number of them."""
        return self.some and 0 < self.share < 1 and not 0.6 < self.spread < 1.5


@dataclass
class ConditionalObservation(Observation):
    """What the three functions returned; None where one gave nothing usable."""

    time: Array
    table: Array
    labels: Labels
    embedded: dict[str, Array] = field(default_factory=dict)  # "labels", "none"
    embedded_shape: tuple[int, ...] = ()
    drops: list[Drop] = field(default_factory=list)
    repeated: bool = False  # the same draw whatever the generator or the global state
    generator_ignored: bool = False
    guided: dict[float, Array] = field(default_factory=dict)  # scale -> result
    predictions: dict[int, Array] = field(default_factory=dict)  # label -> guess; -1: for the labels asked for
    changed: tuple[str, ...] = ()

    def right(self, name: str) -> Array:
        """The embedding with labels ("labels") or without ("none")."""
        return np.asarray(self.time + self.table[self.labels if name == "labels" else NULL])

    def note(self, what: str, *pairs: tuple[NDArray | None, NDArray]) -> None:
        """Write down that an input was changed, where it is not after the call what it was before."""
        if what not in self.changed and not all(
            after is not None and np.array_equal(after, was) for after, was in pairs
        ):
            self.changed += (what,)


def judge(bench: Bench) -> Judgement:
    """Checks embedding, no_label, dropout_share, dropout_each, dropout_draws, guidance, inputs_kept."""
    labels = bench.rng.permutation(CLASSES + 1)[:8]
    labels[0] = NULL  # a label may be null, too
    time, table = bench.normal(len(labels), WIDTH), bench.normal(CLASSES + 1, WIDTH)
    seen = ConditionalObservation(time.astype(float), table.astype(float), labels)
    runs = [asked(partial(ask, bench, seen)) for ask in (_ask_embedding, _ask_dropout, _ask_guidance)]
    embedding, dropout, guidance = (partial(_tried, run) for run in runs)
    checks: dict[str, Callable[[], Finding | None]] = {
        "embedding": lambda: _embedded(embedding(), seen, "labels"),
        "no_label": lambda: _embedded(embedding(), seen, "none"),
        "dropout_share": lambda: _share(dropout(), seen),
        "dropout_each": lambda: _each(dropout(), seen),
        "dropout_draws": lambda: _draws(dropout(), seen),
        "guidance": lambda: _guided(guidance(), seen),
        "inputs_kept": lambda: inputs_kept("companions.py", seen.changed),
    }
    untried = [run for run in runs if isinstance(run, ProbeFailure) and _left_out(run)]
    if len(untried) == len(runs):
        return none_answered(checks, untried[0])
    return Judgement([judged(name, 0.0, check) for name, check in checks.items()], [seen])


def _left_out(run: ProbeFailure) -> bool:
    return run.verdict in (Verdict.NOT_IMPLEMENTED, Verdict.MISSING)


def _tried(run: Answer | ProbeFailure) -> Answer:
    """The answer. A part that was left alone is wrong where another was tried: the row would tell nothing else."""
    if isinstance(run, ProbeFailure) and _left_out(run):
        raise ProbeFailure(Verdict.FAILED, f"the other parts of this exercise were tried: {run.message}", run.where)
    return answered(run)


def _ask_embedding(bench: Bench, seen: ConditionalObservation) -> Answer:
    time, table = seen.time.astype(np.float32), seen.table.astype(np.float32)
    arrays: Arrays = {"time": time, "table": table, "labels": seen.labels}
    names = [f"{what}.{name}" for what in ("out", "after") for name in ("labels", "none")]
    answer = bench.ask("add_class", {"null": NULL}, arrays, expects=Expects.alike(names, Tensor()))
    for name in ("labels", "none"):
        seen.embedded_shape = answer.shape(f"out.{name}") or ()
        got = take(answer, f"out.{name}", seen.time.shape, "")[0]
        if got is not None:
            seen.embedded[name] = got
        seen.note("the embedding of the time", (answer.arrays.get(f"after.{name}"), time))
    return answer


def _embedded(answer: Answer, seen: ConditionalObservation, name: str) -> Finding | None:
    checked = "add_class with labels" if name == "labels" else "add_class without labels (None)"
    got, malformed = take(answer, f"out.{name}", seen.time.shape, checked)
    if got is None:
        return malformed
    wrong = off(got, seen.right(name))
    due = "the row of each label added" if name == "labels" else "the row of null_label added for every image"
    return Finding(checked, due, wrong, "add_class", EMBEDDING) if wrong else None


def _ask_dropout(bench: Bench, seen: ConditionalObservation) -> Answer:
    labels = bench.rng.integers(0, CLASSES, BATCHES)
    cases = [dict(zip(("p", "null", "count"), case, strict=True)) for case in CASES]
    names = ["after", "once", "other_global", "other_own", "global", "global_again"]
    names += [f"out.{i}" for i in range(len(CASES))]
    expects = Expects.alike(names, Tensor(dtypes=NUMBERS), LabelsSaid)
    params = {"cases": cases, "seeds": [bench.seed(), bench.seed()]}
    answer = bench.ask("drop_labels", params, {"labels": labels}, expects=expects)
    for i, (p, null, count) in enumerate(CASES):
        got = answer.arrays.get(f"out.{i}")
        if got is not None and got.shape == (count, BATCHES[1]):
            seen.drops.append(_drop(p, null, labels[:count], got))
    calls = ("once", "other_global", "other_own", "global", "global_again")
    once, other_global, other_own, first, again = (answer.arrays.get(name, np.empty(0)) for name in calls)
    some = bool(seen.drops) and 0 < seen.drops[0].share < 1  # none and all are the same at every call
    seen.repeated = some and np.array_equal(first, again)
    seen.generator_ignored = not np.array_equal(once, other_global) or (some and np.array_equal(once, other_own))
    seen.note("the labels that drop_labels was given", (answer.arrays.get("after"), labels[0]))
    return answer


def _drop(p: float, null: int, labels: Labels, got: NDArray) -> Drop:
    dropped = got != labels
    others = tuple(int(value) for value in np.unique(got[dropped & (got != null)])[:20])
    share = float(dropped.mean())
    spread = dropped.sum(axis=1).var() / max(BATCHES[1] * share * (1 - share), 1e-9)
    return Drop(p, null, labels.size, share, float(spread), others)


def _share(answer: Answer, seen: ConditionalObservation) -> Finding | None:
    result, dtype = "the labels that drop_labels returns", answer.said.dtype
    if len(seen.drops) != len(CASES):
        shapes = {(answer.shape(f"out.{i}") or ())[1:] for i in range(len(CASES))}
        return in_dropout(result, f"shape {BATCHES[1:]}", f"shapes {sorted(shapes)}")
    if dtype not in ("torch.int64", "torch.int32"):
        return in_dropout(result, "whole numbers", str(dtype))
    for drop in seen.drops:
        checked = f"drop_labels with p = {drop.p:g}, null_label = {drop.null}, in batches of {BATCHES[1]}"
        if drop.others:
            got = f"other values as well: {', '.join(map(str, drop.others[:6]))}"
            return in_dropout(checked, "each label as it was, or null_label", got)
        # Labels that share a batch's fate vary as one: that is the next check's finding, not this one's.
        slack = 6.0 * np.sqrt(drop.p * (1 - drop.p) / drop.count * max(1.0, drop.spread))
        if abs(drop.share - drop.p) > slack:
            return in_dropout(checked, f"a share of {drop.p:g} dropped", f"{drop.share:.3f} of {drop.count} labels")
    return None


def _each(answer: Answer, seen: ConditionalObservation) -> Finding | None:
    for drop in seen.drops:
        if drop.uneven:
            number = "(almost) the same number is dropped of every batch"
            got = "the labels of a batch share their fate" if drop.spread > 1 else number
            checked = f"drop_labels with p = {drop.p:g}, in batches of {BATCHES[1]}"
            due = "each label dropped by itself: numbers a batch with variance B p (1 − p)"
            return in_dropout(checked, due, f"{got} (variance {drop.spread:.2f} times that)")
    return None


def _draws(answer: Answer, seen: ConditionalObservation) -> Finding | None:
    if seen.repeated:
        checked = "drop_labels without a generator, under two global seeds"
        return in_dropout(checked, "other labels dropped each time", "the same ones")
    if seen.generator_ignored:
        return in_dropout("drop_labels with a generator", "what its seed alone decides", "the generator is not used")
    return None


def _ask_guidance(bench: Bench, seen: ConditionalObservation) -> Answer:
    x, table = bench.normal(*GUIDED), bench.normal(20, GUIDED[1])
    t, labels = bench.rng.integers(0, T, GUIDED[0]), bench.rng.integers(1, CLASSES, GUIDED[0])
    gain, slope = bench.uniform(0.3, 0.6, 1), bench.uniform(0.02, 0.1, GUIDED[1])
    arrays: Arrays = {"x": x, "t": t, "labels": labels, "table": table, "gain": gain, "slope": slope}
    results = {f"{name}.{i}": Tensor() for i in range(len(SCALES)) for name in ("out", "x_after")}
    labels_after = {f"labels_after.{i}": Tensor(dtypes=WHOLE) for i in range(len(SCALES))}
    expects = Expects(results | labels_after)
    answer = bench.ask("guided_noise", {"null": GUIDED_NULL, "scales": list(SCALES)}, arrays, expects=expects)
    for label, rows in ((-1, labels), (NULL, GUIDED_NULL), (0, 0), (CLASSES - 1, CLASSES - 1)):
        drift = np.outer(t, slope.astype(float)) + table.astype(float)[rows]
        seen.predictions[label] = float(gain[0]) * x.astype(float) + drift[:, :, None, None]
    for i, scale in enumerate(SCALES):
        got = take(answer, f"out.{i}", GUIDED, "")[0]
        if got is not None:
            seen.guided[scale] = got
        after = ((answer.arrays.get(f"{name}_after.{i}"), arrays[name]) for name in ("x", "labels"))
        seen.note("what guided_noise was given", *after)
    return answer


def _guided(answer: Answer, seen: ConditionalObservation) -> Finding | None:
    for i, (scale, meant) in enumerate(SCALES.items()):
        checked = f"guided_noise with scale = {scale:g}"
        got, malformed = take(answer, f"out.{i}", GUIDED, checked)
        if got is None:
            return malformed
        wrong = off(got, reference.guided(seen.predictions[-1], seen.predictions[NULL], scale))
        if wrong:
            return Finding(checked, meant, wrong, "guided_noise", GUIDANCE)
    return None
