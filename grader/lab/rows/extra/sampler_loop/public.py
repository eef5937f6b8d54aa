"""Public check of the companion exercise sample in 2d_plot_diffusion_todo/warmup.py."""

import importlib

from grader.lab.edition.warmups import check_cases

EQUATION = "x_{t-1} = mu_theta(x_t, t) + sqrt(beta_t) z, z = 0 at t = 0    DDPM Eq. 11, Algorithm 2"
ARGUMENTS = ("w_model", "shape", "betas", "alpha_bar", "seed")
HINT = "a new generator for each step, seeded with seed + 100 + t; sqrt(beta_t) times the draw; none at t = 0"


def check() -> None:
    check_cases("sampler_loop", importlib.import_module("warmup").sample, ARGUMENTS, HINT)
