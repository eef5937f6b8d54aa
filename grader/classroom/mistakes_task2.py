"""All made-up mistakes in the image half: each the solved lab with one TODO body replaced."""

from __future__ import annotations

from grader.classroom import mistakes_add_noise, mistakes_cosine, mistakes_losses, mistakes_steps
from grader.classroom.cases import Case

CASES: tuple[Case, ...] = (
    mistakes_add_noise.CASES + mistakes_cosine.CASES + mistakes_steps.CASES + mistakes_losses.CASES
)
