"""Public check of compute_loss in 2d_plot_diffusion_todo/ddpm.py."""

from grader.lab.edition.losses import check_points_loss

EQUATION = "L = E || eps - eps_theta(x_t, t) ||^2, mean over all numbers    DDPM Eq. 14"


def check() -> None:
    check_points_loss("compare with the very noise that is in x_t, and take the mean")
