"""Public check of get_loss_noise in image_diffusion_todo/model.py."""

from grader.lab.edition.losses import check_images_loss, noise_target

EQUATION = "L = E || eps - eps_theta(x_t, t) ||^2, mean over all numbers    DDPM Eq. 14"
HINT = "compare with the very noise that is in x_t, and take the mean"


def check() -> None:
    check_images_loss("noise", noise_target, HINT)
