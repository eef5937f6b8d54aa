"""Public check of get_loss_x0 in image_diffusion_todo/model.py."""

from grader.lab.edition.losses import check_images_loss

EQUATION = "L = E || x_0 - x_theta(x_t, t) ||^2, mean over all numbers    DDPM Sec. 3.2"
HINT = "the target is the clean image; take the mean, not the sum"


def check() -> None:
    check_images_loss("x0", lambda x_0, x_t, noise, t: x_0, HINT)
