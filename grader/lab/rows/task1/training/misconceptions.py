"""Typical loss curves and sets of points of the 2D training, and what is behind them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from grader.judging.diagnosis import about
from grader.lab.rows.task1.training.chain import Link
from grader.lab.rows.task1.training.judge import LOSS, TAIL, TrainingObservation
from grader.lab.swiss_roll import nearest


def _curve(test: Callable[[TrainingObservation], bool]) -> Callable[[TrainingObservation], bool]:
    """A test of a finished, finite loss curve, where the grader's own loss says as well that something is wrong."""

    def matches(seen: TrainingObservation) -> bool:
        return len(seen.losses) > TAIL and bool(np.isfinite(seen.losses).all()) and not seen.learnt and test(seen)

    return matches


def _points(test: Callable[[TrainingObservation], bool]) -> Callable[[TrainingObservation], bool]:
    def matches(seen: TrainingObservation) -> bool:
        return seen.points is not None and bool(np.isfinite(seen.points).all()) and seen.chamfer > 0 and test(seen)

    return matches


def _noisy(seen: TrainingObservation) -> bool:
    """Neighbouring steps differ by more than a mean over a batch of 128 allows, and the end is no lower."""
    tail = seen.losses[-TAIL:]
    return bool(tail.std() > 0.5 * tail.mean() and seen.end > 0.36)


def _not_finite(seen: TrainingObservation) -> bool:
    return seen.not_finite or not np.isfinite(seen.losses).all()


def _invented(seen: TrainingObservation) -> bool:
    """The submission's own curve ends where a right one does, the grader's loss on its network does not."""
    low, high = seen.loss_range
    return low <= seen.end <= high


def _elsewhere_from(link: Link) -> Callable[[TrainingObservation], bool]:
    return _points(lambda seen: seen.chain is not None and bool(seen.chain.links) and max(seen.chain.links) is link)


def _steps_right(seen: TrainingObservation) -> bool:
    """Every link is a reverse step with one of the two variances, once for each t."""
    chain = seen.chain
    if chain is None or chain.worst is not Link.STEP or len(chain.noise) != seen.schedule.T:
        return False
    right = np.sqrt(seen.schedule.posterior_variance / seen.schedule.betas)[::-1]
    got = np.array(chain.noise)
    return any(bool((np.abs(got[:-1] - sigma[:-1]) < 0.1).all()) for sigma in (right, np.ones_like(right)))


def _noise_off(seen: TrainingObservation) -> bool:
    """Most links have noise of a size that neither variance gives."""
    chain = seen.chain
    return chain is not None and bool(chain.noise) and not 0.9 < float(np.median(chain.noise)) < 1.1


def _collapsed(seen: TrainingObservation) -> bool:
    return bool(np.asarray(seen.points, dtype=float).std() < 0.3 * np.sqrt(seen.target_variance))


def _blurred(seen: TrainingObservation) -> bool:
    """About the right place and spread, but points lie between the turns of the roll as well as on them."""
    points = np.asarray(seen.points, dtype=float)
    ratio = points.std() / np.sqrt(seen.target_variance)
    away = nearest(points, seen.target.astype(float))
    return bool(0.7 < ratio < 1.4 and np.median(away) < 0.1)


CATALOGUE = about(
    LOSS,
    (
        "curve-not-finite",
        "the loss or the samples become NaN or infinite",
        "Look for a division by zero or a root of a negative number at the ends of the schedule, t = 0 and t = T − 1.",
        _not_finite,
    ),
    (
        "curve-noisy-plateau",
        "the loss jumps about instead of settling",
        "One t for the whole batch, or a sum instead of a mean, makes the loss of a step depend on luck.",
        _curve(_noisy),
    ),
    (
        "curve-flat-at-one",
        "the loss stays at 1: nothing is learnt about the noise",
        "1 is the variance of the noise, the loss of a network that always answers 0. Is the target the noise that "
        "is inside x_t, and does the gradient reach the network?",
        _curve(lambda seen: 0.9 < seen.end < 1.1),
    ),
    (
        "curve-flat-at-two",
        "the loss stays near 2: the target is other noise than that in x_t",
        "The difference of two independent draws has variance 2. Draw once, and use the same tensor twice.",
        _curve(lambda seen: 1.8 < seen.end < 2.2),
    ),
    (
        "curve-not-the-networks",
        "the loss that compute_loss returned is not the network's",
        "The grader took the loss of the trained network itself, and it is another. What does compute_loss compare, "
        "and is it the network of the module that is trained?",
        _curve(_invented),
    ),
    (
        "curve-falls-to-zero",
        "the loss falls to almost nothing: the answer is in the input",
        "Noise cannot be known so well from x_t. Is the network shown its own target, or is the target x_t?",
        _curve(lambda seen: seen.end < 0.2),
    ),
    (
        "curve-time-ignored",
        "the loss ends above what a network that knows t reaches",
        "Without t, or with a wrong one, the network has to give one answer for all noise levels. Check that t "
        "reaches every layer that needs it, and that x_t is made at the same t.",
        _curve(lambda seen: 0.36 < seen.end <= 0.55),
    ),
    (
        "curve-at-the-datas-variance",
        "the loss is of the size of the data's variance: the target is not the noise",
        "The points' coordinates vary more than the noise. Which of the two is your target made of?",
        _curve(lambda seen: 0.6 * seen.target_variance < seen.end < 1.4 * seen.target_variance),
    ),
    (
        "curve-too-high",
        "the loss ends too high",
        "Look at the rows of the single functions first: a mistake there shows here as well.",
        _curve(lambda seen: seen.end > 0.36),
    ),
    (
        "samples-from-elsewhere",
        "the points do not come out of the chain of reverse steps",
        "Each x_{t−1} is made of x_t, of what the network answers for x_t and t, and of fresh noise: look for a step "
        "that leaves one of them out, or that puts in something else.",
        _elsewhere_from(Link.BROKEN),
    ),
    (
        "samples-network-weak",
        "the steps are right, but the network has not learnt enough for them",
        "The grader saw every reverse step, with the right noise, at every t: what is left is the network. Let t reach "
        "each layer (a TimeLinear each), and see that its width and depth are what dim_hids says.",
        _points(_steps_right),
    ),
    (
        "samples-step-noise",
        "the noise of the reverse steps has another size than either variance gives",
        "Mind that beta-tilde is a variance, whose square root multiplies z, and that every step but t = 0 has noise.",
        _points(_noise_off),
    ),
    (
        "samples-collapsed",
        "the points drawn lie closer together than the data",
        "Too little noise on the way, or a mean that is drawn to the middle: look at the reverse step.",
        _points(_collapsed),
    ),
    (
        "samples-blurred",
        "the points follow the data, but too loosely",
        "Where the loss is right, the last steps decide about sharpness: the variance at small t, and t = 0 without "
        "noise.",
        _points(_blurred),
    ),
    (
        "samples-elsewhere",
        "the points drawn are not where the data is",
        "Where the loss is right, the reverse step or its loop is not: look at their rows.",
        _points(lambda seen: True),
    ),
)
