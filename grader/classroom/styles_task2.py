"""Right solutions of the schedule, the noising and the losses of the image half, in many styles."""

from __future__ import annotations

from grader.classroom.styles import MODEL, SCHEDULER, Pairs, Style, before, body

MODEL_IMPORTS = SCHEDULER_IMPORTS = "import torch.nn.functional as F\n"
ABOVE_LOSSES = "    def get_loss_noise(\n"
ABOVE_COSINE = "def cosine_betas("
ABOVE_ADD_NOISE = "    def add_noise(\n"
NUMPY_MODEL = before(MODEL, MODEL_IMPORTS, "import numpy as np\n")
NUMPY_SCHEDULER = before(SCHEDULER, SCHEDULER_IMPORTS, "import numpy as np\n")


def without_given_t(row: str, x: str = "x_t") -> Pairs:
    """Edits that take the line away which makes a (B,) of every form of t, in the method of `row` alone."""
    marker = f"        ##### TODO {row} #####\n"
    return [(f"        t = self.one_t_per_image(t, {x})  # (B,)\n\n{marker}", marker)]


COSINE = tuple(
    body("task2.cosine", name, text, replace)
    for name, text, replace in (
        (
            "math-loop",
            """
        betas = []
        for i in range(num_train_timesteps):
            t1, t2 = i / num_train_timesteps, (i + 1) / num_train_timesteps
            f1 = math.cos((t1 + s) / (1 + s) * math.pi / 2) ** 2
            f2 = math.cos((t2 + s) / (1 + s) * math.pi / 2) ** 2
            betas.append(min(1 - f2 / f1, max_beta))
        betas = torch.tensor(betas, dtype=torch.float32)
        """,
            None,
        ),
        (
            "lambda-list",
            """
        alpha_bar = lambda t: math.cos((t + s) / (1.0 + s) * math.pi * 0.5) ** 2
        T = num_train_timesteps
        betas = torch.tensor([min(1 - alpha_bar((i + 1) / T) / alpha_bar(i / T), max_beta) for i in range(T)])
        """,
            None,
        ),
        (
            "numpy-float64",
            """
        x = np.linspace(0, num_train_timesteps, num_train_timesteps + 1)
        alphas_cumprod = np.cos(((x / num_train_timesteps) + s) / (1 + s) * np.pi * 0.5) ** 2
        alphas_cumprod = alphas_cumprod / alphas_cumprod[0]
        betas = torch.from_numpy(np.clip(1 - alphas_cumprod[1:] / alphas_cumprod[:-1], 0, max_beta))
        """,
            NUMPY_SCHEDULER,
        ),
        (
            "float32-throughout",
            """
        x = torch.linspace(0, num_train_timesteps, num_train_timesteps + 1)
        alphas_cumprod = torch.cos(((x / num_train_timesteps) + s) / (1 + s) * torch.pi * 0.5) ** 2
        alphas_cumprod = alphas_cumprod / alphas_cumprod[0]
        betas = 1 - (alphas_cumprod[1:] / alphas_cumprod[:-1])
        betas = torch.clip(betas, 0, 0.999)
        """,
            None,
        ),
        (
            "float32-numpy",
            """
        t = np.arange(num_train_timesteps + 1, dtype=np.float32) / np.float32(num_train_timesteps)
        f = np.cos((t + np.float32(s)) / np.float32(1 + s) * np.float32(np.pi / 2)) ** 2
        bars = f / f[0]
        betas = torch.tensor(np.minimum((bars[:-1] - bars[1:]) / bars[:-1], np.float32(0.999)))
        """,
            NUMPY_SCHEDULER,
        ),
        (
            "half-angle-float32",
            """
        u = torch.linspace(0, 1, num_train_timesteps + 1)
        f = (1 + torch.cos((u + s) / (1 + s) * math.pi)) / 2
        betas = torch.minimum(1 - f[1:] / f[:-1], torch.full((num_train_timesteps,), max_beta))
        """,
            None,
        ),
        (
            "helper-function",
            "betas = torch.stack([_beta(t, num_train_timesteps, s) for t in range(num_train_timesteps)]"
            ").clamp_(0, max_beta)",
            before(
                SCHEDULER,
                ABOVE_COSINE,
                """\
def _f(u, s):
    return torch.cos(torch.as_tensor((u + s) / (1 + s) * math.pi / 2, dtype=torch.float64)).square()


def _beta(t, T, s):
    return 1 - _f((t + 1) / T, s) / _f(t / T, s)


""",
            ),
        ),
        (
            "ones-and-logs",
            """
        angle = (torch.arange(num_train_timesteps + 1).double() / num_train_timesteps + s) / (1 + s) * math.pi / 2
        log_bar = 2 * torch.log(torch.cos(angle).clamp(min=1e-20))
        betas = -torch.expm1(torch.diff(log_bar))
        betas[betas > max_beta] = max_beta
        betas = betas.to(torch.float32)
        """,
            None,
        ),
    )
)

ADD_NOISE = tuple(
    body("task2.add_noise", name, text, replace)
    for name, text, replace in (
        (
            "indexing",
            """
        a = self.alphas_cumprod[t][:, None, None, None]
        x_t = torch.sqrt(a) * x_0 + torch.sqrt(1 - a) * eps
        """,
            {SCHEDULER: without_given_t("task2.add_noise", "x_0")},
        ),
        (
            "gather",
            """
        abar = self.alphas_cumprod.to(x_0.device).gather(-1, t.long()).view(x_0.shape[0], *([1] * (x_0.ndim - 1)))
        x_t = abar ** 0.5 * x_0 + (1.0 - abar) ** 0.5 * eps
        """,
            None,
        ),
        (
            "numpy-tables",
            """
        bars = np.cumprod(1 - self.betas.numpy().astype(np.float64))[t.numpy()]
        first = torch.from_numpy(np.sqrt(bars)).float().view(-1, 1, 1, 1)
        second = torch.from_numpy(np.sqrt(1 - bars)).float().view(-1, 1, 1, 1)
        x_t = first * x_0 + second * eps
        """,
            NUMPY_SCHEDULER,
        ),
        (
            "einsum",
            """
        a = self.alphas_cumprod[t]
        x_t = torch.einsum("b,bchw->bchw", a.sqrt(), x_0) + torch.einsum("b,bchw->bchw", (1 - a).sqrt(), eps)
        """,
            None,
        ),
        (
            "float64-inside",
            """
        a = self.lookup(self.alphas_cumprod.double(), t, x_0)
        x_t = (a.sqrt() * x_0 + (1 - a).sqrt() * eps).type_as(x_0)
        """,
            None,
        ),
        (
            "helper-method",
            "x_t = self._mix(x_0, eps, *self._weights(t, x_0))",
            before(
                SCHEDULER,
                ABOVE_ADD_NOISE,
                """\
    def _weights(self, t, x):
        bar = self.lookup(self.alphas_cumprod, t, x)
        return bar.sqrt(), (1 - bar).sqrt()

    @staticmethod
    def _mix(x_0, eps, signal, noise):
        return signal * x_0 + noise * eps

""",
            ),
        ),
        (
            "sample-by-sample",
            """
        x_t = torch.empty_like(x_0)
        for i in range(x_0.shape[0]):
            bar = self.alphas_cumprod[t[i]]
            x_t[i] = bar.sqrt() * x_0[i] + (1 - bar).sqrt() * eps[i]
        """,
            None,
        ),
    )
)


def _loss(predictor: str, *styles: tuple[str, str, dict[str, Pairs] | None]) -> tuple[Style, ...]:
    return tuple(body(f"task2.loss_{predictor}", name, text, replace) for name, text, replace in styles)


LOSS_NOISE = _loss(
    "noise",
    (
        "positional-class-label",
        """
        B = x0.shape[0]
        timestep = self.var_scheduler.uniform_sample_t(B, self.device)
        x_t, noise = self.var_scheduler.add_noise(x0, timestep, noise)
        noise_pred = self.network(x_t, timestep, class_label)
        loss = F.mse_loss(noise_pred, noise)
        """,
        None,
    ),
    (
        "no-class-label",
        """
        t = torch.randint(0, self.var_scheduler.num_train_timesteps, (x0.size(0),), device=x0.device)
        if noise is None:
            noise = torch.randn_like(x0)
        x_t, _ = self.var_scheduler.add_noise(x0, t, eps=noise)
        loss = (noise - self.network(x_t, t)).pow(2).mean()
        """,
        None,
    ),
    (
        "module-loss-noise-first",
        """
        noise = torch.randn(x0.shape, device=x0.device) if noise is None else noise
        t = self.var_scheduler.uniform_sample_t(len(x0), x0.device)
        x_t, eps = self.var_scheduler.add_noise(x_0=x0, t=t, eps=noise)
        loss = nn.MSELoss()(self.network(x_t, timestep=t), eps)
        """,
        None,
    ),
    (
        "add-noise-inlined",
        """
        t = self.var_scheduler.uniform_sample_t(x0.shape[0], x0.device)
        eps = torch.randn_like(x0) if noise is None else noise
        bar = self.var_scheduler.alphas_cumprod[t][:, None, None, None]
        eps_theta = self.network(bar.sqrt() * x0 + (1 - bar).sqrt() * eps, timestep=t, class_label=class_label)
        loss = ((eps - eps_theta) ** 2).flatten(1).mean(1).mean()
        """,
        None,
    ),
    (
        "numpy-t",
        """
        t = torch.as_tensor(np.random.choice(np.arange(self.var_scheduler.num_train_timesteps), len(x0)))
        x_t, eps = self.var_scheduler.add_noise(x0, t)
        loss = torch.square(self.network(x_t, t, class_label) - eps).mean()
        """,
        NUMPY_MODEL,
    ),
    (
        "helper-method",
        """
        t, x_t, eps = self._noised(x0, noise)
        loss = self._mse(self.network(x_t, timestep=t, class_label=class_label), eps)
        """,
        before(
            MODEL,
            ABOVE_LOSSES,
            """\
    def _noised(self, x0, noise):
        t = self.var_scheduler.uniform_sample_t(x0.shape[0], x0.device)
        return t, *self.var_scheduler.add_noise(x0, t, noise)

    @staticmethod
    def _mse(a, b):
        return torch.nn.functional.mse_loss(a, b)

""",
        ),
    ),
)

LOSS_X0 = _loss(
    "x0",
    (
        "positional-class-label",
        """
        timestep = self.var_scheduler.uniform_sample_t(x0.shape[0], self.device)
        x_t, noise = self.var_scheduler.add_noise(x0, timestep, noise)
        x0_pred = self.network(x_t, timestep, class_label)
        loss = ((x0_pred - x0) ** 2).mean()
        """,
        None,
    ),
    (
        "no-class-label",
        """
        t = torch.randint(0, self.var_scheduler.num_train_timesteps, (x0.size(0),)).to(x0.device)
        x_t = self.var_scheduler.add_noise(x0, t, noise)[0]
        loss = F.mse_loss(x0, self.network(x_t, t))
        """,
        None,
    ),
    (
        "target-detached",
        """
        with torch.no_grad():
            t = self.var_scheduler.uniform_sample_t(x0.shape[0], x0.device)
            eps = noise if noise is not None else torch.randn_like(x0)
            x_t, _ = self.var_scheduler.add_noise(x0, t, eps)
            target = x0.detach().clone()
        loss = nn.MSELoss(reduction="mean")(self.network(x_t, timestep=t, class_label=class_label), target)
        """,
        None,
    ),
    (
        "add-noise-inlined",
        """
        t = self.var_scheduler.uniform_sample_t(x0.shape[0], x0.device)
        noise = torch.randn_like(x0) if noise is None else noise
        bar = self.var_scheduler.alphas_cumprod.gather(0, t).reshape(-1, 1, 1, 1)
        x_t = bar.sqrt() * x0 + (1 - bar).sqrt() * noise
        residual = x0 - self.network(x_t, timestep=t, class_label=class_label)
        loss = residual.square().sum() / residual.numel()
        """,
        None,
    ),
)

_EQ7_HEAD = """
        t = self.var_scheduler.uniform_sample_t(x0.shape[0], x0.device)
        x_t, eps = self.var_scheduler.add_noise(x0, t, noise)
"""

LOSS_MEAN = _loss(
    "mean",
    (
        "eq-7-padded-table",
        _EQ7_HEAD
        + """
        s = self.var_scheduler
        bars = torch.cat([torch.ones(1, device=x0.device), s.alphas_cumprod])
        prev, bar = bars[t].view(-1, 1, 1, 1), bars[t + 1].view(-1, 1, 1, 1)
        beta = s.betas[t].view(-1, 1, 1, 1)
        mu = prev.sqrt() * beta / (1 - bar) * x0 + (1 - beta).sqrt() * (1 - prev) / (1 - bar) * x_t
        loss = F.mse_loss(self.network(x_t, t, class_label), mu)
        """,
        None,
    ),
    (
        "eq-11",
        _EQ7_HEAD
        + """
        beta, alpha, bar = (table[t][:, None, None, None] for table in (
            self.var_scheduler.betas, self.var_scheduler.alphas, self.var_scheduler.alphas_cumprod))
        mean_true = 1 / torch.sqrt(alpha) * (x_t - beta / torch.sqrt(1 - bar) * eps)
        mean_pred = self.network(x_t, timestep=t, class_label=class_label)
        loss = (mean_pred - mean_true).pow(2).mean()
        """,
        None,
    ),
    (
        "scheduler-helper",
        _EQ7_HEAD
        + """
        mean, _ = self.var_scheduler.q_posterior(x0, x_t, t)
        loss = F.mse_loss(self.network(x_t, t, class_label), mean.detach())
        """,
        before(
            SCHEDULER,
            ABOVE_ADD_NOISE,
            """\
    def q_posterior(self, x0, x_t, t):
        prev = torch.where(t.view(-1, 1, 1, 1) > 0, self.lookup(self.alphas_cumprod, (t - 1).clamp(min=0), x0),
                           torch.ones((), device=x0.device))
        bar, beta = self.lookup(self.alphas_cumprod, t, x0), self.lookup(self.betas, t, x0)
        mean = (prev.sqrt() * beta * x0 + (1 - beta).sqrt() * (1 - prev) * x_t) / (1 - bar)
        return mean, beta * (1 - prev) / (1 - bar)

""",
        ),
    ),
    (
        "eq-7-where-t-is-0",
        _EQ7_HEAD
        + """
        s = self.var_scheduler
        a, b, bar = (s.lookup(table, t, x0) for table in (s.alphas, s.betas, s.alphas_cumprod))
        prev = s.lookup(s.alphas_cumprod, torch.clamp(t - 1, min=0), x0)
        mean = prev.sqrt() * b / (1 - bar) * x0 + a.sqrt() * (1 - prev) / (1 - bar) * x_t
        mean = torch.where((t == 0).view(-1, 1, 1, 1), x0, mean)
        loss = F.mse_loss(self.network(x_t, timestep=t, class_label=class_label), mean)
        """,
        None,
    ),
    (
        "eq-11-with-x0-at-0",
        _EQ7_HEAD
        + """
        s = self.var_scheduler
        a, b, bar = (s.lookup(table, t, x0) for table in (s.alphas, s.betas, s.alphas_cumprod))
        mean = (x_t - b * eps / (1 - bar).sqrt()) / a.sqrt()
        mean[t == 0] = x0[t == 0]
        loss = F.mse_loss(self.network(x_t, t), mean)
        """,
        None,
    ),
    (
        "via-predicted-x0",
        _EQ7_HEAD
        + """
        s = self.var_scheduler
        bar, beta = s.alphas_cumprod[t].view(-1, 1, 1, 1), s.betas[t].view(-1, 1, 1, 1)
        prev = F.pad(s.alphas_cumprod, (1, 0), value=1.0)[t].view(-1, 1, 1, 1)
        x0_of_eps = (x_t - (1 - bar).sqrt() * eps) / bar.sqrt()
        mean = (prev.sqrt() * beta * x0_of_eps + (1 - beta).sqrt() * (1 - prev) * x_t) / (1 - bar)
        loss = nn.functional.mse_loss(self.network(x_t, t, class_label), mean)
        """,
        None,
    ),
    (
        "everything-inlined-float64",
        """
        t = torch.randint(0, self.var_scheduler.num_train_timesteps, (x0.shape[0],), device=x0.device)
        eps = torch.randn_like(x0) if noise is None else noise
        betas = self.var_scheduler.betas.double()
        bars = torch.cumprod(1 - betas, 0)
        bar, beta = bars[t].view(-1, 1, 1, 1), betas[t].view(-1, 1, 1, 1)
        prev = torch.cat([bars.new_ones(1), bars[:-1]])[t].view(-1, 1, 1, 1)
        x_t = (bar.sqrt() * x0 + (1 - bar).sqrt() * eps).float()
        target = (prev.sqrt() * beta * x0 + (1 - beta).sqrt() * (1 - prev) * x_t) / (1 - bar)
        loss = (self.network(x_t, timestep=t, class_label=class_label) - target.float()).pow(2).mean()
        """,
        None,
    ),
)

STYLES: tuple[Style, ...] = (*COSINE, *ADD_NOISE, *LOSS_NOISE, *LOSS_X0, *LOSS_MEAN)
