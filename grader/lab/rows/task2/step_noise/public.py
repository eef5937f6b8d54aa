"""Public check of step_predict_noise in image_diffusion_todo/scheduler.py."""

from grader.lab.edition.steps import STEP, check_image_step

EQUATION = f"{STEP}; the mean is DDPM Eq. 11"


def check() -> None:
    check_image_step("noise")
