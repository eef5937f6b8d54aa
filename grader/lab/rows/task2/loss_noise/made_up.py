"""Mistakes in get_loss_noise as students make them, and right solutions in other styles."""

from __future__ import annotations

from functools import partial

from grader.judging.made_up import Case, Style, before, body, mistake
from grader.lab.files import MODEL
from grader.lab.shared.made_up import ASK, DRAW_T, NOISED, NUMPY_MODEL, START, wrong_loss
from grader.records import Verdict

ROW = "task2.loss_noise"
case, style = partial(mistake, ROW), partial(body, ROW)
_loss = partial(wrong_loss, ROW)


def _drawn(t: str) -> str:
    """get_loss_noise with timesteps drawn by another expression."""
    return f"t = {t}\n" + NOISED + ASK + "loss = ((pred - eps) ** 2).mean()\n"


MISTAKES: tuple[Case, ...] = (
    _loss("x0-for-noise-target", "F.mse_loss(pred, x0)"),
    _loss("xt-as-target", "((pred - x_t) ** 2).mean()"),
    _loss("loss-noise-drawn-twice", "F.mse_loss(pred, torch.randn_like(x0))"),
    case(
        "loss-noise-drawn-twice",
        1.5,
        """
        t = self.var_scheduler.uniform_sample_t(len(x0), x0.device)
        x_t = self.var_scheduler.add_noise(x0, t)[0]
        eps = self.var_scheduler.add_noise(x0, t)[1]
        loss = torch.nn.MSELoss()(self.network(x_t, t), eps)
    """,
        name="loss-noise-drawn-twice-by-add_noise",
    ),
    case("network-sees-x0", 1.5, START.replace("network(x_t", "network(x0") + "loss = F.mse_loss(pred, eps)"),
    case(
        "loss-noise-not-standard",
        1.5,
        DRAW_T
        + """
eps = torch.rand_like(x0)
x_t, _ = self.var_scheduler.add_noise(x0, t, eps)
"""
        + ASK
        + "loss = F.mse_loss(pred, eps)",
    ),
    _loss("sum-for-mean", "F.mse_loss(pred, eps, reduction='sum')"),
    _loss("absolute-error", "F.l1_loss(pred, eps)"),
    _loss("root-of-the-error", "torch.sqrt(F.mse_loss(pred, eps))"),
    _loss("loss-scaled", "0.5 * F.mse_loss(pred, eps)"),
    _loss("loss-not-reduced", "(eps - pred) ** 2", 1.0),
    case("network-not-called", 0.0, DRAW_T + NOISED + "loss = F.mse_loss(x_t, eps)"),
    _loss("loss-without-gradient", "F.mse_loss(pred.detach(), eps)", 2.5),
    case(
        "other-t-for-network",
        2.0,
        DRAW_T + NOISED + "t = torch.randint_like(t, 0, 10)\n" + ASK + "loss = F.mse_loss(pred, eps)",
    ),
    case(
        "loss-one-t-for-the-batch",
        2.0,
        """
        t = self.var_scheduler.uniform_sample_t(1, x0.device)
        x_t, eps = self.var_scheduler.add_noise(x0, t)
        loss = F.mse_loss(self.network(x_t, t, class_label), eps)
    """,
    ),
    case("t-from-1", 2.0, _drawn("torch.randint(1, self.var_scheduler.num_train_timesteps, (x0.shape[0],))")),
    case("t-from-1-to-T", 2.0, _drawn("torch.randint(1, self.var_scheduler.num_train_timesteps + 1, (len(x0),))")),
    case("t-up-to-T", 2.0, _drawn("torch.randint(0, self.var_scheduler.num_train_timesteps + 1, (len(x0),))")),
    case("t-misses-the-last", 2.0, _drawn("torch.randint(0, self.var_scheduler.num_train_timesteps - 1, (len(x0),))")),
    case(
        "t-not-uniform",
        2.0,
        _drawn("(torch.rand(len(x0)) * (self.var_scheduler.num_train_timesteps - 1)).round().long()"),
    ),
    case("t-same-at-every-call", 2.0, _drawn("torch.arange(len(x0)) % self.var_scheduler.num_train_timesteps")),
    case(None, 0.0, "loss = None", name="placeholder", verdict=Verdict.NOT_IMPLEMENTED),
)

STYLES: tuple[Style, ...] = (
    style(
        "positional-class-label",
        """
        B = x0.shape[0]
        timestep = self.var_scheduler.uniform_sample_t(B, self.device)
        x_t, noise = self.var_scheduler.add_noise(x0, timestep, noise)
        noise_pred = self.network(x_t, timestep, class_label)
        loss = F.mse_loss(noise_pred, noise)
        """,
    ),
    style(
        "no-class-label",
        """
        t = torch.randint(0, self.var_scheduler.num_train_timesteps, (x0.size(0),), device=x0.device)
        if noise is None:
            noise = torch.randn_like(x0)
        x_t, _ = self.var_scheduler.add_noise(x0, t, eps=noise)
        loss = (noise - self.network(x_t, t)).pow(2).mean()
        """,
    ),
    style(
        "module-loss-noise-first",
        """
        noise = torch.randn(x0.shape, device=x0.device) if noise is None else noise
        t = self.var_scheduler.uniform_sample_t(len(x0), x0.device)
        x_t, eps = self.var_scheduler.add_noise(x_0=x0, t=t, eps=noise)
        loss = nn.MSELoss()(self.network(x_t, timestep=t), eps)
        """,
    ),
    style(
        "add-noise-inlined",
        """
        t = self.var_scheduler.uniform_sample_t(x0.shape[0], x0.device)
        eps = torch.randn_like(x0) if noise is None else noise
        bar = self.var_scheduler.alphas_cumprod[t][:, None, None, None]
        eps_theta = self.network(bar.sqrt() * x0 + (1 - bar).sqrt() * eps, timestep=t, class_label=class_label)
        loss = ((eps - eps_theta) ** 2).flatten(1).mean(1).mean()
        """,
    ),
    style(
        "numpy-t",
        """
        t = torch.as_tensor(np.random.choice(np.arange(self.var_scheduler.num_train_timesteps), len(x0)))
        x_t, eps = self.var_scheduler.add_noise(x0, t)
        loss = torch.square(self.network(x_t, t, class_label) - eps).mean()
        """,
        NUMPY_MODEL,
    ),
    style(
        "helper-method",
        """
        t, x_t, eps = self._noised(x0, noise)
        loss = self._mse(self.network(x_t, timestep=t, class_label=class_label), eps)
        """,
        before(
            MODEL,
            "    def get_loss_noise(\n",
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
