"""Public check of step_predict_mean in image_diffusion_todo/scheduler.py."""

from grader.lab.edition.steps import STEP, check_image_step

EQUATION = STEP


def check() -> None:
    check_image_step("mean")
