"""What an instructor decides in this lab; `policy.toml` has the values and says what each key means."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field, model_validator

from grader.fid.rules import FidPolicy
from grader.policy import Count, Limits, Policy, Seconds, Section

Points = Annotated[float, Field(ge=0, le=1000)]
Positive = Annotated[float, Field(gt=0, le=1e9)]


class Variance(StrEnum):
    """The variance that a reverse step adds."""

    POSTERIOR = "posterior"  # beta-tilde, DDPM Eq. 7
    BETA = "beta"  # DDPM Sec. 3.2


class ReverseStep(Section):
    """Which variances a reverse step may use."""

    variances: Annotated[tuple[Annotated[Variance, Field(strict=False)], ...], Field(min_length=1)]


class Cosine(Section):
    """Which upper clips of the cosine betas count."""

    clips: Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], Field(min_length=1)]


class TrainingPolicy(Section):
    """Limits of the 2D training: wall time of training and of sampling, where the grader's loss may lie, distances."""

    seconds: Seconds
    loss_range: tuple[Points, Points]
    chamfer_full: Positive
    chamfer_part: Positive
    chamfer_band: Annotated[float, Field(ge=0, le=10)]

    @model_validator(mode="after")
    def _ordered(self) -> TrainingPolicy:
        if not self.loss_range[0] < self.loss_range[1]:
            raise ValueError(f"loss_range = {list(self.loss_range)}: the lower limit comes first")
        if not self.chamfer_full <= self.chamfer_part:
            raise ValueError("chamfer_full has to be at most chamfer_part: a smaller distance is a better one")
        return self


class ImageRuns(Section):
    """How the grader draws images with submitted code, and trains it."""

    sampling_s: Seconds
    drawn_at_once: Count
    memory_mib: Annotated[int, Field(ge=512, le=10**7)]
    answer_mib: Count
    batch: Count
    lr: Annotated[float, Field(gt=0, le=1)]
    warmup: Annotated[int, Field(ge=0, le=10**9)]
    ema: Annotated[float, Field(ge=0, lt=1)]
    steps: Count


class DdpmPolicy(Policy):
    """All sections of policy.toml."""

    reverse_step: ReverseStep
    cosine: Cosine
    training: TrainingPolicy
    fid: FidPolicy
    image_runs: ImageRuns
    limits: Limits
