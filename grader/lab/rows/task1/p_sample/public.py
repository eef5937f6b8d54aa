"""Public check of p_sample in 2d_plot_diffusion_todo/ddpm.py."""

from __future__ import annotations

from grader.lab.edition.compare import golden
from grader.lab.edition.steps import INT_FIRST, POINTS, check_reverse_step
from grader.lab.edition.yours import constant_network, new_diffusion

EQUATION = "p(x_{t-1} | x_t) = N(mu_theta(x_t, t), beta-tilde_t I)    DDPM Eq. 11 and Sec. 3.2"


def check() -> None:
    network = constant_network(golden("step_out")[:2])
    check_reverse_step(
        lambda x_t, t: new_diffusion(network).p_sample(x_t, t), "p_sample in ddpm.py", "noise", POINTS, INT_FIRST
    )
