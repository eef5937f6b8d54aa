"""Mistakes in `naive_skip` as students make them, and right solutions in other styles."""

from __future__ import annotations

from functools import partial

from grader.judging.made_up import Case, Style, body, mistake

ROW = "extra.naive_skip"
SKIP_START = "x = torch.randn(shape, device=self.device)\nT = self.var_scheduler.num_train_timesteps\n"

skip = partial(mistake, ROW, points=0.0)


def _skip(diagnosis: str | None, steps: str, name: str = "", start: str = SKIP_START) -> Case:
    return skip(diagnosis, body=f"{start}for t in {steps}:\n    x = self.p_sample(x, t)\nx0_pred = x", name=name)


DOWN = SKIP_START + "\nfor t in range(T - 1, -1, -k):\n"
BY_HAND = (
    SKIP_START
    + """
bars = self.var_scheduler.alphas_cumprod
for t in range(T - 1, -1, -k):
    eps = self.network(x, torch.full((shape[0],), t))
"""
)
JUMP = (
    BY_HAND
    + """\
    x0 = (x - (1 - bars[t]).sqrt() * eps) / bars[t].sqrt()
    x = x0 if t - k < 0 else bars[t - k].sqrt() * x0 + (1 - bars[t - k]).sqrt() * eps
x0_pred = x
"""
)
RESPACED = (
    BY_HAND
    + """\
    before = bars[t - k] if t >= k else torch.tensor(1.0)
    alpha = bars[t] / before
    x = (x - (1 - alpha) / (1 - bars[t]).sqrt() * eps) / alpha.sqrt()
    if t > 0:
        x = x + ((1 - before) / (1 - bars[t]) * (1 - alpha)).sqrt() * torch.randn_like(x)
x0_pred = x
"""
)

MISTAKES: tuple[Case, ...] = (
    _skip("skip-not-skipping", "range(T - 1, -1, -1)"),
    skip("skip-not-skipping", body="x0_pred = self.p_sample_loop(shape)", name="whole-loop"),
    _skip("skip-upwards", "range(0, T, k)"),
    _skip("skip-starts-elsewhere", "reversed(range(0, T, k))"),
    _skip("skip-starts-elsewhere", "range(T - 1 - k, -1, -k)", name="first-step-left-out"),
    _skip("skip-starts-elsewhere", "range(T, 0, -k)", name="starts-at-T"),
    _skip("skip-stops-before-0", "range(T - 1, 0, -k)"),
    _skip("skip-first-steps-only", "list(reversed(range(T)))[:T // k]"),
    _skip("skip-other-stride", "range(T - 1, -1, -(k + 1))"),
    skip("skip-jumps", body=JUMP),
    skip("skip-jumps", body=RESPACED, name="respaced"),
    _skip("skip-start-not-noise", "range(T - 1, -1, -k)", start=SKIP_START.replace("torch.randn(", "torch.zeros(")),
    skip("skip-result-dropped", body=f"{DOWN}    x0_pred = self.p_sample(x, t)\n"),
    skip(
        "skip-result-dropped",
        body=f"{DOWN}    x = self.p_sample(x, t)\nx0_pred = x.clamp(-1, 1)\n",
        name="clamped-at-the-end",
    ),
)

STYLES: tuple[Style, ...] = tuple(
    body(ROW, name, text, replace)
    for name, text, replace in (
        (
            "last-step-at-0",
            """
        timesteps = list(range(self.var_scheduler.num_train_timesteps - 1, -1, -k))
        if timesteps[-1] != 0:
            timesteps.append(0)
        x0_pred = torch.randn(*shape, device=self.device)
        for t in timesteps:
            x0_pred = self.p_sample(x0_pred, torch.full((shape[0],), t, device=self.device))
        """,
            None,
        ),
        (
            "countdown",
            """
        x, t = torch.randn(shape).to(self.device), len(self.var_scheduler.betas) - 1
        while t >= 0:
            x = self.p_sample(xt=x, t=torch.tensor([t]))
            t -= k
        x0_pred = x
        """,
            None,
        ),
        (
            "flipped-grid",
            """
        grid = torch.arange(self.var_scheduler.num_train_timesteps).flip(0)[::k]
        x0_pred = torch.empty(shape, device=self.device).normal_()
        for t in grid.tolist():
            x0_pred = self.p_sample(x0_pred, t)
        """,
            None,
        ),
        (
            "step-inlined",
            """
        s, T = self.var_scheduler, self.var_scheduler.num_train_timesteps
        x = torch.randn(shape, device=self.device)
        for t in range(T - 1, -1, -k):
            eps = self.network(x, torch.full((shape[0],), t))
            bar, before = s.alphas_cumprod[t], s.alphas_cumprod[t - 1] if t > 0 else torch.tensor(1.0)
            x = (x - s.betas[t] / (1 - bar).sqrt() * eps) / s.alphas[t].sqrt()
            x = x + (s.betas[t] * (1 - before) / (1 - bar)).sqrt() * torch.randn_like(x)
        x0_pred = x
        """,
            None,
        ),
    )
)
