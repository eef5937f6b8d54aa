"""Judges step_predict_mean."""

from __future__ import annotations

from grader.judging.bench import Bench, Judgement
from grader.lab.shared.reverse import image_step, judge_step


def judge(bench: Bench) -> Judgement:
    return judge_step(bench, image_step("mean"))
