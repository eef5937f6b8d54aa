"""Mistakes in `forward_step` as students make them, and right solutions in other styles."""

from __future__ import annotations

from functools import partial

from grader.judging.made_up import Case, Style, before, body, mistake
from grader.lab.files import DDPM
from grader.records import Verdict

ROW = "extra.forward_step"
BETA = "beta = extract(self.var_scheduler.betas, t, x_prev)\n"
DRAW_Z = "z = torch.randn_like(x_prev)\n"
RIGHT_STEP = "(1 - beta).sqrt() * x_prev + beta.sqrt() * z"

chain = partial(mistake, ROW, points=0.0)


def _chain(diagnosis: str | None, formula: str, name: str = "", draw: str = DRAW_Z) -> Case:
    return chain(diagnosis, body=f"{BETA}{draw}xt = {formula}", name=name)


MISTAKES: tuple[Case, ...] = (
    chain(
        "chain-closed-form",
        body="""
bar = extract(self.var_scheduler.alphas_cumprod, t, x_prev)
xt = bar.sqrt() * x_prev + (1 - bar).sqrt() * torch.randn_like(x_prev)
""",
    ),
    chain("chain-closed-form", body="xt = self.q_sample(x_prev, t)", name="q_sample-called"),
    _chain("chain-beta-as-deviation", "(1 - beta).sqrt() * x_prev + beta * z"),
    _chain("chain-lost-square-root", "(1 - beta) * x_prev + beta.sqrt() * z"),
    _chain("chain-factors-swapped", "beta.sqrt() * x_prev + torch.sqrt(1 - beta) * z"),
    _chain("chain-not-shrunk", "x_prev + beta.sqrt() * z"),
    _chain("chain-unit-noise", "(1 - beta).sqrt() * x_prev + z"),
    _chain("chain-without-noise", "(1 - beta).sqrt() * x_prev"),
    chain(
        "chain-index",
        body="""
beta = self.var_scheduler.betas[t - 1]
xt = (1 - beta) ** 0.5 * x_prev + beta ** 0.5 * torch.randn_like(x_prev)
""",
    ),
    chain(
        "chain-index",
        body="""
beta = self.var_scheduler.betas.flip(0)[t]
xt = (1 - beta) ** 0.5 * x_prev + beta ** 0.5 * torch.randn_like(x_prev)
""",
        name="schedule-reversed",
    ),
    _chain("chain-noise-shared", RIGHT_STEP, draw="z = torch.randn_like(x_prev[:1])\n"),
    _chain("chain-noise-shared", RIGHT_STEP, name="seeded", draw="torch.manual_seed(0)\n" + DRAW_Z),
    _chain("chain-noise-not-gaussian", RIGHT_STEP, draw="z = torch.rand_like(x_prev)\n"),
    _chain("chain-changed-in-place", "x_prev.mul_((1 - beta).sqrt()).add_(beta.sqrt() * z)"),
    _chain(None, f"({RIGHT_STEP}).clamp(-1, 1)", name="clamped"),
    chain(None, body="xt = x_prev.missing", name="crashes", verdict=Verdict.CRASHED),
)

STYLES: tuple[Style, ...] = tuple(
    body(ROW, name, text, replace)
    for name, text, replace in (
        (
            "indexing",
            """
        beta_t = self.var_scheduler.betas[t]
        while beta_t.dim() not in (0, x_prev.dim()):
            beta_t = beta_t.unsqueeze(-1)
        xt = torch.sqrt(1.0 - beta_t) * x_prev + torch.sqrt(beta_t) * torch.randn(x_prev.shape, device=x_prev.device)
        """,
            None,
        ),
        (
            "alphas-and-normal",
            """
        alpha = extract(self.var_scheduler.alphas, t, x_prev)
        xt = torch.normal(alpha.sqrt() * x_prev, (1 - alpha).sqrt().expand_as(x_prev))
        """,
            None,
        ),
        (
            "ratio-of-bars",
            """
        t = torch.as_tensor(t).reshape(-1)
        bar = extract(self.var_scheduler.alphas_cumprod.double(), t, x_prev)
        before = extract(self.var_scheduler.alphas_cumprod.double(), (t - 1).clamp(min=0), x_prev)
        a = torch.where((t == 0).reshape(bar.shape), bar, bar / before).float()
        xt = x_prev * a.sqrt() - (1 - a).sqrt() * torch.randn_like(x_prev)
        """,
            None,
        ),
        (
            "numpy-noise",
            """
        beta = float(self.var_scheduler.betas[int(t)])
        z = torch.from_numpy(np.random.standard_normal(tuple(x_prev.shape))).to(x_prev)
        xt = (1 - beta) ** 0.5 * x_prev + beta ** 0.5 * z
        """,
            before(DDPM, "import torch\n", "import numpy as np\n"),
        ),
    )
)
