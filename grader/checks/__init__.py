"""Judges of the rubric's rows: each draws inputs, asks a probe, and compares with the reference."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from grader.checks.base import Bench, Judgement
from grader.checks.companions_chain import judge_forward_step, judge_naive_skip
from grader.checks.companions_images import judge_diffusers_parity, judge_fast_sample
from grader.checks.companions_labels import judge_class_conditional
from grader.checks.companions_plane import judge_sampler_loop, judge_train_step
from grader.checks.cosine import judge_cosine
from grader.checks.forward import judge_add_noise, judge_q_sample
from grader.checks.loop import judge_p_sample_loop
from grader.checks.losses import judge_compute_loss, judge_image_loss
from grader.checks.reverse import judge_image_step, judge_p_sample
from grader.checks.simplenet import judge_simplenet
from grader.checks.training import judge_strip, judge_training

JUDGES: dict[str, Callable[[Bench], Judgement]] = {
    "task1.simplenet": judge_simplenet,
    "task1.q_sample": judge_q_sample,
    "task1.p_sample": judge_p_sample,
    "task1.p_sample_loop": judge_p_sample_loop,
    "task1.compute_loss": judge_compute_loss,
    "task1.fig_q_sample": judge_strip,
    "task1.training": judge_training,
    "task2.add_noise": judge_add_noise,
    "task2.cosine": judge_cosine,
    "task2.step_noise": partial(judge_image_step, predictor="noise"),
    "task2.step_x0": partial(judge_image_step, predictor="x0"),
    "task2.step_mean": partial(judge_image_step, predictor="mean"),
    "task2.loss_noise": partial(judge_image_loss, predictor="noise"),
    "task2.loss_x0": partial(judge_image_loss, predictor="x0"),
    "task2.loss_mean": partial(judge_image_loss, predictor="mean"),
    "extra.forward_step": judge_forward_step,
    "extra.train_step": judge_train_step,
    "extra.sampler_loop": judge_sampler_loop,
    "extra.naive_skip": judge_naive_skip,
    "extra.fast_sample": judge_fast_sample,
    "extra.class_conditional": judge_class_conditional,
    "extra.diffusers_parity": judge_diffusers_parity,
}

__all__ = ["JUDGES", "Bench", "Judgement"]
