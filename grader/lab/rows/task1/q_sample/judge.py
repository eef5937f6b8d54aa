"""Judges q_sample: the closed form at every t, its own noise where none is given, inputs left alone."""

from __future__ import annotations

from grader.judging.bench import Bench, Judgement
from grader.judging.findings import judged
from grader.lab.shared.forward import Forward, ForwardRun
from grader.lab.shared.stand_in import draw_network

Q_SAMPLE = Forward("q_sample", sample=(2,), per_t=8, large=(16384, 2))


def judge(bench: Bench) -> Judgement:
    run = ForwardRun(bench, Q_SAMPLE, draw_network(bench, 2))
    checks = [
        judged("closed_form", 2.5, run.closed_form),
        judged("drawn_noise", 1.0, run.drawn_noise),
        judged("inputs_kept", 0.5, run.inputs_kept),
    ]
    return Judgement(checks, [run.seen], run.remarks())
