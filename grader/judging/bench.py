"""A judge's work bench, what it observes, and what it hands over."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from grader.judging.border import Answer, Expects, held
from grader.judging.comparison import Arrays
from grader.records import Check, Verdict
from grader.sandbox import Answer as RawAnswer
from grader.sandbox import ProbeFailure, Questions

PATIENCE = 2  # timeouts of one row; a function may hang at one t alone


class Asks(Protocol):
    """The part of a sandbox that a judge sees."""

    def call(
        self,
        half: str,
        probe: str,
        params: dict[str, Any],
        arrays: Arrays,
        timeout_s: float | None = None,
        asks: Questions | None = None,
    ) -> RawAnswer: ...

    def renew(self) -> None: ...

    def beside(self) -> AbstractContextManager[Asks]: ...


@dataclass
class Bench:
    """A judge's work bench: one half of one submission, a private random generator, the policy."""

    sandbox: Asks
    half: str
    rng: np.random.Generator
    policy: Any  # of the lab's own class of Policy
    hung: list[ProbeFailure] = field(default_factory=list)

    def ask(
        self,
        probe: str,
        params: dict[str, Any],
        arrays: Arrays | None = None,
        timeout_s: float | None = None,
        asks: Questions | None = None,
        *,
        expects: Expects,
    ) -> Answer:
        """The answer of a probe, held to what is expected. Raises ProbeFailure where the student's code gave none.

        `asks` answers what the probe asks in turn.
        Code that hung PATIENCE times is not asked again: its row must not use up the time of the other rows.
        """
        if len(self.hung) >= PATIENCE:
            last = self.hung[-1]
            raise ProbeFailure(last.verdict, last.message, last.where)
        try:
            raw = self.sandbox.call(self.half, probe, params, arrays or {}, timeout_s, asks)
            return held(raw, expects)
        except ProbeFailure as failure:
            if failure.verdict is Verdict.TIMEOUT:
                self.hung.append(failure)
            raise

    def renew(self) -> None:
        """Have the next question answered by a fresh process, which remembers nothing."""
        self.sandbox.renew()

    @contextmanager
    def beside(self) -> Iterator[Bench]:
        """A bench of the same submission whose questions go to a sandbox of its own, which starts at once."""
        with self.sandbox.beside() as other:
            yield replace(self, sandbox=other)

    def seed(self) -> int:
        """A fresh seed for the generators inside the sandbox; says nothing about the judge's own draws."""
        return int(self.rng.integers(2**31))

    def normal(self, *shape: int) -> NDArray[np.float32]:
        return self.rng.standard_normal(shape, dtype=np.float32)

    def uniform(self, low: float, high: float, *shape: int) -> NDArray[np.float32]:
        return self.rng.uniform(low, high, shape).astype(np.float32)


class Observation:
    """What was observed of a row: a dataclass of its own for each judge, which its misconceptions match."""

    def draw(self, folder: Path) -> list[str]:
        """Write figures of it to `folder`; the names of the files."""
        return []


@dataclass
class Judgement:
    """Checks of a row with what was observed on the way, for the diagnosis."""

    checks: list[Check] = field(default_factory=list)
    observations: list[Observation] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
