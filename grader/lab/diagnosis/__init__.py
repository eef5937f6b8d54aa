"""TEMPORARY: what the companion exercises' tests read until these have moved into their rows' folders."""

from __future__ import annotations

from grader.lab.diagnosis import companions_images, companions_plane
from grader.lab.diagnosis.base import Misconception

CATALOGUE: tuple[Misconception, ...] = (*companions_plane.CATALOGUE, *companions_images.CATALOGUE)


__all__ = ["CATALOGUE", "Misconception"]
