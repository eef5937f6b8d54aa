"""Runs student code in a sandboxed worker and asks it probes (see grader/worker)."""

from grader.sandbox.base import Answer, ProbeFailure, SandboxFault, SandboxKind, SandboxUnavailable
from grader.sandbox.kinds import resolve
from grader.sandbox.questions import Questions
from grader.sandbox.session import Sandbox

__all__ = [
    "Answer",
    "ProbeFailure",
    "Questions",
    "Sandbox",
    "SandboxFault",
    "SandboxKind",
    "SandboxUnavailable",
    "resolve",
]
