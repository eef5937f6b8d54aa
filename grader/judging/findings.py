"""Checks out of findings and failures: what a judge says of one property of a row."""

from __future__ import annotations

from collections.abc import Callable

from grader.judging.border import Answer
from grader.records import Check, Finding, Verdict
from grader.sandbox import ProbeFailure


def judged(check_id: str, maximum: float, judge: Callable[[], Finding | None]) -> Check:
    """Run `judge`: None earns `maximum`, a Finding earns nothing, a ProbeFailure becomes the check's verdict."""
    try:
        finding = judge()
    except ProbeFailure as failure:
        return unanswered(check_id, maximum, failure)
    if finding is None:
        return Check(check_id, Verdict.PASSED, maximum, maximum)
    return Check.of(check_id, maximum, finding)


def unanswered(check_id: str, maximum: float, failure: ProbeFailure) -> Check:
    """The check that a failed probe leaves behind."""
    message = failure.message + (f"\nwhere: {failure.where}" if failure.where else "")
    return Check(check_id, failure.verdict, 0.0, maximum, message, where=failure.where)


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


def all_unanswered(check_ids: list[str], maxima: list[float], failure: ProbeFailure) -> list[Check]:
    """The same failure for each of several checks."""
    return [unanswered(i, m, failure) for i, m in zip(check_ids, maxima, strict=True)]
