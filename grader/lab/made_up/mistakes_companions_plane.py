"""Mistakes in the 2D half's companion exercises, as students make them. These rows have no points."""

from __future__ import annotations

from functools import partial

from grader.judging.made_up import Case, mistake
from grader.lab.files import TASK1
from grader.records import Verdict

train, sampler, chain, skip = (
    partial(mistake, f"extra.{row}", points=0.0) for row in ("train_step", "sampler_loop", "forward_step", "naive_skip")
)

DRAW_T = """
g = torch.Generator().manual_seed(int(seed))
t = int(torch.randint(0, num_timesteps, (1,), generator=g).item())
"""
DRAW = (
    DRAW_T
    + """
g2 = torch.Generator().manual_seed(int(seed) + 1)
eps = torch.randn(x_clean.shape, generator=g2)
N, d = x_clean.shape
"""
)
NOISED = "x_t = torch.sqrt(alpha_bar[t]) * x_clean + torch.sqrt(1 - alpha_bar[t]) * eps\n"
PREDICT = """
inp = torch.cat([x_t, t / num_timesteps * torch.ones(N, 1)], dim=-1)
pred = inp @ w_model
"""
GRADIENT = "grad = inp.T @ ((2.0 / (N * d)) * (pred - eps))\n"
UPDATE = "w_new = (w_model - lr * grad).flatten()\n"


def _train(diagnosis: str | None, *swaps: tuple[str, str], name: str = "") -> Case:
    """The right step with some of its text replaced."""
    text = DRAW + NOISED + PREDICT + GRADIENT + UPDATE
    for old, new in swaps:
        if old not in text:
            raise ValueError(f"no {old!r} in the step")
        text = text.replace(old, new)
    return train(diagnosis, body=text, name=name)


SEED_OF_T, SEED_OF_EPS = "manual_seed(int(seed))\n", "manual_seed(int(seed) + 1)\n"

TRAIN: tuple[Case, ...] = (
    _train(
        "autograd-used",
        (
            GRADIENT,
            """
w = w_model.clone().requires_grad_(True)
with torch.enable_grad():
    loss = ((inp @ w - eps) ** 2).mean()
loss.backward()
grad = w.grad
""",
        ),
    ),
    _train(
        "autograd-used",
        (
            GRADIENT,
            """
with torch.enable_grad():
    w = w_model.detach().clone().requires_grad_()
    grad, = torch.autograd.grad(torch.nn.functional.mse_loss(inp @ w, eps), w)
""",
        ),
        name="autograd-grad",
    ),
    _train("global-random-state", ("torch.randn(x_clean.shape, generator=g2)", "torch.randn_like(x_clean)")),
    _train("noise-from-used-generator", ("generator=g2", "generator=g")),
    _train(
        "noise-from-used-generator",
        ("g = torch.Generator().manual_seed(int(seed))\n", "torch.manual_seed(seed)\n"),
        (", generator=g2", ""),
        (", generator=g)", ")"),
        ("g2 = torch.Generator().manual_seed(int(seed) + 1)", ""),
        name="one-manual-seed",
    ),
    _train("train-seed-offset", (SEED_OF_EPS, SEED_OF_T)),
    _train(
        "train-seed-offset", (SEED_OF_T, "manual_seed(seed + 1)\n"), ("int(seed) + 1", "seed"), name="seeds-exchanged"
    ),
    _train("gradient-without-d", ("2.0 / (N * d)", "2.0 / N")),
    _train("gradient-without-n", ("2.0 / (N * d)", "2.0 / d")),
    _train("gradient-of-a-sum", ("2.0 / (N * d)", "2.0")),
    _train("gradient-without-2", ("2.0 / (N * d)", "1 / pred.numel()")),
    _train(
        "product-transposed",
        ("inp.T @ ((2.0 / (N * d)) * (pred - eps))", "((2.0 / (N * d)) * (pred - eps).T @ inp).reshape(d + 1, d)"),
    ),
    _train(
        "product-transposed",
        ("(w_model - lr * grad).flatten()", "(w_model - lr * grad).T.flatten()"),
        name="weights-transposed",
    ),
    _train("update-uphill", ("w_model - lr", "w_model + lr")),
    _train("update-uphill", ("(pred - eps)", "(eps - pred)"), name="error-negated"),
    _train("train-time-not-normalised", ("t / num_timesteps * torch.ones", "t * torch.ones")),
    _train("train-time-not-normalised", ("t / num_timesteps *", "t / (num_timesteps - 1) *"), name="time-by-last-t"),
    _train("train-lost-square-root", (NOISED, "x_t = alpha_bar[t] * x_clean + (1 - alpha_bar[t]) * eps\n")),
    _train("train-alpha-for-alpha-bar", (NOISED, "x_t = (1 - betas[t]).sqrt() * x_clean + betas[t].sqrt() * eps\n")),
    _train("points-as-target", ("(pred - eps)", "(pred - x_clean)")),
    _train("gradient-returned", ("(w_model - lr * grad)", "grad")),
    _train(
        "gradient-returned",
        ("w_new = (w_model - lr * grad).flatten()", "w_new = w_model.flatten()"),
        name="not-updated",
    ),
    _train("learning-rate-ignored", ("lr * grad", "grad")),
    _train("t-drawn-otherwise", ("(0, num_timesteps, (1,)", "(0, num_timesteps - 1, (1,)")),
    _train("weights-changed-in-place", (UPDATE, "w_model -= lr * grad\nw_new = w_model.flatten()\n")),
    _train(
        "weights-changed-in-place",
        (
            NOISED,
            """
x_clean.mul_(alpha_bar[t].sqrt()).add_((1 - alpha_bar[t]).sqrt() * eps)
x_t = x_clean
""",
        ),
        name="points-changed-in-place",
    ),
    _train(None, (UPDATE, "w_new = w_model - lr * grad\n"), name="not-flattened"),
    train(None, body="w_new = None", name="returns-none", verdict=Verdict.MISSING),
    train(None, body=DRAW_T + "w_new = x_clean @ w_model", name="crashes", verdict=Verdict.CRASHED),
)

START = """
g = torch.Generator().manual_seed(int(seed))
x = torch.randn(num_points, dim, generator=g)
"""
LOOP = """
for t in range(num_timesteps - 1, -1, -1):
    inp = torch.cat([x, t / num_timesteps * torch.ones(num_points, 1)], dim=-1)
    pred = inp @ w_model
    alpha = 1.0 - betas[t]
    mean = 1 / torch.sqrt(alpha) * (x - betas[t] / torch.sqrt(1 - alpha_bar[t]) * pred)
"""
NOISE = """
    if t > 0:
        g_t = torch.Generator().manual_seed(int(seed) + 100 + t)
        x = mean + torch.sqrt(betas[t]) * torch.randn(num_points, dim, generator=g_t)
    else:
        x = mean
"""
POSTERIOR = "torch.sqrt(betas[t] * (1 - alpha_bar[t - 1]) / (1 - alpha_bar[t]))"


def _sampler(diagnosis: str | None, *swaps: tuple[str, str], name: str = "") -> Case:
    """The right loop with some of its text replaced."""
    text = START + LOOP + NOISE
    for old, new in swaps:
        if old not in text:
            raise ValueError(f"no {old!r} in the loop")
        text = text.replace(old, new)
    return sampler(diagnosis, body=text, name=name)


SAMPLER: tuple[Case, ...] = (
    _sampler("global-random-state", (", generator=g_t", "")),
    _sampler("global-random-state", (", generator=g)", ")"), name="global-start"),
    _sampler("sampler-noise-at-t0", ("if t > 0", "if t >= 0")),
    _sampler("sampler-one-generator", ("generator=g_t", "generator=g")),
    _sampler(
        "sampler-one-generator",
        (START, START + "g_t = torch.Generator().manual_seed(seed + 100)"),
        ("        g_t = torch.Generator().manual_seed(int(seed) + 100 + t)\n", ""),
        name="one-generator-of-100",
    ),
    _sampler("sampler-seed-offset", ("int(seed) + 100 + t", "int(seed) + t")),
    _sampler(
        "sampler-seed-offset",
        ("int(seed) + 100 + t", "int(seed) + 100 + num_timesteps - 1 - t"),
        name="seed-of-step-number",
    ),
    _sampler("sampler-seed-offset", ("int(seed) + 100 + t", "int(seed) + 100"), name="seed-without-t"),
    _sampler("sampler-seed-offset", ("int(seed) + 100 + t", "int(seed) + 101 + t"), name="seed-one-more"),
    _sampler("sampler-start-seed", ("manual_seed(int(seed))\n", "manual_seed(int(seed) + 100)\n")),
    _sampler("sampler-scale-left-out", ("1 / torch.sqrt(alpha) * (x", "(x")),
    _sampler("sampler-one-over-alpha", ("1 / torch.sqrt(alpha)", "1 / alpha")),
    _sampler("sampler-lost-square-root", ("torch.sqrt(1 - alpha_bar[t])", "(1 - alpha_bar[t])")),
    _sampler("sampler-alpha-for-alpha-bar", ("torch.sqrt(1 - alpha_bar[t])", "torch.sqrt(1 - alpha)")),
    _sampler("sampler-noise-added-back", ("(x - betas[t]", "(x + betas[t]")),
    _sampler("sampler-variance-as-deviation", ("torch.sqrt(betas[t]) * torch.randn", "betas[t] * torch.randn")),
    _sampler("sampler-posterior-variance", ("torch.sqrt(betas[t]) * torch.randn", POSTERIOR + " * torch.randn")),
    _sampler("sampler-without-noise", (NOISE, "    x = mean\n")),
    _sampler("sampler-no-noise-at-t1", ("if t > 0", "if t > 1")),
    _sampler("sampler-stops-at-1", ("num_timesteps - 1, -1, -1", "num_timesteps - 1, 0, -1")),
    _sampler("sampler-upwards", ("range(num_timesteps - 1, -1, -1)", "range(num_timesteps)")),
    _sampler("sampler-time-not-normalised", ("t / num_timesteps * torch.ones", "t * torch.ones")),
    _sampler("weights-changed-in-place", (NOISE, NOISE + "w_model.zero_()\n")),
    _sampler(None, ("for t in range(num_timesteps - 1, -1, -1)", "for t in [0, 2]"), name="two-steps"),
)

BETA = "beta = extract(self.var_scheduler.betas, t, x_prev)\n"
DRAW_Z = "z = torch.randn_like(x_prev)\n"
RIGHT_STEP = "(1 - beta).sqrt() * x_prev + beta.sqrt() * z"


def _chain(diagnosis: str | None, formula: str, name: str = "", draw: str = DRAW_Z) -> Case:
    return chain(diagnosis, body=f"{BETA}{draw}xt = {formula}", name=name)


CHAIN: tuple[Case, ...] = (
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

SKIP_START = "x = torch.randn(shape, device=self.device)\nT = self.var_scheduler.num_train_timesteps\n"


def _skip(diagnosis: str | None, steps: str, name: str = "", start: str = SKIP_START) -> Case:
    return skip(diagnosis, body=f"{start}for t in {steps}:\n    x = self.p_sample(x, t)\nx0_pred = x", name=name)


JUMP = (
    SKIP_START
    + """
bars = self.var_scheduler.alphas_cumprod
for t in range(T - 1, -1, -k):
    eps = self.network(x, torch.full((shape[0],), t))
    x0 = (x - (1 - bars[t]).sqrt() * eps) / bars[t].sqrt()
    x = x0 if t - k < 0 else bars[t - k].sqrt() * x0 + (1 - bars[t - k]).sqrt() * eps
x0_pred = x
"""
)
RESPACED = (
    SKIP_START
    + """
bars = self.var_scheduler.alphas_cumprod
for t in range(T - 1, -1, -k):
    eps = self.network(x, torch.full((shape[0],), t))
    before = bars[t - k] if t >= k else torch.tensor(1.0)
    alpha = bars[t] / before
    x = (x - (1 - alpha) / (1 - bars[t]).sqrt() * eps) / alpha.sqrt()
    if t > 0:
        x = x + ((1 - before) / (1 - bars[t]) * (1 - alpha)).sqrt() * torch.randn_like(x)
x0_pred = x
"""
)

SKIPPING: tuple[Case, ...] = (
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
    skip(
        "skip-result-dropped",
        body=SKIP_START
        + """
for t in range(T - 1, -1, -k):
    x0_pred = self.p_sample(x, t)
""",
    ),
    skip(
        "skip-result-dropped",
        body=SKIP_START
        + """
for t in range(T - 1, -1, -k):
    x = self.p_sample(x, t)
x0_pred = x.clamp(-1, 1)
""",
        name="clamped-at-the-end",
    ),
)

LEFT_ALONE = Case(
    "companions-left-alone",
    bodies={
        f"extra.{row}": f'raise NotImplementedError("TODO extra.{row}")'
        for row in ("train_step", "sampler_loop", "forward_step", "naive_skip")
    },
)
WITHOUT_WARMUP = Case("companions-without-warmup", files={f"{TASK1}/warmup.py": None})

CASES: tuple[Case, ...] = TRAIN + SAMPLER + CHAIN + SKIPPING
