"""What the judges of companion exercises share. These have 0 points; one that was left alone is `missing`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial

from grader.judging.bench import Judgement, Observation
from grader.judging.border import Answer
from grader.judging.diagnosis import Misconception
from grader.judging.findings import all_unanswered, asked, judged
from grader.records import Finding, Verdict
from grader.sandbox import ProbeFailure

Look = Callable[[Answer], Finding | None]


def unless_left_alone(failure: ProbeFailure) -> ProbeFailure:
    """A companion exercise whose placeholder stands is not wanted: `missing`, not `not_implemented`."""
    if failure.verdict is not Verdict.NOT_IMPLEMENTED:
        return failure
    return ProbeFailure(Verdict.MISSING, f"left alone, as companion exercises may be: {failure.message}", failure.where)


def judge_companion(ask: Callable[[], Answer], seen: Observation, checks: Mapping[str, Look]) -> Judgement:
    """Checks of the one answer that `ask` gets and writes down in `seen`. Without one, nothing else is asked."""
    answer = asked(ask)
    if isinstance(answer, ProbeFailure):
        return none_answered(checks, answer)
    return Judgement([judged(name, 0.0, partial(look, answer)) for name, look in checks.items()], [seen])


def none_answered(checks: Iterable[str], failure: ProbeFailure) -> Judgement:
    """An exercise that gave no answer at all."""
    names = list(checks)
    return Judgement(all_unanswered(names, [0.0] * len(names), unless_left_alone(failure)))


def inputs_kept(function: str, changed: Iterable[str]) -> Finding | None:
    """Whether a function left its inputs as they are; `changed` names those that it did not."""
    names = " and ".join(changed)
    if not names:
        return None
    checked = f"{function} leaves its inputs as they are"
    return Finding(checked, "inputs unchanged after the call", f"{names} changed in place", function)


def changed_in_place(id_: str, equation: str, example: str) -> Misconception:
    """The misconception behind a finding of `inputs_kept`, about observations with `changed`."""
    hint = f"{example} writes into the tensor that was passed in, which the caller may still need."
    title = "the caller's tensors are changed in place"
    return Misconception(id_, title, hint, equation, lambda seen: bool(seen.changed))
