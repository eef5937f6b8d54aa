"""Judges get_loss_noise."""

from __future__ import annotations

from grader.judging.bench import Bench, Judgement
from grader.lab.shared.losses import image_loss, judge_loss


def judge(bench: Bench) -> Judgement:
    return judge_loss(bench, image_loss("noise"), {"timesteps": 1.0, "target": 1.5, "gradient": 0.5})
