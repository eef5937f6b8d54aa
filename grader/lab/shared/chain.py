"""A loop over reverse steps: where it starts, the order of t, what goes from one step into the next, what comes back.

The step is a stand-in, x -> gain x + offset[t], which records what it is shown. A loop that has the step written into
it never calls the stand-in: it is known by what its network was shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import takewhile
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from grader.judging.bench import Bench
from grader.judging.comparison import ATOL, Array, off

PAST_T = 3  # entries of the offset table beyond T, for loops that run over
Calls = Annotated[list[Annotated[list[float], Field(min_length=2, max_length=2)]], Field(max_length=20_000)]
Slack = Callable[[int], float]  # how far the state after step k may be from what step k gives


class Returned(StrEnum):
    """Which state a loop returned."""

    LAST = "the result of the last step"
    FIRST = "the points it started from"
    EARLIER = "an earlier state"
    OTHER = "something else"


@dataclass(frozen=True)
class Chain:
    """The steps that a loop took: the t of each (NaN where a call mixed several), what it was given, what came back."""

    ts: list[float]
    states: list[Array]  # (B, D) each; a loop that never ends is recorded in part, so they may be fewer than ts
    result: Array

    def known(self, most: int) -> bool:
        """Whether it was recorded what every step was given; of a loop that never ends, of the first `most`."""
        return len(self.states) >= min(len(self.ts), most)

    @property
    def start(self) -> Array | None:
        return self.states[0] if self.states else None

    def after_stand_in(self, gain: float, offset: NDArray[Any]) -> list[Array]:
        """What the stand-in gave in each step, recomputed; nothing for what it cannot have been given."""
        return [
            gain * x + offset[nearest_index(t, len(offset))].astype(float)
            if x.ndim and x.shape[-1] == offset.shape[1]
            else np.empty(0)
            for x, t in zip(self.states, self.ts, strict=False)
        ]

    def broken_link(self, after: Sequence[Array], slack: Slack = lambda k: ATOL) -> int | None:
        """The first step k > 0 that was not given what the step before it returned; `after` is what each returned."""
        for k in range(1, len(self.states)):
            given, due = self.states[k], after[k - 1]
            if given.shape != due.shape or off(given, due, slack(k - 1)):
                return k
        return None

    def returned(self, after: Sequence[Array], slack: Slack = lambda k: ATOL) -> Returned:
        """Which of the states came back; `after` is what each step returned."""
        if not self.states or self.result.shape != self.states[0].shape:
            return Returned.OTHER
        if off(self.result, after[-1], slack(len(after) - 1)) is None:
            return Returned.LAST
        if np.array_equal(self.result, self.states[0]):
            return Returned.FIRST
        earlier = [state for state in (*self.states[1:], *after[:-1]) if state.shape == self.result.shape]
        return Returned.EARLIER if any(off(self.result, state) is None for state in earlier) else Returned.OTHER


def offset_table(bench: Bench, T: int, features: int) -> NDArray[np.float32]:
    """The stand-in's offsets, (T + 3, features). The last step leads far from [-1, 1]: a clamped result shows."""
    offset = bench.normal(T + PAST_T, features)
    offset[0] = np.sign(offset[0]) * 8
    return offset


def draw_gain(bench: Bench) -> float:
    """Of the stand-in: below 1, so that a chain of any length stays small."""
    return float(bench.rng.uniform(0.65, 0.85))


def of_stand_in(arrays: Mapping[str, NDArray[Any]], calls: Sequence[Sequence[float]], of: str = "") -> Chain:
    """The chain that the stand-in saw. calls: least and largest t of each; of: which loop of several, such as ".3"."""
    ts = [low if low == high else float("nan") for low, high in calls]
    names = takewhile(arrays.__contains__, (f"shown{of}.{k}" for k in range(len(ts))))
    return Chain(ts, [arrays[name].astype(float) for name in names], _result(arrays, of))


def _result(arrays: Mapping[str, NDArray[Any]], of: str) -> Array:
    """What a loop returned; nothing where that is no tensor to speak of, as its own check says."""
    return arrays.get(f"out{of}", np.empty(0)).astype(float)


def of_network(arrays: Mapping[str, NDArray[Any]], calls: int, of: str = "") -> Chain:
    """The chain that the network saw in `calls` calls, of a loop that has the step written into it."""
    names = (f"net{of}.{k}" for k in range(min(calls, len(arrays))))
    seen = [name for name in names if f"{name}.x" in arrays and f"{name}.t" in arrays]
    told = [arrays[f"{name}.t"] for name in seen]
    ts = [float(t.flat[0]) if t.size and np.ptp(t) == 0 else float("nan") for t in told]
    return Chain(ts, [arrays[f"{name}.x"].astype(float) for name in seen], _result(arrays, of))


def nearest_index(t: float, size: int) -> int:
    """Where a table of this size is read for a t that may be anything."""
    return int(np.clip(np.nan_to_num(t), 0, size - 1))


def visited(ts: Sequence[float], T: int) -> str:
    """The timesteps as a student reads them, no more than a few past T."""
    shown = ", ".join("mixed" if np.isnan(t) else f"{t:g}" for t in ts[: T + 4]) or "none"
    return shown + (", …" if len(ts) > T + 4 else "")
