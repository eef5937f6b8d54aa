"""Judges the companion exercise about class labels: their embedding, their dropout, and classifier-free guidance.

Dropout is judged by its share and by how the number dropped of a batch varies: B p (1 - p) where each label is dropped
by itself, B times that where a batch shares its fate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from grader.judging.bench import Bench, Judgement, Observation
from grader.judging.comparison import Array, off, take
from grader.judging.findings import all_unanswered, answered, asked, judged
from grader.lab import reference
from grader.lab.checks.companions_plane import unless_left_alone
from grader.records import Finding, Verdict
from grader.sandbox import Answer, ProbeFailure

T = 10  # timesteps that the network of the guidance is shown
EMBEDDING = "embedding(t) + table[label], without a label + table[null]   (Ho & Salimans 2022, Sec. 3)"
DROPOUT = "c ← ∅ with probability p, each image by itself   (Ho & Salimans 2022, Algorithm 1)"
GUIDANCE = "ε = ε_uncond + scale (ε_cond − ε_uncond)   (Ho & Salimans 2022, Eq. 6, scale = 1 + w)"
CLASSES, NULL, WIDTH = 10, 10, 12
SCALES = (0.0, 1.0, 3.0, 7.5)
GUIDED = (6, 3, 4, 4)
BATCHES = (600, 16)  # of labels
DROPS: tuple[dict[str, Any], ...] = (
    {"p": 0.25, "null": 10, "count": 600},
    {"p": 0.1, "null": 23, "count": 600},
    {"p": 0.0, "null": 10, "count": 20},
    {"p": 1.0, "null": 23, "count": 20},
)


@dataclass
class DropCase:
    """What came of one p: the share that was dropped, and the spread of the number a batch."""

    p: float
    null: int
    share: float
    spread: float  # variance of the number dropped of a batch, as a multiple of B share (1 - share)
    others: tuple[int, ...]  # what took the place of a label, besides null


@dataclass
class ConditionalObservation(Observation):
    """What the three functions returned; None where one gave nothing usable."""

    time: Array
    table: Array
    labels: Array
    embedded: dict[str, Array] = field(default_factory=dict)  # "labels", "none"
    embedded_shape: tuple[int, ...] = ()
    drops: list[DropCase] = field(default_factory=list)
    repeated: bool = False  # the same draw whatever the generator or the global state
    generator_ignored: bool = False
    guided: dict[float, Array] = field(default_factory=dict)  # scale -> result
    predictions: dict[int, Array] = field(default_factory=dict)  # label, -1: the labels asked for
    changed: tuple[str, ...] = ()


def judge_class_conditional(bench: Bench) -> Judgement:
    """Checks embedding, no_label, dropout_share, dropout_each, dropout_draws, guidance, inputs_kept."""
    seen = ConditionalObservation(
        bench.normal(8, WIDTH).astype(float),
        bench.normal(CLASSES + 1, WIDTH).astype(float),
        bench.rng.permutation(CLASSES + 1)[:8].astype(float),
    )
    seen.labels[0] = NULL  # a label may be null, too
    runs = {
        "embedding": asked(lambda: _ask_embedding(bench, seen)),
        "dropout": asked(lambda: _ask_dropout(bench, seen)),
        "guidance": asked(lambda: _ask_guidance(bench, seen)),
    }
    names = ["embedding", "no_label", "dropout_share", "dropout_each", "dropout_draws", "guidance", "inputs_kept"]
    untried = [
        run
        for run in runs.values()
        if isinstance(run, ProbeFailure) and run.verdict in (Verdict.NOT_IMPLEMENTED, Verdict.MISSING)
    ]
    if len(untried) == len(runs):
        return Judgement(all_unanswered(names, [0.0] * len(names), unless_left_alone(untried[0])))
    judges: list[Callable[[], Finding | None]] = [
        lambda: _embedded(_tried(runs, "embedding"), seen, "labels"),
        lambda: _embedded(_tried(runs, "embedding"), seen, "none"),
        lambda: _share(_tried(runs, "dropout"), seen),
        lambda: _each(_tried(runs, "dropout"), seen),
        lambda: _draws(_tried(runs, "dropout"), seen),
        lambda: _guided(_tried(runs, "guidance"), seen),
        lambda: _inputs_kept(seen),
    ]
    return Judgement([judged(name, 0.0, judge) for name, judge in zip(names, judges, strict=True)], [seen])


def _tried(runs: dict[str, Answer | ProbeFailure], part: str) -> Answer:
    """The answer. A part that was left alone is wrong where another was tried: the row would tell nothing else."""
    run = runs[part]
    if isinstance(run, ProbeFailure) and run.verdict in (Verdict.NOT_IMPLEMENTED, Verdict.MISSING):
        raise ProbeFailure(Verdict.FAILED, f"the other parts of this exercise were tried: {run.message}", run.where)
    return answered(run)


def _ask_embedding(bench: Bench, seen: ConditionalObservation) -> Answer:
    answer = bench.ask(
        "add_class",
        {"null": NULL},
        {
            "time": seen.time.astype(np.float32),
            "table": seen.table.astype(np.float32),
            "labels": seen.labels.astype(np.int64),
        },
    )
    for name in ("labels", "none"):
        seen.embedded_shape = answer.arrays.get(f"out.{name}", np.empty(0)).shape
        got = take(answer, f"out.{name}", seen.time.shape, "")[0]
        if got is not None:
            seen.embedded[name] = got
        if not np.array_equal(answer.arrays.get(f"after.{name}", np.empty(0)), seen.time.astype(np.float32)):
            seen.changed = ("the embedding of the time",)
    return answer


def _embedded(answer: Answer, seen: ConditionalObservation, name: str) -> Finding | None:
    checked = "add_class with labels" if name == "labels" else "add_class without labels (None)"
    got, malformed = take(answer, f"out.{name}", seen.time.shape, checked)
    if got is None:
        return malformed
    rows = seen.labels.astype(int) if name == "labels" else np.full(len(seen.time), NULL)
    wrong = off(got, seen.time + seen.table[rows])
    if wrong is None:
        return None
    expected = "the row of each label added" if name == "labels" else "the row of null_label added for every image"
    return Finding(checked, expected, wrong, "add_class", EMBEDDING)


def _ask_dropout(bench: Bench, seen: ConditionalObservation) -> Answer:
    labels = bench.rng.integers(0, CLASSES, BATCHES)
    answer = bench.ask("drop_labels", {"cases": list(DROPS), "seeds": [bench.seed(), bench.seed()]}, {"labels": labels})
    for i, case in enumerate(DROPS):
        got = answer.arrays.get(f"out.{i}")
        if got is not None and got.shape == (case["count"], BATCHES[1]):
            seen.drops.append(_observe_drop(case, labels[: case["count"]], got))
    runs = {
        name: answer.arrays.get(name, np.empty(0))
        for name in ("once", "other_global", "other_own", "global", "global_again")
    }
    some = seen.drops and 0 < seen.drops[0].share < 1  # none and all are the same at every call
    seen.repeated = bool(some and np.array_equal(runs["global"], runs["global_again"]))
    seen.generator_ignored = not np.array_equal(runs["once"], runs["other_global"]) or bool(
        some and np.array_equal(runs["once"], runs["other_own"])
    )
    if not np.array_equal(answer.arrays.get("after", np.empty(0)), labels[0]):
        seen.changed += ("the labels that drop_labels was given",)
    return answer


def _observe_drop(case: dict[str, Any], labels: Any, got: Any) -> DropCase:
    dropped = got != labels
    others = tuple(int(value) for value in np.unique(got[dropped & (got != case["null"])])[:20])
    share = float(dropped.mean())
    spread = dropped.sum(axis=1).var() / max(BATCHES[1] * share * (1 - share), 1e-9)
    return DropCase(case["p"], case["null"], share, float(spread), others)


def _share(answer: Answer, seen: ConditionalObservation) -> Finding | None:
    if len(seen.drops) != len(DROPS):
        shapes = {answer.arrays.get(f"out.{i}", np.empty(0)).shape[1:] for i in range(len(DROPS))}
        return Finding(
            "the labels that drop_labels returns",
            f"shape {BATCHES[1:]}",
            f"shapes {sorted(shapes)}",
            "drop_labels",
            DROPOUT,
        )
    if answer.data.get("dtype") not in ("torch.int64", "torch.int32"):
        return Finding(
            "the labels that drop_labels returns",
            "whole numbers",
            str(answer.data.get("dtype")),
            "drop_labels",
            DROPOUT,
        )
    for drop in seen.drops:
        checked = f"drop_labels with p = {drop.p:g}, null_label = {drop.null}, in batches of {BATCHES[1]}"
        if drop.others:
            return Finding(
                checked,
                "each label as it was, or null_label",
                f"other values as well: {', '.join(map(str, drop.others[:6]))}",
                "drop_labels",
                DROPOUT,
            )
        count = next(case["count"] for case in DROPS if case["p"] == drop.p) * BATCHES[1]
        # Labels that share a batch's fate vary as one: that is the next check's finding, not this one's.
        slack = 6.0 * np.sqrt(drop.p * (1 - drop.p) / count * max(1.0, drop.spread))
        if abs(drop.share - drop.p) > slack:
            return Finding(
                checked, f"a share of {drop.p:g} dropped", f"{drop.share:.3f} of {count} labels", "drop_labels", DROPOUT
            )
    return None


def _each(answer: Answer, seen: ConditionalObservation) -> Finding | None:
    for drop in seen.drops:
        if 0 < drop.p < 1 and 0 < drop.share < 1 and not 0.6 < drop.spread < 1.5:
            got = (
                "the labels of a batch share their fate"
                if drop.spread > 1
                else ("(almost) the same number is dropped of every batch")
            )
            return Finding(
                f"drop_labels with p = {drop.p:g}, in batches of {BATCHES[1]}",
                "each label dropped by itself: numbers a batch with variance B p (1 − p)",
                f"{got} (variance {drop.spread:.2f} times that)",
                "drop_labels",
                DROPOUT,
            )
    return None


def _draws(answer: Answer, seen: ConditionalObservation) -> Finding | None:
    if seen.repeated:
        return Finding(
            "drop_labels without a generator, under two global seeds",
            "other labels dropped each time",
            "the same ones",
            "drop_labels",
            DROPOUT,
        )
    if seen.generator_ignored:
        return Finding(
            "drop_labels with a generator",
            "what its seed alone decides",
            "the generator is not used",
            "drop_labels",
            DROPOUT,
        )
    return None


def _ask_guidance(bench: Bench, seen: ConditionalObservation) -> Answer:
    null = 17
    x, table = bench.normal(*GUIDED), bench.normal(20, GUIDED[1])
    t, labels = bench.rng.integers(0, T, GUIDED[0]), bench.rng.integers(1, CLASSES, GUIDED[0])
    gain, slope = np.float32(bench.rng.uniform(0.3, 0.6)), bench.uniform(0.02, 0.1, GUIDED[1])
    answer = bench.ask(
        "guided_noise",
        {"null": null, "scales": list(SCALES)},
        {"x": x, "t": t, "labels": labels, "table": table, "gain": np.asarray([gain]), "slope": slope},
    )
    drift = np.outer(t, slope.astype(float))

    def predicted(rows: Any) -> Array:
        return np.asarray(float(gain) * x.astype(float) + (drift + table.astype(float)[rows])[:, :, None, None])

    seen.predictions = {
        -1: predicted(labels),
        NULL: predicted(np.full(len(x), null)),
        0: predicted(np.zeros(len(x), dtype=int)),
        CLASSES - 1: predicted(np.full(len(x), CLASSES - 1)),
    }
    for i, scale in enumerate(SCALES):
        got = take(answer, f"out.{i}", GUIDED, "")[0]
        if got is not None:
            seen.guided[scale] = got
        if not (
            np.array_equal(answer.arrays.get(f"x_after.{i}", np.empty(0)), x)
            and np.array_equal(answer.arrays.get(f"labels_after.{i}", np.empty(0)), labels)
        ):
            seen.changed += ("what guided_noise was given",)
    return answer


def _guided(answer: Answer, seen: ConditionalObservation) -> Finding | None:
    for i, scale in enumerate(SCALES):
        checked = f"guided_noise with scale = {scale:g}"
        got, malformed = take(answer, f"out.{i}", GUIDED, checked)
        if got is None:
            return malformed
        wrong = off(got, reference.guided(seen.predictions[-1], seen.predictions[NULL], scale))
        if wrong:
            meant = {0.0: "the prediction without a class", 1.0: "the prediction for the class"}.get(
                scale, "beyond the prediction for the class, away from the one without"
            )
            return Finding(checked, meant, wrong, "guided_noise", GUIDANCE)
    return None


def _inputs_kept(seen: ConditionalObservation) -> Finding | None:
    if not seen.changed:
        return None
    return Finding(
        "the functions leave their inputs as they are",
        "inputs unchanged after the call",
        f"changed in place: {seen.changed[0]}",
        "companions.py",
    )
