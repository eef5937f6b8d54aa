"""Mistakes in the cosine schedule, and right ones in other styles: bodies of cosine_betas(T, s, max_beta)."""

from __future__ import annotations

from functools import partial

from grader.judging.made_up import Case, Style, before, body, mistake
from grader.lab.files import SCHEDULER
from grader.lab.shared.made_up import NUMPY_SCHEDULER

ROW = "task2.cosine"
case, style = partial(mistake, ROW), partial(body, ROW)
ABOVE_COSINE = "def cosine_betas("

MISTAKES: tuple[Case, ...] = (
    case(
        "cosine-without-clip",
        3.5,
        """
        steps = torch.arange(num_train_timesteps + 1, dtype=torch.float64) / num_train_timesteps
        f = torch.cos((steps + s) / (1 + s) * math.pi / 2) ** 2
        betas = 1 - f[1:] / f[:-1]
    """,
    ),
    case(
        "cosine-without-f0",
        3.5,
        """
        # alpha-bar is 1 before the first step
        t = torch.arange(1, num_train_timesteps + 1).double() / num_train_timesteps
        alpha_bar = torch.cos((t + s) / (1 + s) * math.pi / 2).pow(2)
        alpha_bar = torch.cat([torch.ones(1).double(), alpha_bar])
        betas = (1 - alpha_bar[1:] / alpha_bar[:-1]).clamp(max=max_beta)
    """,
    ),
    case(
        "cosine-lower-clip",
        3.0,
        """
        x = torch.linspace(0, num_train_timesteps, num_train_timesteps + 1)
        alphas_cumprod = torch.cos(((x / num_train_timesteps) + s) / (1 + s) * torch.pi * 0.5) ** 2
        alphas_cumprod = alphas_cumprod / alphas_cumprod[0]
        betas = torch.clip(1 - (alphas_cumprod[1:] / alphas_cumprod[:-1]), 0.0001, 0.9999)
    """,
        name="cosine-lower-clip-and-another-upper",
    ),
    case(
        "cosine-lower-clip",
        3.5,
        """
        u = torch.linspace(0, 1, num_train_timesteps + 1, dtype=torch.float64)
        f = torch.cos((u + s) / (1 + s) * math.pi / 2) ** 2
        betas = (1 - f[1:] / f[:-1]).clamp(1e-4, max_beta)
    """,
    ),
    case(
        "cosine-other-clip",
        3.5,
        """
        def alpha_bar(t):
            return math.cos((t + s) / (1 + s) * math.pi / 2) ** 2
        n = num_train_timesteps
        betas = torch.tensor([min(1 - alpha_bar((i + 1) / n) / alpha_bar(i / n), 0.9999) for i in range(n)])
    """,
    ),
    case(
        "cosine-other-clip",
        0.5,
        """
        u = torch.linspace(0, 1, num_train_timesteps + 1, dtype=torch.float64)
        f = torch.cos((u + s) / (1 + s) * math.pi / 2) ** 2
        betas = (1 - f[1:] / f[:-1]).clamp(max=0.02)
    """,
        name="cosine-other-clip-at-beta-T",
    ),
    case(
        "cosine-without-offset",
        1.5,
        """
        steps = torch.arange(num_train_timesteps + 1, dtype=torch.float64)
        f = torch.cos(steps / num_train_timesteps * math.pi / 2) ** 2
        betas = (1 - f[1:] / f[:-1]).clamp(max=max_beta)
    """,
    ),
    case(
        "cosine-offset-in-steps",
        1.5,
        """
        steps = torch.arange(num_train_timesteps + 1, dtype=torch.float64)
        f = torch.cos((steps + s) / (num_train_timesteps + s) * math.pi / 2) ** 2
        betas = (1 - f[1:] / f[:-1]).clamp(max=max_beta)
    """,
    ),
    case(
        "cosine-offset-not-normalised",
        0.0,
        """
        steps = torch.arange(num_train_timesteps + 1, dtype=torch.float64)
        f = torch.cos((steps / num_train_timesteps + s) * math.pi / 2) ** 2
        alphas_cumprod = f / f[0]
        betas = torch.clamp(1 - alphas_cumprod[1:] / alphas_cumprod[:-1], max=max_beta)
    """,
    ),
    case(
        "cosine-not-squared",
        0.5,
        """
        steps = torch.arange(num_train_timesteps + 1, dtype=torch.float64)
        f = torch.cos((steps / num_train_timesteps + s) / (1 + s) * math.pi / 2)
        f = f / f[0]
        betas = (1 - f[1:] / f[:-1]).clamp(max=max_beta)
    """,
    ),
    case(
        "cosine-full-half-wave",
        0.0,
        """
        u = torch.linspace(0, 1, num_train_timesteps + 1, dtype=torch.float64)
        f = torch.cos((u + s) / (1 + s) * math.pi) ** 2
        betas = (1 - f[1:] / f[:-1]).clamp(max=max_beta)
    """,
    ),
    case(
        "alpha-bar-as-betas",
        0.0,
        """
        u = torch.arange(1, num_train_timesteps + 1, dtype=torch.float64) / num_train_timesteps
        f_0 = math.cos(s / (1 + s) * math.pi / 2) ** 2
        betas = (torch.cos((u + s) / (1 + s) * math.pi / 2) ** 2 / f_0).clamp(max=max_beta)
    """,
    ),
    case(
        "alphas-as-betas",
        0.0,
        """
        steps = torch.arange(num_train_timesteps + 1, dtype=torch.float64)
        f = torch.cos((steps / num_train_timesteps + s) / (1 + s) * math.pi / 2) ** 2
        betas = (f[1:] / f[:-1]).clamp(max=max_beta)
    """,
    ),
    case(
        "one-minus-alpha-bar-as-betas",
        0.5,
        """
        u = torch.arange(1, num_train_timesteps + 1, dtype=torch.float64) / num_train_timesteps
        f_0 = math.cos(s / (1 + s) * math.pi / 2) ** 2
        alpha_bar = torch.cos((u + s) / (1 + s) * math.pi / 2) ** 2 / f_0
        betas = (1 - alpha_bar).clamp(max=max_beta)
    """,
    ),
    case(
        "cosine-shifted",
        0.0,
        """
        u = torch.arange(num_train_timesteps, dtype=torch.float64) / num_train_timesteps
        f = torch.cos((u + s) / (1 + s) * math.pi / 2) ** 2
        betas = torch.zeros(num_train_timesteps, dtype=torch.float64)
        betas[1:] = (1 - f[1:] / f[:-1]).clamp(max=max_beta)
    """,
    ),
    case(
        "cosine-grid-too-short",
        0.0,
        """
        steps = torch.arange(num_train_timesteps, dtype=torch.float64)
        f = torch.cos((steps / num_train_timesteps + s) / (1 + s) * math.pi / 2) ** 2
        betas = (1 - f[1:] / f[:-1]).clamp(max=max_beta)
    """,
    ),
    case(
        "cosine-grid-too-short",
        0.5,
        """
        import numpy as np
        x = np.linspace(0, 1, num_train_timesteps)
        f = np.cos((x + s) / (1 + s) * np.pi / 2) ** 2
        f = np.concatenate([[1.0], f / f[0]])
        betas = torch.from_numpy(np.minimum(1 - f[1:] / f[:-1], max_beta))
    """,
        name="cosine-grid-too-short-and-padded",
    ),
    case(
        "cosine-one-too-many",
        0.0,
        """
        steps = torch.arange(num_train_timesteps + 1, dtype=torch.float64)
        f = torch.cos((steps / num_train_timesteps + s) / (1 + s) * math.pi / 2) ** 2
        betas = torch.cat([torch.zeros(1), 1 - f[1:] / f[:-1]]).clamp(max=max_beta)
    """,
    ),
    case(
        "cosine-reversed",
        0.0,
        """
        steps = torch.arange(num_train_timesteps + 1, dtype=torch.float64)
        f = torch.cos((steps / num_train_timesteps + s) / (1 + s) * math.pi / 2) ** 2
        betas = (1 - f[1:] / f[:-1]).clamp(max=max_beta).flip(0)
    """,
    ),
    case(
        "cosine-of-betas",
        0.5,
        """
        beta_1, beta_T = 1e-4, 0.02
        u = torch.linspace(0, 1, num_train_timesteps, dtype=torch.float64)
        betas = beta_1 + 0.5 * (beta_T - beta_1) * (1 - torch.cos(u * math.pi))
    """,
    ),
    case("cosine-is-linear", 0.0, "betas = torch.linspace(1e-4, 0.02, num_train_timesteps)"),
)

STYLES: tuple[Style, ...] = (
    style(
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
    ),
    style(
        "lambda-list",
        """
        alpha_bar = lambda t: math.cos((t + s) / (1.0 + s) * math.pi * 0.5) ** 2
        T = num_train_timesteps
        betas = torch.tensor([min(1 - alpha_bar((i + 1) / T) / alpha_bar(i / T), max_beta) for i in range(T)])
        """,
    ),
    style(
        "numpy-float64",
        """
        x = np.linspace(0, num_train_timesteps, num_train_timesteps + 1)
        alphas_cumprod = np.cos(((x / num_train_timesteps) + s) / (1 + s) * np.pi * 0.5) ** 2
        alphas_cumprod = alphas_cumprod / alphas_cumprod[0]
        betas = torch.from_numpy(np.clip(1 - alphas_cumprod[1:] / alphas_cumprod[:-1], 0, max_beta))
        """,
        NUMPY_SCHEDULER,
    ),
    style(
        "float32-throughout",
        """
        x = torch.linspace(0, num_train_timesteps, num_train_timesteps + 1)
        alphas_cumprod = torch.cos(((x / num_train_timesteps) + s) / (1 + s) * torch.pi * 0.5) ** 2
        alphas_cumprod = alphas_cumprod / alphas_cumprod[0]
        betas = 1 - (alphas_cumprod[1:] / alphas_cumprod[:-1])
        betas = torch.clip(betas, 0, 0.999)
        """,
    ),
    style(
        "float32-numpy",
        """
        t = np.arange(num_train_timesteps + 1, dtype=np.float32) / np.float32(num_train_timesteps)
        f = np.cos((t + np.float32(s)) / np.float32(1 + s) * np.float32(np.pi / 2)) ** 2
        bars = f / f[0]
        betas = torch.tensor(np.minimum((bars[:-1] - bars[1:]) / bars[:-1], np.float32(0.999)))
        """,
        NUMPY_SCHEDULER,
    ),
    style(
        "half-angle-float32",
        """
        u = torch.linspace(0, 1, num_train_timesteps + 1)
        f = (1 + torch.cos((u + s) / (1 + s) * math.pi)) / 2
        betas = torch.minimum(1 - f[1:] / f[:-1], torch.full((num_train_timesteps,), max_beta))
        """,
    ),
    style(
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
    style(
        "ones-and-logs",
        """
        angle = (torch.arange(num_train_timesteps + 1).double() / num_train_timesteps + s) / (1 + s) * math.pi / 2
        log_bar = 2 * torch.log(torch.cos(angle).clamp(min=1e-20))
        betas = -torch.expm1(torch.diff(log_bar))
        betas[betas > max_beta] = max_beta
        betas = betas.to(torch.float32)
        """,
    ),
)
