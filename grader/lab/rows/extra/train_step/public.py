"""Public check of the companion exercise train_step in 2d_plot_diffusion_todo/warmup.py."""

import importlib

from grader.lab.edition.warmups import check_cases

EQUATION = "loss = mean of (predicted - eps)^2, predicted = [x_t, t/T] @ w_model    DDPM Eq. 14"
ARGUMENTS = ("x_clean", "w_model", "betas", "alpha_bar", "lr", "seed")
HINT = "which seed belongs to which draw? Is the loss a mean over all N*d entries? Which way is downhill?"


def check() -> None:
    check_cases("train_step", importlib.import_module("warmup").train_step, ARGUMENTS, HINT)
