"""Mistakes in get_loss_mean as students make them, and right solutions in other styles."""

from __future__ import annotations

from functools import partial

from grader.judging.made_up import Case, Style, before, body, mistake
from grader.lab.files import SCHEDULER
from grader.lab.shared.made_up import ABOVE_ADD_NOISE, ASK, DRAW_T, NOISED, START, wrong_loss
from grader.records import Verdict

ROW = "task2.loss_mean"
case, style = partial(mistake, ROW), partial(body, ROW)
_loss = partial(wrong_loss, ROW)
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
EQ7_HEAD = """
        t = self.var_scheduler.uniform_sample_t(x0.shape[0], x0.device)
        x_t, eps = self.var_scheduler.add_noise(x0, t, noise)
"""
LOOKED_UP = (
    EQ7_HEAD
    + """
        s = self.var_scheduler
        a, b, bar = (s.lookup(table, t, x0) for table in (s.alphas, s.betas, s.alphas_cumprod))
"""
)


def _target(diagnosis: str, target: str, points: float = 1.5, name: str = "") -> Case:
    """The network's mean compared with another one."""
    return case(diagnosis, points, START + TABLES + target + MSE, name=name)


MISTAKES: tuple[Case, ...] = (
    _loss("noise-for-mean-target", "F.mse_loss(pred, eps)"),
    _loss("x0-for-mean-target", "F.mse_loss(pred, x0)"),
    _loss("xt-as-target", "F.mse_loss(pred, x_t)"),
    _target(
        "loss-clamped-alpha-bar-at-t0",
        "\nab_prev = s.alphas_cumprod[torch.clamp(t - 1, min=0)].view(view)\n" + POSTERIOR,
        3.5,
    ),
    _target(
        "loss-clamped-alpha-bar-at-t0",
        "ab_prev = s.alphas_cumprod[t - 1].view(view)\n" + POSTERIOR,
        3.5,
        name="loss-clamped-alpha-bar-at-t0-wrapped",
    ),
    _target(
        "loss-posterior-weights-swapped",
        "\ntarget = ab_prev.sqrt() * b / (1 - ab) * x_t + a.sqrt() * (1 - ab_prev) / (1 - ab) * x0\n",
    ),
    _target("loss-posterior-not-shifted", "ab_prev = ab\n" + POSTERIOR),
    _target(
        "loss-posterior-lost-square-root",
        "\ntarget = ab_prev * b / (1 - ab) * x0 + a * (1 - ab_prev) / (1 - ab) * x_t\n",
    ),
    _target(
        "loss-posterior-lost-square-root",
        EQ11.replace("(1 - ab).sqrt()", "(1 - ab)"),
        name="loss-posterior-lost-square-root-of-noise",
    ),
    _target("loss-alpha-for-alpha-bar", EQ11.replace("1 - ab", "1 - a")),
    _target("loss-noise-drawn-twice", "eps = torch.randn_like(x0)\n" + EQ11),
    case("network-sees-x0", 1.5, START.replace("network(x_t", "network(x0") + TABLES + POSTERIOR + MSE),
    case("network-sees-noise", 1.5, START.replace("network(x_t", "network(eps") + TABLES + EQ11 + MSE),
    case("sum-for-mean", 1.5, START + TABLES + POSTERIOR + "loss = (pred - target).pow(2).sum()"),
    case("absolute-error", 1.5, START + TABLES + EQ11 + "loss = (pred - target).abs().mean()"),
    case(
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
    case(
        "other-t-for-network",
        3.0,
        DRAW_T
        + NOISED
        + TABLES
        + POSTERIOR
        + """
pred = self.network(x_t, self.var_scheduler.uniform_sample_t(x0.shape[0], x0.device))
"""
        + MSE,
    ),
    case("t-from-1", 2.5, DRAW_T.replace(".device)", ".device).clamp(min=1)") + NOISED + ASK + TABLES + EQ11 + MSE),
    case(
        None,
        0.0,
        START.replace("x0.device)", "x0.device) + 1") + TABLES + POSTERIOR + MSE,
        name="t-from-1-to-T-leaves-the-tables",
        verdict=Verdict.CRASHED,
    ),
    case(None, 0.0, "loss = None", name="placeholder", verdict=Verdict.NOT_IMPLEMENTED),
)

STYLES: tuple[Style, ...] = (
    style(
        "eq-7-padded-table",
        EQ7_HEAD
        + """
        s = self.var_scheduler
        bars = torch.cat([torch.ones(1, device=x0.device), s.alphas_cumprod])
        prev, bar = bars[t].view(-1, 1, 1, 1), bars[t + 1].view(-1, 1, 1, 1)
        beta = s.betas[t].view(-1, 1, 1, 1)
        mu = prev.sqrt() * beta / (1 - bar) * x0 + (1 - beta).sqrt() * (1 - prev) / (1 - bar) * x_t
        loss = F.mse_loss(self.network(x_t, t, class_label), mu)
        """,
    ),
    style(
        "eq-11",
        EQ7_HEAD
        + """
        beta, alpha, bar = (table[t][:, None, None, None] for table in (
            self.var_scheduler.betas, self.var_scheduler.alphas, self.var_scheduler.alphas_cumprod))
        mean_true = 1 / torch.sqrt(alpha) * (x_t - beta / torch.sqrt(1 - bar) * eps)
        mean_pred = self.network(x_t, timestep=t, class_label=class_label)
        loss = (mean_pred - mean_true).pow(2).mean()
        """,
    ),
    style(
        "scheduler-helper",
        EQ7_HEAD
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
    style(
        "eq-7-where-t-is-0",
        LOOKED_UP
        + """\
        prev = s.lookup(s.alphas_cumprod, torch.clamp(t - 1, min=0), x0)
        mean = prev.sqrt() * b / (1 - bar) * x0 + a.sqrt() * (1 - prev) / (1 - bar) * x_t
        mean = torch.where((t == 0).view(-1, 1, 1, 1), x0, mean)
        loss = F.mse_loss(self.network(x_t, timestep=t, class_label=class_label), mean)
        """,
    ),
    style(
        "eq-11-with-x0-at-0",
        LOOKED_UP
        + """\
        mean = (x_t - b * eps / (1 - bar).sqrt()) / a.sqrt()
        mean[t == 0] = x0[t == 0]
        loss = F.mse_loss(self.network(x_t, t), mean)
        """,
    ),
    style(
        "via-predicted-x0",
        EQ7_HEAD
        + """
        s = self.var_scheduler
        bar, beta = s.alphas_cumprod[t].view(-1, 1, 1, 1), s.betas[t].view(-1, 1, 1, 1)
        prev = F.pad(s.alphas_cumprod, (1, 0), value=1.0)[t].view(-1, 1, 1, 1)
        x0_of_eps = (x_t - (1 - bar).sqrt() * eps) / bar.sqrt()
        mean = (prev.sqrt() * beta * x0_of_eps + (1 - beta).sqrt() * (1 - prev) * x_t) / (1 - bar)
        loss = nn.functional.mse_loss(self.network(x_t, t, class_label), mean)
        """,
    ),
    style(
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
    ),
)
