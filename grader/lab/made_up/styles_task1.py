"""Right solutions of the loop of the 2D half, in many styles."""

from __future__ import annotations

from grader.judging.made_up import Style, before, body
from grader.lab.files import DDPM

ABOVE_LOSS = "    def compute_loss(self,"
IMPORTS = "import torch.nn.functional as F\n"


P_SAMPLE_LOOP = tuple(
    body("task1.p_sample_loop", name, text, replace)
    for name, text, replace in (
        (
            "tensor-of-one-per-point",
            """
        x0_pred = torch.randn(shape).to(self.device)
        T = self.var_scheduler.num_train_timesteps
        for i in range(T - 1, -1, -1):
            t = torch.full((shape[0],), i, device=self.device, dtype=torch.long)
            x0_pred = self.p_sample(x0_pred, t)
        """,
            None,
        ),
        (
            "tensor-of-one-entry",
            """
        x = torch.randn(*shape, device=self.device)
        for t in reversed(range(len(self.var_scheduler.betas))):
            x = self.p_sample(x, torch.tensor([t]).to(self.device))
        x0_pred = x
        """,
            None,
        ),
        (
            "tqdm",
            """
        x0_pred = torch.randn(tuple(shape), device=self.device)
        for t in tqdm(list(range(self.var_scheduler.num_train_timesteps))[::-1], desc="sampling", leave=False):
            x0_pred = self.p_sample(xt=x0_pred, t=t)
        """,
            before(DDPM, IMPORTS, "from tqdm.auto import tqdm\n"),
        ),
        (
            "while-countdown",
            """
        shape = torch.Size(shape)
        x0_pred = torch.empty(shape, device=self.device).normal_()
        t = self.var_scheduler.num_train_timesteps
        while t > 0:
            t -= 1
            x0_pred = self.p_sample(x0_pred, torch.tensor(t, device=self.device))
        """,
            None,
        ),
        (
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
            None,
        ),
        (
            "helper-method",
            """
        x0_pred = self._denoise_from(torch.randn(shape, device=self.device), self.var_scheduler.num_train_timesteps)
        """,
            before(
                DDPM,
                ABOVE_LOSS,
                """\
    def _denoise_from(self, x, steps):
        for step in range(steps)[::-1]:
            x = self.p_sample(x, step)
        return x

""",
            ),
        ),
        (
            "recursion",
            """
        def descend(x, t):
            return x if t < 0 else descend(self.p_sample(x, t), t - 1)

        x0_pred = descend(torch.randn(shape, device=self.device), self.var_scheduler.num_train_timesteps - 1)
        """,
            None,
        ),
        (
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
        (
            "eval-and-train",
            """
        was_training = self.training
        self.network.eval()
        x0_pred = torch.normal(0.0, 1.0, size=shape, device=self.device)
        for t in sorted(range(self.var_scheduler.num_train_timesteps), reverse=True):
            x0_pred = self.p_sample(x0_pred.detach(), int(t)).detach()
        self.network.train(was_training)
        """,
            None,
        ),
        (
            "numpy-countdown",
            """
        x0_pred = torch.from_numpy(np.random.normal(size=shape)).float().to(self.device)
        for t in np.arange(self.var_scheduler.num_train_timesteps)[::-1]:
            x0_pred = self.p_sample(x0_pred, int(t))
        """,
            before(DDPM, IMPORTS, "import numpy as np\n"),
        ),
    )
)

STYLES: tuple[Style, ...] = P_SAMPLE_LOOP
