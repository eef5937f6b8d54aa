"""Places in the solved lab, and parts of its losses, that made-up submissions of several rows share."""

from __future__ import annotations

from grader.judging.made_up import Case, Pairs, before, mistake
from grader.lab.files import DDPM, MODEL, SCHEDULER

NUMPY_DDPM = before(DDPM, "import torch.nn.functional as F\n", "import numpy as np\n")
NUMPY_MODEL = before(MODEL, "import torch.nn.functional as F\n", "import numpy as np\n")
NUMPY_SCHEDULER = before(SCHEDULER, "import torch.nn.functional as F\n", "import numpy as np\n")
ABOVE_COMPUTE_LOSS = "    def compute_loss(self,"
ABOVE_ADD_NOISE = "    def add_noise(\n"

# The usual beginning of get_loss_*, with places for another t and another noising.
DRAW_T = "t = self.var_scheduler.uniform_sample_t(x0.shape[0], x0.device)\n"
NOISED = "x_t, eps = self.var_scheduler.add_noise(x0, t, noise)\n"
ASK = "pred = self.network(x_t, timestep=t, class_label=class_label)\n"
START = DRAW_T + NOISED + ASK


def wrong_loss(row: str, diagnosis: str, loss: str, points: float = 1.5) -> Case:
    """A mistake in the last line of get_loss_* alone."""
    return mistake(row, diagnosis, points, f"{START}loss = {loss}")


def without_given_t(row: str, x: str = "x_t") -> Pairs:
    """Edits that take the line away which makes a (B,) of every form of t, in the method of `row` alone."""
    marker = f"        ##### TODO {row} #####\n"
    return [(f"        t = self.one_t_per_image(t, {x})  # (B,)\n\n{marker}", marker)]
