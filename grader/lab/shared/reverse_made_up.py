"""What students write around the line of a reverse step that goes wrong: parts of made-up mistakes in Task 2."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from grader.judging.made_up import Case, Style
from grader.lab.files import SCHEDULER

END_OF_INIT = "        self.sigma_type = sigma_type\n"
SIGMAS = """\
        before = torch.cat([torch.ones(1), self.alphas_cumprod[:-1]])
        self.register_buffer("sigmas", ((1 - before) / (1 - self.alphas_cumprod) * self.betas).sqrt())
"""
MadeUp = TypeVar("MadeUp", Case, Style)


def with_sigmas(made_up: MadeUp) -> MadeUp:
    """A step that reads self.sigmas is of somebody who has made that table once, at the end of __init__."""
    added: list[str] = [new for pairs in made_up.replace.values() for _, new in pairs]
    if not any("self.sigmas" in text for text in (*made_up.bodies.values(), *added)):
        return made_up
    edits = made_up.replace | {SCHEDULER: [*made_up.replace.get(SCHEDULER, []), (END_OF_INIT, END_OF_INIT + SIGMAS)]}
    return replace(made_up, replace=edits)


TABLES = """
b, a, ab = (self.lookup(table, t, x_t) for table in (self.betas, self.alphas, self.alphas_cumprod))
"""
BEFORE = """
first = (t == 0).view(-1, 1, 1, 1)
ab_prev = torch.where(first, torch.ones_like(ab), self.lookup(self.alphas_cumprod, (t - 1).clamp(min=0), x_t))
"""
CLAMPED = """
t_prev = torch.clamp(t - 1, min=0)
ab_prev = self.lookup(self.alphas_cumprod, t_prev, x_t)
"""
EQ11 = "mean = (x_t - b / torch.sqrt(1 - ab) * eps_theta) / torch.sqrt(a)\n"
NOISE = """
z = torch.randn_like(x_t)
z[t == 0] = 0
sample_prev = mean + self.lookup(self.sigmas, t, x_t) * z
"""
POSTERIOR = "mean = ab_prev.sqrt() * b / (1 - ab) * x0_pred + a.sqrt() * (1 - ab_prev) / (1 - ab) * x_t\n"
