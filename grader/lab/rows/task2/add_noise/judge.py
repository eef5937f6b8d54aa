"""Judges add_noise: as q_sample on images, and the second value that it returns is the noise inside x_t."""

from __future__ import annotations

from functools import partial

from grader.judging.bench import Bench, Judgement
from grader.judging.border import Answer
from grader.judging.comparison import Array, off, take
from grader.judging.findings import answered, judged
from grader.lab.shared.forward import EQUATION, Forward, ForwardObservation, ForwardRun, ReturnedNoise
from grader.records import Finding

ADD_NOISE = Forward("add_noise", sample=(3, 6, 5), per_t=3, large=(128, 3, 12, 10))
RETURNED = "the second value that add_noise returns"


def judge(bench: Bench) -> Judgement:
    run = ForwardRun(bench, ADD_NOISE, {})
    checks = [
        judged("closed_form", 2.0, run.closed_form),
        judged("drawn_noise", 1.0, run.drawn_noise),
        judged("returned_noise", 0.5, partial(_returned_noise, run)),
        judged("inputs_kept", 0.5, run.inputs_kept),
    ]
    return Judgement(checks, [run.seen], run.remarks())


def _returned_noise(run: ForwardRun) -> Finding | None:
    given, drawn = answered(run.given), answered(run.drawn)
    of_given = _other_noise(given, run.given_inputs["noise"].astype(float), ReturnedNoise.NOT_THE_GIVEN, run.seen)
    if of_given:
        return of_given
    xt, malformed = take(drawn, "xt", run.drawn_inputs["x0"].shape, RETURNED)
    if xt is None:
        return malformed
    return _other_noise(drawn, run.implied_noise(xt), ReturnedNoise.NOT_THE_DRAWN, run.seen)


def _other_noise(answer: Answer, used: Array, other: ReturnedNoise, seen: ForwardObservation) -> Finding | None:
    """What came back beside x_t where it is not the noise that was used."""
    eps, malformed = take(answer, "eps", used.shape, RETURNED)
    if eps is None:
        seen.returned = ReturnedNoise.MALFORMED if "eps" in answer.misfits else ReturnedNoise.ABSENT
        return malformed
    wrong = off(eps, used, atol=1e-3)  # dividing by b_t enlarges float32 rounding
    if wrong is None:
        return None
    seen.returned = other
    return Finding(RETURNED, "the very noise that went into x_t", wrong, "add_noise", EQUATION)
