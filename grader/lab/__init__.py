"""The course lab on denoising diffusion: whatever in this grader knows DDPM."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grader.labs import COURSE, Half, Lab, Measure, RubricRow

if TYPE_CHECKING:
    from grader.lab.policy import DdpmPolicy
    from grader.policy import Policy
    from grader.records import Row
    from grader.running.evidence import Evidence
    from grader.running.grading import Order

HALVES = (
    Half("task1", "2d_plot_diffusion_todo", "Task 1 · points in the plane", ("network.py", "ddpm.py"), "ddpm.py"),
    Half("task2", "image_diffusion_todo", "Task 2 · images", ("scheduler.py", "model.py"), "scheduler.py"),
)
# Modules of this lab in any edition of it.
FILES = frozenset(
    {
        *(
            "network",
            "ddpm",
            "scheduler",
            "model",
            "module",
            "modules",
            "dataset",
            "engine",
            "chamfer",
            "chamferdist",
            "utils",
        ),
        *("fid", "inception", "sampling", "train", "measure_fid", "models", "networks", "schedulers", "config", "unet"),
        *("diffusion", "variance_scheduler", "base_scheduler", "helpers", "common", "trainer", "engine"),
    }
)
# Packages with schedulers, samplers or losses of diffusion: importing one is no solution of a TODO.
ANSWERS = (
    *("diffusers", "ppdiffusers", "k_diffusion", "denoising_diffusion_pytorch", "guided_diffusion"),
    *("improved_diffusion", "glide_text2im", "dalle2_pytorch", "imagen_pytorch", "audio_diffusion_pytorch", "ldm"),
    *("sgm", "taming", "monai", "generative", "labml_nn", "pl_bolts", "deepinv", "torchcfm", "flow_matching"),
    *("azula", "mmagic", "mmgen", "modelscope", "sdkit", "cleandiffuser", "diffusion_policy", "score_sde_pytorch"),
    *("tinydiffusion", "simple_diffusion", "smalldiffusion", "minimagen", "x_unet", "ddpm_proteins", "bitdiffusion"),
)
CAPTIONS = {
    "q_sample": "q(x_t) at rising t, drawn by calling the q_sample that was handed in.",
    "loss_curve": "The loss of every step as the submitted code says it; the grader's own loss has to lie in the band.",
    "samples": "Points drawn by p_sample_loop after that training, over the points trained on, which are drawn anew.",
    "schedules": "From noise to samples under each schedule: trajectory.png of the results that were handed in.",
    "predictors": "8 samples of each predictor, from the results that were handed in.",
    "fid": "Some of the images that the FID is of.",
    "retrained_loss": "The loss of the model that the grader trained from the submitted code.",
}


class DdpmLab(Lab):
    """The lab with what is more than rows: results of the image half, FID, the student edition."""

    def policy(self, path: Path | None = None) -> DdpmPolicy:
        from grader.lab.policy import DdpmPolicy
        from grader.policy import read_policy

        return read_policy(DdpmPolicy, self.folder / "policy.toml", path)

    def judge_evidence(self, row: RubricRow, evidence: Evidence) -> Row:
        from grader.lab.images.rows import judge_evidence

        return judge_evidence(row, evidence)

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        from grader.lab.images.request import add_options

        add_options(parser)

    def requested(self, options: argparse.Namespace, policy: Any, rows: list[str]) -> tuple[Policy, Any]:
        from grader.lab.images.request import requested

        return requested(options, policy, rows)

    def beyond(self, order: Order) -> tuple[float, int]:
        from grader.lab.images.request import beyond

        return beyond(order)

    def thresholds(self, policy: Any) -> tuple[float, ...]:
        thresholds: tuple[float, ...] = policy.fid.thresholds
        return thresholds

    def verbs(self) -> dict[str, tuple[str, Callable[[list[str]], int]]]:
        from grader.lab import verbs

        return {
            "release": ("write the student edition", verbs.release),
            "check": ("a student's own check of the code in this folder", verbs.check),
            "pack": ("make and validate {ID}_lab1.zip", verbs.pack),
            "fid": ("score a folder of generated images by FID, with its interval", verbs.fid),
        }


LAB = DdpmLab(
    COURSE,
    HALVES,
    name="ddpm-lab",
    title="DDPM lab",
    files=FILES,
    captions=CAPTIONS,
    other_titles={"extra": "Companion exercises · no points"},
    answers=ANSWERS,
    measure=Measure("fid", "FID", "filled: images that the grader drew, hollow: images that were handed in"),
)
