"""What every judge shares: asking the sandboxed half, comparing tensors, wording what went wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from grader.records import Check, Verdict
from grader.sandbox import Answer, ProbeFailure

Array = NDArray[np.float64]
Arrays = dict[str, NDArray[Any]]

# With T = 10 and betas from 0.01 to 0.3, right rewrites in float32 agree to 3e-6 and every known mistake moves a
# coefficient by 5e-4 or more: 1e-4 tells them apart.
ATOL = 1e-4
PATIENCE = 2  # timeouts of one row; a function may hang at one t alone
SHORT: dict[str, Any] = {"T": 10, "beta_1": 0.01, "beta_T": 0.3, "mode": "linear"}


class Asks(Protocol):
    """The part of a sandbox that a judge sees."""

    def call(
        self, half: str, probe: str, params: dict[str, Any], arrays: Arrays, timeout_s: float | None = None
    ) -> Answer: ...

    def renew(self) -> None: ...


@dataclass
class Bench:
    """A judge's work bench: one half of one submission, a private random generator, the policy."""

    sandbox: Asks
    half: str
    rng: np.random.Generator
    policy: Any  # of the lab's own class of Policy
    hung: list[ProbeFailure] = field(default_factory=list)

    def ask(
        self, probe: str, params: dict[str, Any], arrays: Arrays | None = None, timeout_s: float | None = None
    ) -> Answer:
        """The raw answer of a probe. Raises ProbeFailure where the student's code gave none.

        Code that hung PATIENCE times is not asked again: its row must not use up the time of the other rows.
        """
        if len(self.hung) >= PATIENCE:
            last = self.hung[-1]
            raise ProbeFailure(last.verdict, last.message, last.where)
        try:
            return self.sandbox.call(self.half, probe, params, arrays or {}, timeout_s)
        except ProbeFailure as failure:
            if failure.verdict is Verdict.TIMEOUT:
                self.hung.append(failure)
            raise

    def renew(self) -> None:
        """Have the next question answered by a fresh process, which remembers nothing."""
        self.sandbox.renew()

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


@dataclass(frozen=True)
class Finding:
    """What is wrong with a computed value, in the order in which a student reads it."""

    checked: str
    expected: str
    got: str
    where: str = ""
    equation: str = ""

    def __str__(self) -> str:
        parts = [
            f"{name}: {getattr(self, name)}"
            for name in ("checked", "expected", "got", "where", "equation")
            if getattr(self, name)
        ]
        return "\n".join(parts)


def judged(check_id: str, maximum: float, judge: Callable[[], Finding | None]) -> Check:
    """Run `judge`: None earns `maximum`, a Finding earns nothing, a ProbeFailure becomes the check's verdict."""
    try:
        finding = judge()
    except ProbeFailure as failure:
        return unanswered(check_id, maximum, failure)
    if finding is None:
        return Check(check_id, Verdict.PASSED, maximum, maximum)
    return Check(check_id, Verdict.FAILED, 0.0, maximum, str(finding))


def unanswered(check_id: str, maximum: float, failure: ProbeFailure) -> Check:
    """The check that a failed probe leaves behind."""
    message = failure.message + (f"\nwhere: {failure.where}" if failure.where else "")
    return Check(check_id, failure.verdict, 0.0, maximum, message)


def asked(call: Callable[[], Answer]) -> Answer | ProbeFailure:
    """The answer, or the failure as a value where several checks share one probe."""
    try:
        return call()
    except ProbeFailure as failure:
        return failure


def answered(answer: Answer | ProbeFailure) -> Answer:
    """Undo `asked`: raise the failure where there is no answer."""
    if isinstance(answer, ProbeFailure):
        raise answer
    return answer


def take(answer: Answer, name: str, shape: tuple[int, ...], checked: str) -> tuple[Array | None, Finding | None]:
    """Tensor `name` of an answer in float64: (tensor, None), or (None, what is wrong with its form)."""
    value = answer.arrays.get(name)
    if value is None:
        return None, Finding(checked, f"a tensor of shape {shape}", "none")
    if value.shape != shape:
        return None, Finding(checked, f"shape {shape}", f"shape {value.shape}")
    if not np.issubdtype(value.dtype, np.floating):
        return None, Finding(checked, "a floating-point tensor", f"dtype {value.dtype}")
    if not np.isfinite(value).all():
        bad = np.argwhere(~np.isfinite(value))
        return None, Finding(
            checked,
            "finite numbers",
            f"{len(bad)} of {value.size} are NaN or infinite, the first at {list(map(int, bad[0]))}",
        )
    return value.astype(np.float64), None


def off(got: Array, expected: Array, atol: float = ATOL) -> str | None:
    """None where `got` equals `expected` to `atol` (absolute, and relative to values above 1); else the worst place."""
    error = np.abs(got - expected) / np.maximum(1.0, np.abs(expected))
    if not error.size or error.max() <= atol:
        return None
    worst = np.unravel_index(int(error.argmax()), error.shape)
    place = f" at {[int(i) for i in worst]}" if got.ndim else ""
    return (
        f"off by up to {abs(got[worst] - expected[worst]):.3g}{place}: {got[worst]:.5g} where "
        f"{expected[worst]:.5g} is expected (shape {got.shape})"
    )


def not_standard_normal(z: Array) -> str | None:
    """None where z (B, ...) looks like independent draws from N(0, 1), else how it does not.

    Every bound is six standard errors or more of its statistic, so that a right answer fails once in 10^8 runs.
    """
    flat = z.reshape(len(z), -1)
    n, (batch, width) = flat.size, flat.shape
    mean, std = flat.mean(), flat.std()
    # Shared noise first, on standardised values: few independent draws also move mean and spread.
    unit = (flat - mean) / (std or 1.0)
    across = np.sqrt(width) * unit.mean(axis=1)  # N(0, 1) per sample if the features are independent
    if abs(across.var() - 1.0) > 8.0 * np.sqrt(2.0 / batch):
        return "the coordinates of a sample share their noise"
    down = np.sqrt(batch) * unit.mean(axis=0)  # N(0, 1) per feature if the samples are independent
    if (np.abs(down) > 8.0).any():
        return "the samples of a batch share their noise"
    if abs(std - 1.0) > 6.0 / np.sqrt(2.0 * n):
        return f"standard deviation {std:.4f} over {n} values"
    if abs(mean) > 6.0 / np.sqrt(n):
        return f"mean {mean:.4f} over {n} values"
    tails = (flat**4).mean() - 3.0
    if abs(tails) > 8.0 * np.sqrt(24.0 / n):
        return f"excess kurtosis {tails:.2f}: the draws are not Gaussian"
    return None


def lines_up(check_ids: list[str], maxima: list[float], failure: ProbeFailure) -> list[Check]:
    """The same failure for each of several checks."""
    return [unanswered(i, m, failure) for i, m in zip(check_ids, maxima, strict=True)]
