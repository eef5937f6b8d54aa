"""Judges get_loss_mean."""

from __future__ import annotations

from grader.judging.bench import Bench, Judgement
from grader.lab.shared.losses import image_loss, judge_loss


def judge(bench: Bench) -> Judgement:
    return judge_loss(bench, image_loss("mean"), {"timesteps": 1.0, "target": 2.0, "target_t0": 0.5, "gradient": 0.5})
