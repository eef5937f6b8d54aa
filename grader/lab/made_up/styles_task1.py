"""Right solutions of q_sample, the loop and the loss of the 2D half, in many styles."""

from __future__ import annotations

from grader.judging.made_up import Style, before, body
from grader.lab.files import DDPM

ABOVE_P_SAMPLE = "    @torch.no_grad()\n    def p_sample(self,"
ABOVE_LOSS = "    def compute_loss(self,"
BUFFERS_END = '        self.register_buffer("alphas_cumprod", alphas_cumprod.float())\n'
IMPORTS = "import torch.nn.functional as F\n"


Q_SAMPLE = tuple(
    body("task1.q_sample", name, text, replace)
    for name, text, replace in (
        (
            "indexing",
            """
        abar = self.var_scheduler.alphas_cumprod[t].view(-1, 1)
        xt = torch.sqrt(abar) * x0 + torch.sqrt(1.0 - abar) * noise
        """,
            None,
        ),
        (
            "own-gather",
            """
        t_index = torch.as_tensor(t, device=x0.device).view(-1)
        abar = torch.gather(self.var_scheduler.alphas_cumprod, 0, t_index)
        while abar.dim() < x0.dim():
            abar = abar.unsqueeze(-1)
        mean, std = abar ** 0.5 * x0, (1 - abar) ** 0.5
        xt = mean + std * noise
        """,
            None,
        ),
        (
            "numpy-tables",
            """
        betas = self.var_scheduler.betas.cpu().numpy().astype("float64")
        abar = np.cumprod(1.0 - betas)
        a = torch.from_numpy(np.sqrt(abar)).to(x0)[t].reshape(-1, 1)
        b = torch.from_numpy(np.sqrt(1.0 - abar)).to(x0)[t].reshape(-1, 1)
        xt = a * x0 + b * noise
        """,
            before(DDPM, IMPORTS, "import numpy as np\n"),
        ),
        (
            "sqrt-buffers",
            """
        xt = (extract(self.var_scheduler.sqrt_alphas_cumprod, t, x0) * x0
              + extract(self.var_scheduler.sqrt_one_minus_alphas_cumprod, t, x0) * noise)
        """,
            {
                DDPM: [
                    (
                        BUFFERS_END,
                        BUFFERS_END
                        + """\
        self.register_buffer("sqrt_alphas_cumprod", torch.sqrt(self.alphas_cumprod))
        self.register_buffer("sqrt_one_minus_alphas_cumprod", torch.sqrt(1.0 - self.alphas_cumprod))
""",
                    )
                ]
            },
        ),
        (
            "float64-inside",
            """
        abar = extract(self.var_scheduler.alphas_cumprod.double(), t, x0)
        xt = (abar.sqrt() * x0.double() + (1 - abar).sqrt() * noise.double()).to(x0.dtype)
        """,
            None,
        ),
        (
            "addcmul",
            """
        abar = extract(self.var_scheduler.alphas_cumprod, t, x0)
        xt = torch.addcmul(x0.mul(abar.sqrt()), (1 - abar).sqrt().expand_as(x0), noise)
        """,
            None,
        ),
        (
            "signal-to-noise-form",
            """
        abar = extract(self.var_scheduler.alphas_cumprod, t, x0)
        xt = abar.sqrt() * (x0 + (1 / abar - 1).sqrt() * noise)
        """,
            None,
        ),
        (
            "trigonometric",
            """
        angle = torch.acos(extract(self.var_scheduler.alphas_cumprod, t, x0).sqrt())
        xt = torch.cos(angle) * x0 + torch.sin(angle) * noise
        """,
            None,
        ),
        (
            "product-of-alphas",
            """
        logs = torch.cumsum(torch.log(self.var_scheduler.alphas), dim=0)
        abar = torch.exp(extract(logs, t, x0))
        xt = torch.sqrt(abar) * x0 + torch.sqrt(1 - abar) * noise
        """,
            None,
        ),
        (
            "helper-method",
            "xt = self._diffuse(x0, t, noise)",
            before(
                DDPM,
                ABOVE_P_SAMPLE,
                """\
    def _diffuse(self, x0, t, noise):
        abar = extract(self.var_scheduler.alphas_cumprod, t, x0)
        return abar.sqrt() * x0 + (1 - abar).sqrt() * noise

""",
            ),
        ),
    )
)

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

COMPUTE_LOSS = tuple(
    body("task1.compute_loss", name, text, replace)
    for name, text, replace in (
        (
            "mean-of-squares",
            """
        batch_size = x0.shape[0]
        t = torch.randint(0, self.var_scheduler.num_train_timesteps, size=(batch_size,)).to(x0.device).long()
        eps = torch.randn_like(x0)
        eps_pred = self.network(self.q_sample(x0, t, noise=eps), t)
        loss = (eps - eps_pred).pow(2).mean()
        """,
            None,
        ),
        (
            "module-loss-noise-first",
            """
        noise = torch.randn(x0.size(), device=x0.device)
        t = torch.randint(high=self.var_scheduler.num_train_timesteps, size=x0.shape[:1], device=x0.device)
        loss = torch.nn.MSELoss(reduction="mean")(self.network(self.q_sample(x0, t, noise), t), noise)
        """,
            None,
        ),
        (
            "q-sample-inlined",
            """
        t = torch.randint(0, len(self.var_scheduler.betas), (len(x0),), device=x0.device)
        eps = torch.randn_like(x0)
        abar = self.var_scheduler.alphas_cumprod[t].unsqueeze(-1)
        eps_hat = self.network(abar.sqrt() * x0 + (1 - abar).sqrt() * eps, t)
        loss = F.mse_loss(eps_hat, eps)
        """,
            None,
        ),
        (
            "numpy-randint",
            """
        t = torch.from_numpy(np.random.randint(0, self.var_scheduler.num_train_timesteps, len(x0))).to(x0.device)
        eps = torch.randn_like(x0)
        loss = torch.square(self.network(x=self.q_sample(x0=x0, t=t, noise=eps), t=t) - eps).mean()
        """,
            before(DDPM, IMPORTS, "import numpy as np\n"),
        ),
        (
            "sum-over-count",
            """
        T = self.var_scheduler.num_train_timesteps
        t = torch.floor(torch.rand(x0.shape[0], device=x0.device) * T).long().clamp(max=T - 1)
        eps = torch.randn_like(x0)
        difference = self.network(self.q_sample(x0, t, eps), t) - eps
        loss = (difference * difference).sum() / difference.numel()
        """,
            None,
        ),
        (
            "per-sample-then-mean",
            """
        t = torch.randint(self.var_scheduler.num_train_timesteps, (x0.shape[0],), dtype=torch.int32).long()
        eps = torch.randn_like(x0)
        per_sample = F.mse_loss(self.network(self.q_sample(x0, t, eps), t), eps, reduction="none").mean(dim=1)
        loss = per_sample.mean()
        """,
            None,
        ),
        (
            "helper-methods",
            "loss = self._matching(x0, *self._draw(x0))",
            before(
                DDPM,
                ABOVE_LOSS,
                """\
    def _draw(self, x0):
        t = torch.randint(0, self.var_scheduler.num_train_timesteps, (x0.size(0),), device=x0.device)
        return t, torch.randn_like(x0)

    def _matching(self, x0, t, eps):
        return torch.mean((eps - self.network(self.q_sample(x0, t, eps), t)) ** 2)

""",
            ),
        ),
        (
            "t-in-a-column",
            """
        t = torch.randint(0, self.var_scheduler.num_train_timesteps, (x0.shape[0], 1), device=x0.device)
        eps = torch.randn_like(x0)
        abar = self.var_scheduler.alphas_cumprod[t]
        xt = torch.sqrt(abar) * x0 + torch.sqrt(1 - abar) * eps
        loss = F.mse_loss(self.network(xt, t.squeeze(1)), eps)
        """,
            None,
        ),
        (
            "generator-of-the-object",
            """
        t = torch.randint(0, self.var_scheduler.num_train_timesteps, (x0.shape[0],), generator=self.loss_rng)
        eps = torch.randn(x0.shape, generator=self.loss_rng)
        loss = ((self.network(self.q_sample(x0, t, eps), t) - eps) ** 2).mean()
        """,
            before(
                DDPM,
                "    @property\n    def device(self)",
                """\
    @property
    def loss_rng(self):
        if "_loss_rng" not in self.__dict__:
            self.__dict__["_loss_rng"] = torch.Generator().manual_seed(7)
        return self.__dict__["_loss_rng"]

""",
            ),
        ),
    )
)

STYLES: tuple[Style, ...] = (*Q_SAMPLE, *P_SAMPLE_LOOP, *COMPUTE_LOSS)
