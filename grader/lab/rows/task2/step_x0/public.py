"""Public check of step_predict_x0 in image_diffusion_todo/scheduler.py."""

from grader.lab.edition.steps import STEP, STEP_HINTS, check_image_step

EQUATION = f"{STEP}; the mean is DDPM Eq. 7"
HINTS = STEP_HINTS | {
    "t0": "before the first step alpha-bar is 1; neither index 0 nor index -1 of the table holds that"
}


def check() -> None:
    check_image_step("x0", HINTS)
