"""The judge's bench: what it asks of a submission, and when it stops asking."""

import numpy as np
import pytest

from grader.judging.bench import Bench
from grader.judging.border import Expects
from grader.lab import LAB
from grader.records import Verdict
from grader.sandbox import Answer, ProbeFailure


class Hanging:
    """A sandbox whose answers hang at every t but 3."""

    def __init__(self):
        self.asked = []

    def call(self, half, probe, params, arrays, timeout_s=None, asks=None):
        self.asked.append(params["t"])
        if params["t"] == 3:
            return Answer({})
        raise ProbeFailure(Verdict.TIMEOUT, "did not answer within 20 s", "ddpm.py:1")


def test_code_that_hangs_twice_in_a_row_of_the_rubric_is_not_asked_again():
    sandbox = Hanging()
    bench = Bench(sandbox, "task1", np.random.default_rng(0), LAB.policy())
    verdicts = []
    for t in (0, 3, 1, 2, 3):
        try:
            bench.ask("p_sample", {"t": t}, expects=Expects())
            verdicts.append(Verdict.PASSED)
        except ProbeFailure as failure:
            verdicts.append(failure.verdict)
    hung = Verdict.TIMEOUT
    assert verdicts == [hung, Verdict.PASSED, hung, hung, hung]
    assert sandbox.asked == [0, 3, 1]
    with pytest.raises(ProbeFailure, match="did not answer within 20 s"):
        bench.ask("p_sample", {"t": 3}, expects=Expects())
