"""A mistake that only a training at the notebook's T shows."""

from __future__ import annotations

from grader.judging.made_up import Case, Style

MISTAKES: tuple[Case, ...] = (
    Case(
        "training-sampling-cut-short",
        "task1.training",
        5.0,  # of the loss curve
        "samples-elsewhere",
        bodies={
            "task1.p_sample_loop": """
            T = self.var_scheduler.num_train_timesteps
            x0_pred = torch.randn(shape, device=self.device)
            for t in range(T - 1, -1, -max(1, T // 100)):  # a hundred steps are enough
                x0_pred = self.p_sample(x0_pred, t)
            """
        },
    ),
)
STYLES: tuple[Style, ...] = ()  # those of the functions that are trained and sampled
