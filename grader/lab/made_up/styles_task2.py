"""Right solutions of the schedule, the noising and the losses of the image half, in many styles."""

from __future__ import annotations

from grader.judging.made_up import Style, before, body
from grader.lab.files import SCHEDULER
from grader.lab.shared.made_up import NUMPY_SCHEDULER

ABOVE_COSINE = "def cosine_betas("

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

STYLES: tuple[Style, ...] = COSINE
