"""Mistakes in p_sample_loop, as students make them, and right loops in other styles."""

from __future__ import annotations

from functools import partial

from grader.judging.made_up import Case, Style, before, body
from grader.lab.files import DDPM
from grader.lab.shared.made_up import ABOVE_COMPUTE_LOSS, NUMPY_DDPM

ROW = "task1.p_sample_loop"
ORDER_LOST, ONE_LOST = 2.5, 3.0
IMPORTS = "import torch.nn.functional as F\n"

style = partial(body, ROW)


def _loop(style: str, diagnosis: str, body: str, points: float) -> Case:
    return Case(f"p_sample_loop-{style}", ROW, points, diagnosis, bodies={ROW: body})


def _visits(style: str, diagnosis: str, steps: str, points: float = ORDER_LOST) -> Case:
    return _loop(
        style,
        diagnosis,
        "T = self.var_scheduler.num_train_timesteps\n"
        f"x = torch.randn(shape).to(self.device)\nfor t in {steps}:\n    x = self.p_sample(x, t)\n"
        "x0_pred = x",
        points,
    )


def _starts(style: str, diagnosis: str, start: str) -> Case:
    return _loop(
        style,
        diagnosis,
        f"xt = {start}\n"
        "for t in range(self.var_scheduler.num_train_timesteps - 1, -1, -1):\n"
        "    xt = self.p_sample(xt, torch.full((shape[0],), t, device=self.device))\nx0_pred = xt",
        ONE_LOST,
    )


MISTAKES: tuple[Case, ...] = (
    _visits("upwards", "loop-upwards", "range(T)"),
    _visits("stops-at-1", "loop-stops-at-1", "range(T - 1, 0, -1)"),
    _visits("starts-at-T", "loop-starts-at-T", "range(T, 0, -1)"),
    _visits("starts-at-T-to-0", "loop-starts-at-T", "range(T, -1, -1)"),
    _visits("skips-the-first", "loop-skips-the-first-step", "reversed(range(T - 1))"),
    _visits("one-step", "loop-one-step", "[T - 1]", 1.5),
    _visits("random-t", "loop-random-t", "torch.randint(T, (T,)).tolist()"),
    _loop("placeholder", "loop-without-steps", "x0_pred = torch.zeros(shape)", 0.0),
    _loop("noise-only", "loop-without-steps", "x0_pred = torch.randn(shape, device=self.device)", 0.0),
    _starts("from-zeros", "start-from-zeros", "torch.zeros(shape, device=self.device)"),
    _starts("from-ones", "start-from-zeros", "torch.ones(shape)"),
    _starts("from-uniform", "start-from-uniform", "torch.rand(shape)"),
    _starts("shared-start", "start-shared", "torch.randn(1, *shape[1:]).repeat(shape[0], 1)"),
    _starts("coordinates-shared", "start-shared", "torch.randn(shape[0], 1).expand(shape)"),
    _starts("scaled-start", "start-not-standard", "torch.randn(shape) * (1 - self.var_scheduler.alphas_cumprod[-1])"),
    _loop(
        "result-dropped",
        "step-result-dropped",
        """
        xt = torch.randn(shape)
        for t in reversed(range(self.var_scheduler.num_train_timesteps)):
            x0_pred = self.p_sample(xt, t)
    """,
        ONE_LOST,
    ),
    _loop(
        "returns-the-start",
        "loop-returns-another-state",
        """
        trajectory = [torch.randn(shape, device=self.device)]
        for t in torch.arange(self.var_scheduler.num_train_timesteps).flip(0):
            trajectory.append(self.p_sample(trajectory[-1], t))
        x0_pred = trajectory[0]
    """,
        ONE_LOST,
    ),
    _loop(
        "clamped-result",
        "loop-returns-another-state",
        """
        xt = torch.randn(shape)
        for t in range(len(self.var_scheduler.betas))[::-1]:
            xt = self.p_sample(xt, t)
        x0_pred = xt.clamp(-1, 1)
    """,
        ONE_LOST,
    ),
    Case(
        "p_sample_loop-keeps-gradient",
        ROW,
        3.5,
        "loop-keeps-gradient",
        replace={DDPM: [("    @torch.no_grad()\n", "")]},
    ),
)

STYLES: tuple[Style, ...] = (
    style(
        "tensor-of-one-per-point",
        """
        x0_pred = torch.randn(shape).to(self.device)
        T = self.var_scheduler.num_train_timesteps
        for i in range(T - 1, -1, -1):
            t = torch.full((shape[0],), i, device=self.device, dtype=torch.long)
            x0_pred = self.p_sample(x0_pred, t)
        """,
    ),
    style(
        "tensor-of-one-entry",
        """
        x = torch.randn(*shape, device=self.device)
        for t in reversed(range(len(self.var_scheduler.betas))):
            x = self.p_sample(x, torch.tensor([t]).to(self.device))
        x0_pred = x
        """,
    ),
    style(
        "tqdm",
        """
        x0_pred = torch.randn(tuple(shape), device=self.device)
        for t in tqdm(list(range(self.var_scheduler.num_train_timesteps))[::-1], desc="sampling", leave=False):
            x0_pred = self.p_sample(xt=x0_pred, t=t)
        """,
        before(DDPM, IMPORTS, "from tqdm.auto import tqdm\n"),
    ),
    style(
        "while-countdown",
        """
        shape = torch.Size(shape)
        x0_pred = torch.empty(shape, device=self.device).normal_()
        t = self.var_scheduler.num_train_timesteps
        while t > 0:
            t -= 1
            x0_pred = self.p_sample(x0_pred, torch.tensor(t, device=self.device))
        """,
    ),
    style(
        "step-inlined",
        """
        s = self.var_scheduler
        x = torch.randn(shape, device=self.device)
        for t in range(s.num_train_timesteps - 1, -1, -1):
            z = torch.randn_like(x) if t > 0 else torch.zeros_like(x)
            t_batch = torch.full((shape[0],), t, device=self.device, dtype=torch.long)
            eps = self.network(x, t_batch)
            abar, abar_prev = s.alphas_cumprod[t], s.alphas_cumprod[t - 1] if t > 0 else torch.tensor(1.0)
            x = (x - s.betas[t] / (1 - abar).sqrt() * eps) / s.alphas[t].sqrt()
            x = x + (s.betas[t] * (1 - abar_prev) / (1 - abar)).sqrt() * z
        x0_pred = x
        """,
    ),
    style(
        "helper-method",
        """
        x0_pred = self._denoise_from(torch.randn(shape, device=self.device), self.var_scheduler.num_train_timesteps)
        """,
        before(
            DDPM,
            ABOVE_COMPUTE_LOSS,
            """\
    def _denoise_from(self, x, steps):
        for step in range(steps)[::-1]:
            x = self.p_sample(x, step)
        return x

""",
        ),
    ),
    style(
        "recursion",
        """
        def descend(x, t):
            return x if t < 0 else descend(self.p_sample(x, t), t - 1)

        x0_pred = descend(torch.randn(shape, device=self.device), self.var_scheduler.num_train_timesteps - 1)
        """,
    ),
    style(
        "inference-mode-and-trajectory",
        """
        with torch.inference_mode():
            xs = [torch.randn(shape, device=self.device)]
            for t in torch.arange(self.var_scheduler.num_train_timesteps - 1, -1, -1):
                xs.append(self.p_sample(xs[-1], t.to(self.device)))
        x0_pred = xs[-1]
        """,
        {DDPM: [("    @torch.no_grad()\n    def p_sample_loop(", "    def p_sample_loop(")]},
    ),
    style(
        "eval-and-train",
        """
        was_training = self.training
        self.network.eval()
        x0_pred = torch.normal(0.0, 1.0, size=shape, device=self.device)
        for t in sorted(range(self.var_scheduler.num_train_timesteps), reverse=True):
            x0_pred = self.p_sample(x0_pred.detach(), int(t)).detach()
        self.network.train(was_training)
        """,
    ),
    style(
        "numpy-countdown",
        """
        x0_pred = torch.from_numpy(np.random.normal(size=shape)).float().to(self.device)
        for t in np.arange(self.var_scheduler.num_train_timesteps)[::-1]:
            x0_pred = self.p_sample(x0_pred, int(t))
        """,
        NUMPY_DDPM,
    ),
)
