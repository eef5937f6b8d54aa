"""A mistake that only the strip shows: its T is that of the notebook."""

from __future__ import annotations

from grader.judging.made_up import Case, Style

MISTAKES: tuple[Case, ...] = (
    Case(
        "fig_q_sample-schedule-of-a-hundred-steps",
        "task1.fig_q_sample",
        3.0,  # t = 0, 50 and 100
        "strip-moments",
        bodies={
            "task1.q_sample": """
            abar = extract(self.var_scheduler.alphas_cumprod, t.clamp(max=99), x0)
            xt = abar.sqrt() * x0 + (1 - abar).sqrt() * noise
            """
        },
    ),
)
STYLES: tuple[Style, ...] = ()  # those of q_sample
