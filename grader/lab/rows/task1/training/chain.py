"""Whether drawn points came about by reverse steps from noise, each of which asked the network: link by link.

The process that samples has seen neither data nor weights. All that it learns of the data are the network's answers,
which the grader passes on; so points that hang together with these answers, and with noise no larger than a step's, can
hold nothing from elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from grader.judging.comparison import Array
from grader.judging.draws import odd_draws
from grader.judging.fits import fit
from grader.lab.reference import Schedule, step_tables

# Of what is added to the right mean, in units of sqrt(beta_t): 1 is the larger of the two variances, and steps that are
# wrong in their scales or deterministic stay below this as well. Noise of twice the variance is not a step's any more.
LARGEST = 1.4
FARTHEST = 3.0  # of which no step of any kind moves x_t farther
ROUNDING = 2e-4  # of values up to about 4 in float32, through a handful of operations
KURTOSIS = (2.8, 3.2)  # of Gaussian noise, 3; over millions of numbers
MEMORY = 0.02  # largest correlation of a step's noise with that of the step before


class Link(IntEnum):
    """How one step hangs together with the network's answer, the best first."""

    STEP = 0  # a reverse step, of whichever variance
    OTHER_TARGET = 1  # a reverse step of a network that predicts x_0
    OTHER_STEP = 2  # x_t, the answer and noise, but in other parts than a reverse step
    BROKEN = 3  # something else comes in


@dataclass
class Chain:
    """The calls of the network while points are drawn, in order, each checked against the next.

    What is kept of a step are a few numbers; `x`, `out` are of the last call only, (n, 2).
    """

    schedule: Schedule
    points: int
    steps: list[float] = field(default_factory=list)  # t of each call, repeated ones left out
    links: list[Link] = field(default_factory=list)
    noise: list[float] = field(default_factory=list)  # what was added to the mean, in units of sqrt(beta_t)
    oddities: list[str] = field(default_factory=list)  # about calls and noise, in words
    _x: Array | None = None
    _out: Array | None = None
    _z: Array | None = None
    _fourth: list[float] = field(default_factory=list)
    _again: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.noise_steps = step_tables(self.schedule, "noise", "beta")
        self.x0_steps = step_tables(self.schedule, "x0", "beta")

    def called(self, x: NDArray[np.float32], t: NDArray[np.float32], out: NDArray[np.float32]) -> None:
        """The network was asked for x (n, 2) at t (n,), and answered `out` (n, 2)."""
        if len(x) != self.points:
            self._odd(f"the network was asked about {len(x):,} points at a time, not {self.points:,}")
        if (t != t[0]).any():
            self._odd("the network was asked about several t at a time")
        if self._x is None:
            odd = odd_draws(x.astype(float)) if len(x) > 100 else None
            if odd:
                self._odd(f"the start does not look like N(0, I): {odd}")
        elif self.steps[-1] == float(t[0]) and np.array_equal(self._x, x):
            return
        else:
            self._link(x)
        self.steps.append(float(t[0]))
        self._x, self._out = x.astype(float), out.astype(float)

    def ended(self, points: NDArray[np.float64]) -> None:
        """What p_sample_loop returned, (n, 2) and finite."""
        if self._x is None:
            self._odd("the network was never asked")
            self.links.append(Link.BROKEN)
            return
        self._link(points)
        if len(self.steps) != self.schedule.T:
            self._odd(f"the network was asked at {len(self.steps):,} steps, not {self.schedule.T:,}")
        if self._fourth and not KURTOSIS[0] < np.mean(self._fourth) < KURTOSIS[1]:
            self._odd("what the steps add is not Gaussian")
        if self._again and abs(np.mean(self._again)) > MEMORY:
            self._odd("what one step adds depends on what the one before added")

    @property
    def worst(self) -> Link:
        """Of the links and of what is odd, the worst."""
        return max([Link.OTHER_STEP if self.oddities else Link.STEP, *self.links])

    @property
    def place(self) -> float:
        """t of the first of the worst links."""
        return self.steps[self.links.index(max(self.links))] if self.links and self.steps else float("nan")

    def value_at(self, t: NDArray[np.int64]) -> NDArray[np.float32]:
        """What the network is given for t = 0..T-1: t, unless the submitted code says it in other numbers."""
        known = np.array(self.steps[::-1])
        whole = len(known) == self.schedule.T and bool((np.diff(known) > 0).all())
        return (known[t] if whole else t).astype(np.float32)

    def _odd(self, text: str) -> None:
        if text not in self.oddities and len(self.oddities) < 10:
            self.oddities.append(text)

    def _index(self) -> int:
        """t of the last call as an index: by its place in the chain where the student's t is another number."""
        if 1 < self.steps[0] < self.schedule.T:
            return int(np.clip(self.steps[-1], 0, self.schedule.T - 1))
        return max(0, self.schedule.T - len(self.steps))

    def _link(self, following: NDArray[np.floating]) -> None:
        assert self._x is not None
        assert self._out is not None
        if following.shape != self._x.shape:
            self.links.append(Link.OTHER_STEP)
            self._z = None
            return
        t = self._index()
        size = float(np.sqrt(self.schedule.betas[t]))
        most = LARGEST * size + ROUNDING * (1.0 + float(np.abs(self._x).max()))
        left = following - self.noise_steps.a[t] * self._x - self.noise_steps.b[t] * self._out
        free = fit(left, self._x, self._out, np.ones_like(self._x)).left.reshape(left.shape)
        self.noise.append(float(free.std()) / size)
        if _size(left) <= most:
            link = Link.STEP
        elif _size(following - self.x0_steps.a[t] * self._x - self.x0_steps.b[t] * self._out) <= most:
            link = Link.OTHER_TARGET
        else:
            explained = self.noise[-1] * size <= most and _size(following - self._x) <= FARTHEST * most
            link = Link.OTHER_STEP if explained else Link.BROKEN
        self.links.append(link)
        self._judge_noise(free, size)

    def _judge_noise(self, left: Array, size: float) -> None:
        spread = left.std()
        if spread < 0.2 * size:  # a step without noise
            self._z = None
            return
        z = (left - left.mean()) / spread
        self._fourth.append(float(((z * z) ** 2).mean()))
        if self._z is not None:
            self._again.append(float((z * self._z).mean()))
        self._z = z


def _size(values: Array) -> float:
    """Root mean square."""
    return float(np.sqrt((values * values).mean()))
