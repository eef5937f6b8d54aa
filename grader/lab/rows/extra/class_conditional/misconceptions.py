"""What a wrong answer to the exercise about class labels may mean."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from grader.judging.diagnosis import about
from grader.lab.reference import Array
from grader.lab.rows.extra.class_conditional.judge import (
    DROPOUT,
    EMBEDDING,
    GUIDANCE,
    NULL,
    ConditionalObservation,
    Drop,
)
from grader.lab.shared.companions import changed_in_place

Seen = ConditionalObservation
Test = Callable[[Seen], bool]


def embeds(name: str, *variants: Callable[[Seen], Array]) -> Test:
    """Matches what came of the embedding, with labels ("labels") or without ("none")."""

    def matches(seen: Seen) -> bool:
        got = seen.embedded.get(name)
        if got is None or np.allclose(got, seen.right(name), atol=1e-4):
            return False
        return any(np.allclose(got, variant(seen), atol=1e-4) for variant in variants)

    return matches


def _rows(seen: Seen) -> Array:
    return np.asarray(seen.table[seen.labels])


def _shares(test: Callable[[Drop], bool]) -> Test:
    """Wrong shares for every p strictly between 0 and 1, all recognised by `test`."""

    def matches(seen: Seen) -> bool:
        inner = [drop for drop in seen.drops if drop.some]
        wrong = any(abs(drop.share - drop.p) > 0.02 * max(1.0, drop.spread) for drop in inner)
        return wrong and all(map(test, inner))

    return matches


def _near(share: float, expected: float) -> bool:
    return abs(share - expected) < 0.025


def _one_share(seen: Seen) -> bool:
    shares = [drop.share for drop in seen.drops if drop.some]
    return len(shares) == 2 and abs(shares[0] - shares[1]) < 0.02 and 0.0 < shares[0] < 1.0


def guides(*variants: Callable[[Array, Array, float], Array], null: tuple[int, ...] = (NULL,)) -> Test:
    """Matches the guided prediction at every scale, made of those for the class and for one of the labels `null`."""

    def fits(seen: Seen, label: int, variant: Callable[[Array, Array, float], Array]) -> bool:
        c, u = seen.predictions[-1], seen.predictions[label]
        return all(np.allclose(got, variant(c, u, scale), atol=1e-3) for scale, got in seen.guided.items())

    def matches(seen: Seen) -> bool:
        if not seen.guided or fits(seen, NULL, _right):
            return False
        return any(fits(seen, label, variant) for label in null for variant in variants)

    return matches


def _right(c: Array, u: Array, s: float) -> Array:
    return u + s * (c - u)


CATALOGUE = (
    *about(
        EMBEDDING,
        (
            "class-replaces-time",
            "the class's row takes the place of the time's embedding",
            "The network has to know both: how much noise there is, and of which class the image is.",
            embeds("labels", _rows),
        ),
        (
            "class-multiplied",
            "the two embeddings are multiplied",
            "They are summed, as two shifts of the same features.",
            embeds("labels", lambda seen: seen.time * _rows(seen), lambda seen: seen.time * (1 + _rows(seen))),
        ),
        (
            "class-concatenated",
            "the two embeddings are put side by side",
            "The blocks expect E numbers: the class's row has as many as the time's embedding, and is added to it.",
            lambda seen: seen.embedded_shape == (len(seen.time), 2 * seen.time.shape[1]),
        ),
        (
            "class-ignored",
            "the labels have no effect",
            "Look the labels up in the table, and add the rows.",
            embeds("labels", lambda seen: seen.time, lambda seen: seen.time + seen.table[NULL]),
        ),
        (
            "null-row-left-out",
            "without labels nothing is added",
            "In training a dropped label is null_label, whose row is added. Sampling without a class does the same.",
            embeds("none", lambda seen: seen.time),
        ),
        (
            "null-label-is-a-class",
            "without labels the row of a real class is added",
            "null_label names the row that stands for no class.",
            embeds("none", *(lambda seen, row=row: seen.time + seen.table[row] for row in range(NULL))),
        ),
    ),
    *about(
        DROPOUT,
        (
            "null-label-wrong",
            "a dropped label becomes something else than null_label",
            "Every class 0..num_classes−1 is a real one. What stands for no class is passed in.",
            lambda seen: any(drop.others for drop in seen.drops),
        ),
        (
            "dropout-repeats-itself",
            "the same labels are dropped at every call",
            "A seed that is set inside makes every batch drop the same places.",
            lambda seen: seen.repeated,
        ),
        (
            "dropout-generator-ignored",
            "the generator that was passed in is not used",
            "torch.rand takes it: generator=generator.",
            lambda seen: seen.generator_ignored and not seen.repeated,
        ),
        (
            "dropout-of-whole-batches",
            "the labels of a batch are dropped together",
            "Draw one random number for each label: torch.rand in the shape of labels.",
            lambda seen: any(drop.uneven and drop.spread > 4 for drop in seen.drops),
        ),
        (
            "dropout-of-a-fixed-number",
            "a fixed number of labels is dropped of every batch",
            "Each label is dropped by itself with probability p: in a small batch sometimes none, sometimes several.",
            lambda seen: any(drop.uneven and drop.spread < 1 for drop in seen.drops),
        ),
        (
            "dropout-never",
            "no label is ever dropped",
            "torch.rand lies in [0, 1): it is below p with probability p. Return the new labels, too.",
            _shares(lambda drop: drop.share == 0),
        ),
        (
            "dropout-always",
            "every label is dropped",
            "Only a share of p is to be dropped.",
            _shares(lambda drop: drop.share == 1),
        ),
        (
            "dropout-inverted",
            "labels are kept with probability p instead of dropped",
            "torch.rand is below p with probability p. Which labels does that choose in your code?",
            _shares(lambda drop: _near(drop.share, 1 - drop.p)),
        ),
        ("dropout-share-fixed", "the share that is dropped does not depend on p", "p is passed in.", _one_share),
        (
            "dropout-share-wrong",
            "the share that is dropped is not p",
            "torch.rand is uniform on [0, 1), which torch.randn and sums or products of draws are not.",
            _shares(lambda drop: 0 < drop.share < 1 and not any(_near(drop.share, p) for p in (drop.p, 1 - drop.p))),
        ),
    ),
    *about(
        GUIDANCE,
        (
            "guidance-swapped",
            "the predictions with and without a class are exchanged",
            "At scale 0 the class should have no part in the result, at scale 1 all of it.",
            guides(lambda c, u, s: c + s * (u - c)),
        ),
        (
            "guidance-other-convention",
            "the scale is counted from the prediction for the class",
            "That is the paper's w. Here scale = 1 + w: at scale 1 it is the network's prediction for the class.",
            guides(lambda c, u, s: c + s * (c - u)),
        ),
        (
            "guidance-negative",
            "the guidance leads away from the class",
            "The difference is the prediction with the class minus the one without.",
            guides(lambda c, u, s: u + s * (u - c), lambda c, u, s: c - s * (c - u)),
        ),
        (
            "guidance-not-a-difference",
            "the two predictions are added up",
            "At scale 1 both terms with ε_uncond cancel. Look at the brackets.",
            guides(lambda c, u, s: u + s * c, lambda c, u, s: u + s * c - u, lambda c, u, s: u + s * (c + u)),
        ),
        (
            "guidance-difference-alone",
            "only the scaled difference is returned",
            "The difference is a direction. It is added to the prediction without a class.",
            guides(lambda c, u, s: s * (c - u)),
        ),
        (
            "guidance-scale-ignored",
            "the scale has no effect",
            "One of the two predictions alone comes back.",
            guides(lambda c, u, s: c, lambda c, u, s: u),
        ),
        (
            "guidance-null-label",
            "the prediction without a class is asked for with another label than null_label",
            "Every class 0..num_classes−1 is a real one. What stands for no class is passed in.",
            guides(_right, null=(0, 9)),
        ),
    ),
    changed_in_place("labels-changed-in-place", GUIDANCE, "An assignment to labels[...]"),
)
