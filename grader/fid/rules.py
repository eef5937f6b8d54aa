"""How a folder of generated images is scored: a section of a lab's policy."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator, model_validator

from grader.policy import Count, Section, Share

Positive = Annotated[float, Field(gt=0, le=1e12)]


class FidPolicy(Section):
    """How a folder of generated images is scored."""

    thresholds: Annotated[tuple[Positive, ...], Field(min_length=1)]
    points: tuple[Annotated[float, Field(ge=0, le=1000)], ...]
    images: Count
    size: Annotated[int, Field(ge=1, le=4096)]
    weights: str
    replicates: Annotated[int, Field(ge=2, le=100_000)]
    confidence: Annotated[float, Field(gt=0, lt=1)]
    duplicates: Share
    copies: Share
    copy_ratio: Positive

    @field_validator("thresholds")
    @classmethod
    def _rising(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if list(values) != sorted(set(values)):
            raise ValueError("thresholds have to rise")
        return values

    @model_validator(mode="after")
    def _falling(self) -> FidPolicy:
        if len(self.points) != len(self.thresholds) or list(self.points) != sorted(self.points, reverse=True):
            raise ValueError(
                f"points = {list(self.points)}: one for each of the {len(self.thresholds)} thresholds is needed, "
                "and they have to fall"
            )
        return self
