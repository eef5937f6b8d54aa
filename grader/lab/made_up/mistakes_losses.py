"""Made-up mistakes in Task 2's losses, one submission each."""

from __future__ import annotations

from functools import partial

from grader.judging.made_up import Case, mistake
from grader.records import Verdict

noise, x0, mean = (partial(mistake, f"task2.loss_{predictor}") for predictor in ("noise", "x0", "mean"))

# The usual beginning, with places for another t and another noising.
DRAW = "t = self.var_scheduler.uniform_sample_t(x0.shape[0], x0.device)\n"
NOISED = "x_t, eps = self.var_scheduler.add_noise(x0, t, noise)\n"
ASK = "pred = self.network(x_t, timestep=t, class_label=class_label)\n"
START = DRAW + NOISED + ASK
TABLES = """
s = self.var_scheduler
view = (-1, 1, 1, 1)
b, a, ab = s.betas[t].view(view), s.alphas[t].view(view), s.alphas_cumprod[t].view(view)
before = torch.cat([torch.ones_like(s.alphas_cumprod[:1]), s.alphas_cumprod])
ab_prev = before[t].view(view)
"""
POSTERIOR = "target = ab_prev.sqrt() * b / (1 - ab) * x0 + a.sqrt() * (1 - ab_prev) / (1 - ab) * x_t\n"
EQ11 = "target = (x_t - b / (1 - ab).sqrt() * eps) / a.sqrt()\n"
MSE = "loss = F.mse_loss(pred, target)\n"


def _drawn(t: str) -> str:
    """get_loss_noise with timesteps drawn by another expression."""
    return f"t = {t}\n" + NOISED + ASK + "loss = ((pred - eps) ** 2).mean()\n"


OF_NOISE: tuple[Case, ...] = (
    noise("x0-for-noise-target", 1.5, START + "loss = F.mse_loss(pred, x0)"),
    noise("xt-as-target", 1.5, START + "loss = ((pred - x_t) ** 2).mean()"),
    noise("loss-noise-drawn-twice", 1.5, START + "loss = F.mse_loss(pred, torch.randn_like(x0))"),
    noise(
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
    noise("network-sees-x0", 1.5, START.replace("network(x_t", "network(x0") + "loss = F.mse_loss(pred, eps)"),
    noise(
        "loss-noise-not-standard",
        1.5,
        DRAW
        + """
eps = torch.rand_like(x0)
x_t, _ = self.var_scheduler.add_noise(x0, t, eps)
"""
        + ASK
        + "loss = F.mse_loss(pred, eps)",
    ),
    noise("sum-for-mean", 1.5, START + "loss = F.mse_loss(pred, eps, reduction='sum')"),
    noise("absolute-error", 1.5, START + "loss = F.l1_loss(pred, eps)"),
    noise("root-of-the-error", 1.5, START + "loss = torch.sqrt(F.mse_loss(pred, eps))"),
    noise("loss-scaled", 1.5, START + "loss = 0.5 * F.mse_loss(pred, eps)"),
    noise("loss-not-reduced", 1.0, START + "loss = (eps - pred) ** 2"),
    noise("network-not-called", 0.0, DRAW + NOISED + "loss = F.mse_loss(x_t, eps)"),
    noise("loss-without-gradient", 2.5, START + "loss = F.mse_loss(pred.detach(), eps)"),
    noise(
        "other-t-for-network",
        2.0,
        DRAW + NOISED + "t = torch.randint_like(t, 0, 10)\n" + ASK + "loss = F.mse_loss(pred, eps)",
    ),
    noise(
        "loss-one-t-for-the-batch",
        2.0,
        """
        t = self.var_scheduler.uniform_sample_t(1, x0.device)
        x_t, eps = self.var_scheduler.add_noise(x0, t)
        loss = F.mse_loss(self.network(x_t, t, class_label), eps)
    """,
    ),
    noise("t-from-1", 2.0, _drawn("torch.randint(1, self.var_scheduler.num_train_timesteps, (x0.shape[0],))")),
    noise("t-from-1-to-T", 2.0, _drawn("torch.randint(1, self.var_scheduler.num_train_timesteps + 1, (len(x0),))")),
    noise("t-up-to-T", 2.0, _drawn("torch.randint(0, self.var_scheduler.num_train_timesteps + 1, (len(x0),))")),
    noise("t-misses-the-last", 2.0, _drawn("torch.randint(0, self.var_scheduler.num_train_timesteps - 1, (len(x0),))")),
    noise(
        "t-not-uniform",
        2.0,
        _drawn("(torch.rand(len(x0)) * (self.var_scheduler.num_train_timesteps - 1)).round().long()"),
    ),
    noise("t-same-at-every-call", 2.0, _drawn("torch.arange(len(x0)) % self.var_scheduler.num_train_timesteps")),
    noise(None, 0.0, "loss = None", name="placeholder", verdict=Verdict.NOT_IMPLEMENTED),
)

OF_X0: tuple[Case, ...] = (
    x0("noise-for-x0-target", 1.5, START + "loss = F.mse_loss(pred, eps)"),
    x0("xt-as-target", 1.5, START + "loss = F.mse_loss(pred, x_t)"),
    x0("network-sees-noise", 1.5, DRAW + NOISED + ASK.replace("x_t", "eps") + "loss = F.mse_loss(pred, x0)"),
    x0("sum-for-mean", 1.5, START + "loss = ((pred - x0) ** 2).sum(dim=[1, 2, 3]).mean()"),
    x0("root-of-the-error", 1.5, START + "loss = torch.norm((pred - x0).flatten(1), dim=1).mean()"),
    x0("error-not-squared", 1.5, START + "loss = (x0 - pred).mean()"),
    x0("loss-scaled", 1.5, START + "loss = 2 * (pred - x0).square().mean()"),
    x0(
        "loss-without-gradient",
        2.5,
        DRAW
        + NOISED
        + """
with torch.no_grad():
    x0_theta = self.network(x_t, timestep=t, class_label=class_label)
loss = F.mse_loss(x0_theta, x0)
""",
    ),
    x0(
        "other-t-for-network",
        2.0,
        DRAW
        + NOISED
        + ASK.replace("timestep=t", "timestep=t / 10")
        + """
loss = F.mse_loss(pred, x0)
""",
        name="other-t-for-network-normalised",
    ),
    x0(
        "loss-one-t-for-the-batch",
        2.0,
        """
T = self.var_scheduler.num_train_timesteps
t = torch.randint(0, T, (1,), device=x0.device).repeat(x0.shape[0])
"""
        + NOISED
        + ASK
        + "loss = F.mse_loss(pred, x0)",
    ),
    x0(
        "t-not-uniform",
        2.0,
        """
t = (torch.rand(x0.shape[0]) ** 2 * self.var_scheduler.num_train_timesteps).long()
"""
        + NOISED
        + ASK
        + "loss = F.mse_loss(pred, x0)",
    ),
    x0(None, 0.0, "loss = None", name="placeholder", verdict=Verdict.NOT_IMPLEMENTED),
)

OF_MEAN: tuple[Case, ...] = (
    mean("noise-for-mean-target", 1.5, START + "loss = F.mse_loss(pred, eps)"),
    mean("x0-for-mean-target", 1.5, START + "loss = F.mse_loss(pred, x0)"),
    mean("xt-as-target", 1.5, START + "loss = F.mse_loss(pred, x_t)"),
    mean(
        "loss-clamped-alpha-bar-at-t0",
        3.5,
        START
        + TABLES
        + """
ab_prev = s.alphas_cumprod[torch.clamp(t - 1, min=0)].view(view)
"""
        + POSTERIOR
        + MSE,
    ),
    mean(
        "loss-clamped-alpha-bar-at-t0",
        3.5,
        START + TABLES + "ab_prev = s.alphas_cumprod[t - 1].view(view)\n" + POSTERIOR + MSE,
        name="loss-clamped-alpha-bar-at-t0-wrapped",
    ),
    mean(
        "loss-posterior-weights-swapped",
        1.5,
        START
        + TABLES
        + """
target = ab_prev.sqrt() * b / (1 - ab) * x_t + a.sqrt() * (1 - ab_prev) / (1 - ab) * x0
"""
        + MSE,
    ),
    mean("loss-posterior-not-shifted", 1.5, START + TABLES + "ab_prev = ab\n" + POSTERIOR + MSE),
    mean(
        "loss-posterior-lost-square-root",
        1.5,
        START
        + TABLES
        + """
target = ab_prev * b / (1 - ab) * x0 + a * (1 - ab_prev) / (1 - ab) * x_t
"""
        + MSE,
    ),
    mean(
        "loss-posterior-lost-square-root",
        1.5,
        START + TABLES + EQ11.replace("(1 - ab).sqrt()", "(1 - ab)") + MSE,
        name="loss-posterior-lost-square-root-of-noise",
    ),
    mean("loss-alpha-for-alpha-bar", 1.5, START + TABLES + EQ11.replace("1 - ab", "1 - a") + MSE),
    mean("loss-noise-drawn-twice", 1.5, START + TABLES + "eps = torch.randn_like(x0)\n" + EQ11 + MSE),
    mean("network-sees-x0", 1.5, START.replace("network(x_t", "network(x0") + TABLES + POSTERIOR + MSE),
    mean("network-sees-noise", 1.5, START.replace("network(x_t", "network(eps") + TABLES + EQ11 + MSE),
    mean("sum-for-mean", 1.5, START + TABLES + POSTERIOR + "loss = (pred - target).pow(2).sum()"),
    mean("absolute-error", 1.5, START + TABLES + EQ11 + "loss = (pred - target).abs().mean()"),
    mean(
        "loss-weighted",
        1.5,
        START
        + TABLES
        + POSTERIOR
        + """
var = (1 - ab_prev) / (1 - ab) * b
loss = ((pred - target) ** 2 / (2 * var.clamp(min=1e-4))).mean()
""",
    ),
    mean(
        "other-t-for-network",
        3.0,
        DRAW
        + NOISED
        + TABLES
        + POSTERIOR
        + """
pred = self.network(x_t, self.var_scheduler.uniform_sample_t(x0.shape[0], x0.device))
"""
        + MSE,
    ),
    mean("t-from-1", 2.5, DRAW.replace(".device)", ".device).clamp(min=1)") + NOISED + ASK + TABLES + EQ11 + MSE),
    mean(
        None,
        0.0,
        START.replace("x0.device)", "x0.device) + 1") + TABLES + POSTERIOR + MSE,
        name="t-from-1-to-T-leaves-the-tables",
        verdict=Verdict.CRASHED,
    ),
    mean(None, 0.0, "loss = None", name="placeholder", verdict=Verdict.NOT_IMPLEMENTED),
)

CASES = OF_NOISE + OF_X0 + OF_MEAN
