"""Code as submissions for other editions of this lab have it: hard-coded CUDA, other signatures, files of their own."""

from __future__ import annotations

from grader.judging.made_up import Pairs, before
from grader.lab.files import DDPM, MODEL, SCHEDULER
from grader.lab.shared.made_up import without_given_t
from grader.lab.shared.reverse_made_up import END_OF_INIT, SIGMAS

CUDA_BODIES = {
    "task1.simplenet": """
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cuda:0")
        self.net = nn.Sequential(nn.Linear(dim_in + 1, dim_hids[0]), nn.ReLU(),
                                 nn.Linear(dim_hids[0], dim_out)).to("cuda")
        self.T = num_timesteps
        """,
    "task1.simplenet (forward)": """
        t = t.to("cuda").float().reshape(-1, 1).expand(x.shape[0], 1) / self.T
        x = self.net(torch.cat([x.cuda(), t.to(x.dtype)], dim=1))
        """,
    "task1.p_sample_loop": """
        x0_pred = torch.randn(shape).cuda()
        for i in reversed(range(self.var_scheduler.num_train_timesteps)):
            x0_pred = self.p_sample(x0_pred, torch.full((shape[0],), i, device="cuda", dtype=torch.long))
        torch.cuda.empty_cache()
        """,
    "task1.compute_loss": """
        t = torch.randint(0, self.var_scheduler.num_train_timesteps, size=(x0.shape[0],), device="cuda").long()
        noise = torch.randn_like(x0, device="cuda")
        loss = F.mse_loss(self.network(self.q_sample(x0, t, noise), t), noise).cuda()
        """,
    "task2.cosine": """
        u = torch.linspace(0, 1, num_train_timesteps + 1, device="cuda", dtype=torch.float64)
        f = torch.cos((u + s) / (1 + s) * math.pi / 2) ** 2
        betas = torch.clamp(1 - f[1:] / f[:-1], max=max_beta).to("cuda")
        """,
    "task2.add_noise": """
        eps = eps.cuda()
        a = self.alphas_cumprod.to("cuda")[t].view(-1, 1, 1, 1)
        x_t = a.sqrt() * x_0.to(torch.device("cuda", 0)) + (1 - a).sqrt() * eps
        """,
    "task2.step_mean": """
        z = torch.randn(x_t.shape, device="cuda") if t[0] > 0 else torch.zeros(x_t.shape, device="cuda")
        sample_prev = mean_theta + self.lookup(self.sigmas.cuda(), t, x_t) * z
        """,
    "task2.loss_x0": """
        with torch.autocast("cuda", enabled=False):
            t = self.var_scheduler.uniform_sample_t(x0.shape[0], "cuda")
            x_t, _ = self.var_scheduler.add_noise(x0.cuda(), t, noise)
            loss = F.mse_loss(self.network(x_t, timestep=t), x0)
        """,
}
CUDA_REPLACE: dict[str, Pairs] = {
    SCHEDULER: [
        ("eps = torch.randn_like(x_0)\n", "eps = torch.randn(x_0.shape, device='cuda')\n"),
        (END_OF_INIT, END_OF_INIT + SIGMAS),
    ],
    DDPM: [("noise = torch.randn_like(x0)\n\n", "noise = torch.randn(x0.shape).to('cuda')\n\n")],
}

# Three-argument step without step_predict_*, which alone makes a tensor of t; one loss; no predictor, no sigma_type.
EDITION_SCHEDULER = """
import numpy as np
import torch
import torch.nn as nn
from typing import Optional, Union


class BaseScheduler(nn.Module):
    def __init__(self, num_train_timesteps: int, beta_1: float, beta_T: float, mode="linear"):
        super().__init__()
        self.num_train_timesteps = num_train_timesteps
        self.timesteps = torch.from_numpy(np.arange(0, self.num_train_timesteps)[::-1].copy().astype(np.int64))
        if mode == "linear":
            betas = torch.linspace(beta_1, beta_T, steps=num_train_timesteps)
        elif mode == "quad":
            betas = torch.linspace(beta_1 ** 0.5, beta_T ** 0.5, num_train_timesteps) ** 2
        else:
            raise NotImplementedError(f"{mode} is not implemented.")
        alphas = 1 - betas
        self.register_buffer("betas", betas)
        self.register_buffer("alphas", alphas)
        self.register_buffer("alphas_cumprod", torch.cumprod(alphas, dim=0))

    def uniform_sample_t(self, batch_size, device: Optional[torch.device] = None) -> torch.IntTensor:
        ts = np.random.choice(np.arange(self.num_train_timesteps), batch_size)
        ts = torch.from_numpy(ts)
        return ts.to(device) if device is not None else ts


class DDPMScheduler(BaseScheduler):
    def __init__(self, num_train_timesteps: int, beta_1: float, beta_T: float, mode="linear"):
        super().__init__(num_train_timesteps, beta_1, beta_T, mode)
        before = torch.cat([torch.ones(1), self.alphas_cumprod[:-1]])
        self.register_buffer("sigmas", ((1 - before) / (1 - self.alphas_cumprod) * self.betas).sqrt())

    def _pick(self, table, t):
        return table.gather(0, t.long()).reshape(-1, 1, 1, 1)

    @torch.no_grad()
    def step(self, sample: torch.Tensor, timestep: Union[torch.IntTensor, int], noise_pred: torch.Tensor):
        if isinstance(timestep, int):
            timestep = torch.tensor([timestep])
        timestep = timestep.to(sample.device).reshape(-1)
        alpha, bar = self._pick(self.alphas, timestep), self._pick(self.alphas_cumprod, timestep)
        mean = (sample - (1 - alpha) / (1 - bar).sqrt() * noise_pred) / alpha.sqrt()
        return mean + self._pick(self.sigmas, timestep) * torch.randn_like(sample)

    def add_noise(self, original_sample: torch.Tensor, timesteps: torch.IntTensor, noise: torch.Tensor = None):
        if noise is None:
            noise = torch.randn_like(original_sample)
        bar = self._pick(self.alphas_cumprod, timesteps)
        return bar.sqrt() * original_sample + (1 - bar).sqrt() * noise, noise
"""
EDITION_MODEL = """
import torch
import torch.nn as nn
import torch.nn.functional as F
from scheduler import DDPMScheduler


class DiffusionModule(nn.Module):
    def __init__(self, network, var_scheduler, **kwargs):
        super().__init__()
        self.network = network
        self.var_scheduler = var_scheduler

    def get_loss(self, x0, class_label=None, noise=None):
        B = x0.shape[0]
        timestep = self.var_scheduler.uniform_sample_t(B, self.device)
        x_noisy, eps = self.var_scheduler.add_noise(x0, timestep)
        return F.mse_loss(self.network(x_noisy, timestep, class_label), eps)

    @property
    def device(self):
        return next(self.network.parameters()).device
"""

# TODO code in files of the student's own: a module, a package, and one whose name a file of the grader's worker has.
HELPER_FILES = {
    "2d_plot_diffusion_todo/utils.py": '''
import torch


def forward_jump(x0, noise, bar):
    """Add noise."""
    return bar.sqrt() * x0 + (1 - bar).sqrt() * noise
''',
    "image_diffusion_todo/loading.py": """
def blend(a, x, b, y):
    return a * x + b * y
""",
    "image_diffusion_todo/my_math/__init__.py": "from .steps import add_sigma\n",
    "image_diffusion_todo/my_math/steps.py": """
import torch


def add_sigma(mean, sigma, t):
    return mean + sigma * torch.randn_like(mean) * (t > 0).view(-1, 1, 1, 1)
""",
}
HELPER_BODIES = {
    "task1.q_sample": "xt = utils.forward_jump(x0, noise, extract(self.var_scheduler.alphas_cumprod, t, x0))",
    "task2.add_noise": """
        bar = self.lookup(self.alphas_cumprod, t, x_0)
        x_t = blend(bar.sqrt(), x_0, (1 - bar).sqrt(), eps)
        """,
    "task2.step_mean": "sample_prev = add_sigma(mean_theta, self.lookup(self.sigmas, t, x_t), t)",
}
HELPER_REPLACE = before(DDPM, "import torch.nn.functional as F\n", "import utils\n") | before(
    SCHEDULER,
    "import torch.nn.functional as F\n",
    "from loading import blend\nfrom my_math import add_sigma\n",
)
HELPER_REPLACE[SCHEDULER].append((END_OF_INIT, END_OF_INIT + SIGMAS))

# `step` makes (B,) of every t, and the methods that it calls take nothing else.
IN_STEP_REPLACE: dict[str, Pairs] = {
    SCHEDULER: [
        (
            '        if predictor == "noise":\n',
            "        t = torch.as_tensor(t, device=x_t.device).reshape(-1).expand(x_t.shape[0])\n"
            '        if predictor == "noise":\n',
        ),
        *without_given_t("task2.step_noise"),
        *without_given_t("task2.step_x0"),
        *without_given_t("task2.step_mean"),
    ],
    MODEL: [("self.network(x_t, timestep=t, class_label=class_label)", "self.network(x_t, t, class_label)")],
}
