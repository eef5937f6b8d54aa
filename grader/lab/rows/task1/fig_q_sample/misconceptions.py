"""Misconceptions about the strip of q(x_t)."""

from __future__ import annotations

from grader.judging.diagnosis import about

CATALOGUE = about(
    "mean √ᾱ_t E[x_0], variance ᾱ_t Var[x_0] + 1 − ᾱ_t   (DDPM Eq. 4)",
    (
        "strip-moments",
        "the strip's points have another mean or spread than q(x_t)",
        "Look at the row of q_sample: the same function draws this figure.",
        lambda seen: bool(seen.panels),
    ),
)
