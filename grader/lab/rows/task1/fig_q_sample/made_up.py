"""A mistake that only the strip shows: its T is near that of the notebook."""

from __future__ import annotations

from grader.judging.made_up import Case, Style

MISTAKES: tuple[Case, ...] = (
    Case(
        "fig_q_sample-schedule-cut-short",
        "task1.fig_q_sample",
        1.0,  # the panel t = 0
        "strip-moments",
        bodies={
            "task1.q_sample": """
            abar = extract(self.var_scheduler.alphas_cumprod, t.clamp(max=14), x0)
            xt = abar.sqrt() * x0 + (1 - abar).sqrt() * noise
            """
        },
    ),
)
STYLES: tuple[Style, ...] = ()  # those of q_sample
