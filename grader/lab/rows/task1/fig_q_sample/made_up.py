"""A mistake that only the strip shows: its T is near that of the notebook."""

from __future__ import annotations

from grader.judging.made_up import Case, Style

MISTAKES: tuple[Case, ...] = (
    Case(
        "fig_q_sample-schedule-cut-short",
        "task1.fig_q_sample",
        3.0,  # the panels before that t
        "strip-moments",
        bodies={
            "task1.q_sample": """
            last = max(20, int(0.13 * len(self.var_scheduler.betas)))
            abar = extract(self.var_scheduler.alphas_cumprod, t.clamp(max=last), x0)
            xt = abar.sqrt() * x0 + (1 - abar).sqrt() * noise
            """
        },
    ),
)
STYLES: tuple[Style, ...] = ()  # those of q_sample
