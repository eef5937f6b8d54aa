"""Judges compute_loss."""

from __future__ import annotations

from grader.judging.bench import Bench, Judgement
from grader.lab.shared.losses import Loss, judge_loss

COMPUTE_LOSS = Loss("compute_loss", "compute_loss", "noise", (2,))


def judge(bench: Bench) -> Judgement:
    return judge_loss(bench, COMPUTE_LOSS, {"timesteps": 1.5, "target": 2.0, "gradient": 0.5})
