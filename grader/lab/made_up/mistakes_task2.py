"""All made-up mistakes in the image half: each the solved lab with one TODO body replaced."""

from __future__ import annotations

from grader.judging.made_up import Case
from grader.lab.made_up import mistakes_add_noise, mistakes_cosine, mistakes_losses, mistakes_steps

CASES: tuple[Case, ...] = (
    mistakes_add_noise.CASES + mistakes_cosine.CASES + mistakes_steps.CASES + mistakes_losses.CASES
)
