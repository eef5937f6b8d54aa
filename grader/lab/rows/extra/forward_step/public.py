"""Public check of the companion exercise forward_step in 2d_plot_diffusion_todo/ddpm.py."""

from __future__ import annotations

import torch

from grader.lab.edition.compare import T, golden
from grader.lab.edition.steps import INT_FIRST, POINTS, check_draws, filled, with_any_t
from grader.lab.edition.yours import new_diffusion

EQUATION = "q(x_t | x_{t-1}) = N(sqrt(1 - beta_t) x_{t-1}, beta_t I)    DDPM Eq. 2"
HINTS = {
    "t0": "",  # the forward step adds noise at every t
    "mean": "one step: which table belongs to a single t, beta or alpha-bar? And where is a root?",
    "spread": "beta_t is a variance: what multiplies z? Is there one draw a number?",
}


def check() -> None:
    point = torch.tensor([1.5, -0.8])
    for t in (0, 1, 5, T - 1):
        x_prev = filled(point, POINTS)
        where = f"forward_step in ddpm.py, t = {t}, x_prev {POINTS}"
        got = with_any_t(lambda form, x=x_prev: new_diffusion().forward_step(x, form), t, POINTS, INT_FIRST)
        mean, spread = point * golden("chain.of_x")[t], golden("chain.of_noise")[t].item()
        check_draws(got, POINTS, mean, spread, where, HINTS)
