"""Public check of add_noise in image_diffusion_todo/scheduler.py."""

from __future__ import annotations

from grader.lab.edition.compare import Wrong, check_close, check_kept, golden
from grader.lab.edition.yours import new_scheduler

EQUATION = "q(x_t | x_0) = N(sqrt(alpha-bar_t) x_0, (1 - alpha-bar_t) I)    DDPM Eq. 4"


def check() -> None:
    x_0, t, noise = golden("images_x0"), golden("images_t"), golden("images_noise")
    where = "add_noise in scheduler.py, x_0 (8, 3, 4, 4), t (8,) with another timestep for each image"
    result = new_scheduler().add_noise(x_0, t, noise)
    if not isinstance(result, tuple) or len(result) != 2:
        raise Wrong("the result", "x_t and eps", type(result).__name__, where, "return both, x_t first")
    check_kept(golden("images_x0"), x_0, "x_0", where)
    hint = "noise is scaled by a standard deviation; both factors are looked up at each image's own t"
    check_close(result[0], golden("images_xt"), "x_t from given x_0, t and eps", where, hint)
    check_close(result[1], noise, "the noise that is returned", where, "return the noise that is in x_t")
