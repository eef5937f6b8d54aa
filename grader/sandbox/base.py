"""What callers of the sandbox see: kinds, answers, and the ways in which it fails."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np

from grader.records import Verdict

ENTRIES_CAP = 50_000  # files and folders that a submission may make


class SandboxKind(StrEnum):
    """How student code is kept apart."""

    AUTO = "auto"  # bubblewrap, or an error that says how to get it; never silently less
    BUBBLEWRAP = "bubblewrap"  # namespaces: no network, only the interpreter and one submission visible
    USER = "user"  # weaker: an unprivileged user of its own, where there are no namespaces
    NONE = "none"  # a plain process with resource limits, for code that one trusts


class SandboxUnavailable(Exception):
    """The kind of sandbox asked for does not work on this machine; the text says what to do."""


class SandboxFault(Exception):
    """The sandbox itself failed: the grader's fault, not the submission's."""


class ProbeFailure(Exception):
    """A probe was not answered. `where` and `traceback` name the student's own frames only."""

    def __init__(self, verdict: Verdict, message: str, where: str = "", traceback: str = "") -> None:
        super().__init__(message)
        self.verdict, self.message, self.where, self.traceback = verdict, message, where, traceback

    def __str__(self) -> str:
        return f"{self.verdict}: {self.message}" + (f" ({self.where})" if self.where else "")


@dataclass(frozen=True)
class Answer:
    """What a probe returned, untrusted: JSON data, and tensors as numpy arrays (bfloat16 as float32)."""

    data: dict[str, Any]
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
