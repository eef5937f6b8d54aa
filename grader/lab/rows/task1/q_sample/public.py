"""Public check of q_sample in 2d_plot_diffusion_todo/ddpm.py."""

from __future__ import annotations

from grader.lab.edition.compare import check_close, check_kept, golden
from grader.lab.edition.yours import new_diffusion

EQUATION = "q(x_t | x_0) = N(sqrt(alpha-bar_t) x_0, (1 - alpha-bar_t) I)    DDPM Eq. 4"


def check() -> None:
    x0, t, noise = golden("points_x0"), golden("points_t"), golden("points_noise")
    xt = new_diffusion().q_sample(x0, t, noise)
    where = "q_sample in ddpm.py, x0 (8, 2), t (8,) with another timestep for each point"
    check_kept(golden("points_x0"), x0, "x0", where)
    check_kept(golden("points_noise"), noise, "noise", where)
    hint = "noise is scaled by a standard deviation; both factors are looked up at each point's own t"
    check_close(xt, golden("points_xt"), "x_t from given x0, t and noise", where, hint)
