"""Stand-ins for the parts of a submission that a probe does not judge, and the forms of t that they may be given.

None of them holds an answer: their coefficients are arbitrary numbers that come with the request. They record what
they are shown. Students are given this file for their own check.
"""

import torch
from torch import nn


def as_steps(t, batch):
    """What a stand-in was given as t, as a float64 tensor of shape (B,); raises ValueError for other sizes."""
    steps = torch.as_tensor(t).detach().to(torch.float64).reshape(-1)
    if steps.numel() == 1:
        return steps.expand(batch).clone()
    if steps.numel() != batch:
        raise ValueError(f"t has {steps.numel()} values for a batch of {batch}")
    return steps


def forms_of(t, batch, order):
    """The forms in which t may reach a reverse step, in the order in which they are to be tried."""
    make = {
        "int": lambda: t,
        "0-d": lambda: torch.tensor(t),
        "[1]": lambda: torch.tensor([t]),
        "[B]": lambda: torch.full((batch,), t, dtype=torch.long),
    }
    return [(name, make[name]()) for name in order]


class AffineNetwork(nn.Module):
    """out = W x + slope t + bias over the feature axis (axis 1) of x: (B, D) or (B, C, H, W).

    It takes x and t under every name and position that editions of the lab use.
    """

    def __init__(self, weight, slope, bias, image_resolution=None):
        super().__init__()
        self.weight = nn.Parameter(weight.clone())  # (D, D)
        self.register_buffer("slope", slope.clone())  # (D,)
        self.register_buffer("bias", bias.clone())  # (D,)
        self.image_resolution = image_resolution
        self.calls = []

    @property
    def device(self):
        return self.weight.device

    def forward(self, x, t=None, class_label=None, timestep=None, **_):
        t = timestep if t is None else t
        steps = as_steps(t, x.shape[0])
        tail = [1] * (x.ndim - 2)
        mixed = torch.einsum("ij,bj...->bi...", self.weight.to(x.dtype), x)
        drift = torch.outer(steps, self.slope.double()) + self.bias.double()  # (B, D)
        self.calls.append({"x": x.detach().clone(), "t": steps})
        return mixed + drift.to(x.dtype).reshape(*drift.shape, *tail)


class AffineNoising:
    """Stand-in for q_sample / add_noise: x_t = signal[t] x_0 + spread[t] eps with arbitrary tables (any length)."""

    def __init__(self, signal, spread, returns_noise):
        self.signal, self.spread, self.returns_noise = signal, spread, returns_noise
        self.calls = []

    def __call__(self, x_0=None, t=None, eps=None, **names):
        x_0 = names.get("x0", x_0)
        eps = names.get("noise", eps)
        given = eps is not None
        if not given:
            eps = torch.randn_like(x_0)
        steps = as_steps(t, x_0.shape[0])
        index = steps.long().clamp(0, len(self.signal) - 1)
        tail = [1] * (x_0.ndim - 1)
        signal, spread = (table[index].reshape(-1, *tail).to(x_0) for table in (self.signal, self.spread))
        self.calls.append({"x0": x_0.detach().clone(), "t": steps, "eps": eps.detach().clone(), "given": given})
        x_t = signal * x_0 + spread * eps
        return (x_t, eps) if self.returns_noise else x_t


class GivenScheduler(nn.Module):
    """The lab's linear schedule as it is given to students, for losses whose scheduler.py cannot be used."""

    def __init__(self, T, beta_1, beta_T):
        super().__init__()
        self.num_train_timesteps = T
        betas = torch.linspace(beta_1, beta_T, T, dtype=torch.float64)
        for name, table in (("betas", betas), ("alphas", 1 - betas), ("alphas_cumprod", (1 - betas).cumprod(0))):
            self.register_buffer(name, table.float())
        self.register_buffer("timesteps", torch.arange(T - 1, -1, -1))

    def uniform_sample_t(self, batch_size, device=None):
        return torch.randint(self.num_train_timesteps, (batch_size,), device=device)

    @staticmethod
    def one_t_per_image(t, x):
        return torch.as_tensor(t, device=x.device).long().reshape(-1).expand(x.shape[0])

    @staticmethod
    def lookup(table, t, x):
        return table[t.to(table.device)].reshape(-1, *[1] * (x.dim() - 1))


class AffineStep:
    """Stand-in for p_sample: x -> gain x + offset[t], with a parameter so that a kept gradient shows."""

    def __init__(self, gain, offset):
        self.gain = nn.Parameter(torch.tensor(float(gain)))
        self.offset = offset  # (n, D)
        self.shown, self.steps = [], []

    def __call__(self, xt=None, t=None, **_):
        steps = as_steps(t, xt.shape[0])
        self.steps.append((float(steps.min()), float(steps.max())))
        if len(self.shown) < 4 * len(self.offset):  # a loop that never ends must not fill the memory
            self.shown.append(xt.detach().clone())
        index = int(min(max(steps[0], 0), len(self.offset) - 1))
        return self.gain * xt + self.offset[index].to(xt)
