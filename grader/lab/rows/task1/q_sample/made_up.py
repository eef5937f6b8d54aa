"""Mistakes in q_sample as students make them, and right solutions in other styles."""

from __future__ import annotations

from functools import partial

from grader.judging.made_up import Case, Style, before, body, mistake
from grader.lab.files import DDPM
from grader.lab.shared.made_up import NUMPY_DDPM

ROW = "task1.q_sample"
FORMULA_LOST = 1.5  # drawn noise 1.0 and untouched inputs 0.5 remain
GATHERED = "ab = extract(self.var_scheduler.alphas_cumprod, t, x0)\n"
ABOVE_P_SAMPLE = "    @torch.no_grad()\n    def p_sample(self,"
BUFFERS_END = '        self.register_buffer("alphas_cumprod", alphas_cumprod.float())\n'
DRAW = "noise = torch.randn_like(x0)"  # given, above the TODO


style = partial(body, ROW)


def _case(name: str, diagnosis: str, text: str, points: float = FORMULA_LOST) -> Case:
    return mistake(ROW, diagnosis, points, text, name=name)


def _redrawn(name: str, diagnosis: str, draw: str) -> Case:
    """The given line that draws the noise is rewritten: the closed form 2.5 and untouched inputs 0.5 remain."""
    return mistake(ROW, diagnosis, 3.0, name=name, replace={DDPM: [(DRAW, f"noise = {draw}")]})


MISTAKES: tuple[Case, ...] = (
    _case("lost-square-root", "lost-square-root", GATHERED + "xt = ab * x0 + (1 - ab) * noise"),
    _case(
        "lost-square-root-signal",
        "lost-square-root-signal",
        """
        alpha_bar = self.var_scheduler.alphas_cumprod[t].unsqueeze(-1)
        xt = alpha_bar * x0 + torch.sqrt(1 - alpha_bar) * noise
    """,
    ),
    _case(
        "lost-square-root-noise",
        "lost-square-root-noise",
        """
        a = torch.gather(self.var_scheduler.alphas_cumprod, 0, t).view(-1, 1)
        xt = torch.sqrt(a) * x0 + (1.0 - a) * noise
    """,
    ),
    _case(
        "alpha-for-alpha-bar",
        "alpha-for-alpha-bar",
        """
        alpha = extract(self.var_scheduler.alphas, t, x0)
        xt = alpha ** 0.5 * x0 + (1 - alpha) ** 0.5 * noise
    """,
    ),
    _case(
        "alpha-under-the-noise",
        "alpha-for-alpha-bar",
        GATHERED
        + """
alpha = extract(self.var_scheduler.alphas, t, x0)
xt = ab.sqrt() * x0 + (1 - alpha).sqrt() * noise
    """,
    ),
    _case(
        "beta-for-alpha-bar",
        "beta-for-alpha-bar",
        """
        beta = extract(self.var_scheduler.betas, t, x0)
        xt = beta.sqrt() * x0 + (1 - beta).sqrt() * noise
    """,
    ),
    _case("swapped", "signal-and-noise-swapped", GATHERED + "xt = (1 - ab).sqrt() * x0 + ab.sqrt() * noise"),
    _case(
        "t-too-early",
        "t-off-by-one",
        """
        ab = extract(self.var_scheduler.alphas_cumprod, torch.clamp(t - 1, min=0), x0)
        xt = ab.sqrt() * x0 + (1 - ab).sqrt() * noise
    """,
    ),
    _case(
        "t-too-late",
        "t-off-by-one",
        """
        last = self.var_scheduler.num_train_timesteps - 1
        ab = extract(self.var_scheduler.alphas_cumprod, (t + 1).clamp(max=last), x0)
        xt = ab.sqrt() * x0 + (1 - ab).sqrt() * noise
    """,
    ),
    _case(
        "one-t",
        "one-t-for-the-batch",
        """
        step = int(torch.as_tensor(t).reshape(-1)[0])
        ab = self.var_scheduler.alphas_cumprod[step]
        xt = torch.sqrt(ab) * x0 + torch.sqrt(1 - ab) * noise
    """,
    ),
    _case(
        "schedule-reversed",
        "schedule-reversed",
        """
        ab = extract(self.var_scheduler.alphas_cumprod.flip(0), t, x0)
        xt = ab.sqrt() * x0 + (1 - ab).sqrt() * noise
    """,
    ),
    _case("placeholder", "x0-unchanged", "xt = x0", 0.0),
    _case("noise-left-out", "noise-left-out", GATHERED + "xt = torch.sqrt(ab) * x0", 0.0),
    _case("pure-noise", "signal-left-out", "xt = noise", 1.0),
    _case("signal-not-scaled", "signal-not-scaled", GATHERED + "xt = x0 + torch.sqrt(1 - ab) * noise"),
    _case("noise-not-scaled", "noise-not-scaled", GATHERED + "xt = ab.sqrt() * x0 + noise"),
    _case("noise-subtracted", "noise-subtracted", GATHERED + "xt = ab.sqrt() * x0 - (1 - ab).sqrt() * noise"),
    _case(
        "given-noise-ignored",
        "given-noise-ignored",
        GATHERED
        + """
eps = torch.randn_like(x0)
xt = ab.sqrt() * x0 + (1 - ab).sqrt() * eps
    """,
    ),
    _case(
        "in-place",
        "inputs-changed-in-place",
        GATHERED
        + """
x0 *= ab.sqrt()
x0 += (1 - ab).sqrt() * noise
xt = x0
    """,
        3.5,
    ),
    _case(
        "in-place-noise",
        "inputs-changed-in-place",
        GATHERED
        + """
xt = noise.mul_((1 - ab).sqrt()).add_(ab.sqrt() * x0)
    """,
        3.5,
    ),
    _redrawn("noise-shared-in-batch", "noise-shared-in-batch", "torch.randn(x0.shape[1:])"),
    _redrawn("noise-shared-by-coordinates", "noise-shared-in-batch", "torch.randn(x0.shape[0], 1)"),
    _redrawn("uniform-noise", "noise-not-gaussian", "torch.rand_like(x0)"),
)
STYLES: tuple[Style, ...] = (
    style(
        "indexing",
        """
        abar = self.var_scheduler.alphas_cumprod[t].view(-1, 1)
        xt = torch.sqrt(abar) * x0 + torch.sqrt(1.0 - abar) * noise
        """,
    ),
    style(
        "own-gather",
        """
        t_index = torch.as_tensor(t, device=x0.device).view(-1)
        abar = torch.gather(self.var_scheduler.alphas_cumprod, 0, t_index)
        while abar.dim() < x0.dim():
            abar = abar.unsqueeze(-1)
        mean, std = abar ** 0.5 * x0, (1 - abar) ** 0.5
        xt = mean + std * noise
        """,
    ),
    style(
        "numpy-tables",
        """
        betas = self.var_scheduler.betas.cpu().numpy().astype("float64")
        abar = np.cumprod(1.0 - betas)
        a = torch.from_numpy(np.sqrt(abar)).to(x0)[t].reshape(-1, 1)
        b = torch.from_numpy(np.sqrt(1.0 - abar)).to(x0)[t].reshape(-1, 1)
        xt = a * x0 + b * noise
        """,
        NUMPY_DDPM,
    ),
    style(
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
    style(
        "float64-inside",
        """
        abar = extract(self.var_scheduler.alphas_cumprod.double(), t, x0)
        xt = (abar.sqrt() * x0.double() + (1 - abar).sqrt() * noise.double()).to(x0.dtype)
        """,
    ),
    style(
        "addcmul",
        """
        abar = extract(self.var_scheduler.alphas_cumprod, t, x0)
        xt = torch.addcmul(x0.mul(abar.sqrt()), (1 - abar).sqrt().expand_as(x0), noise)
        """,
    ),
    style(
        "signal-to-noise-form",
        """
        abar = extract(self.var_scheduler.alphas_cumprod, t, x0)
        xt = abar.sqrt() * (x0 + (1 / abar - 1).sqrt() * noise)
        """,
    ),
    style(
        "trigonometric",
        """
        angle = torch.acos(extract(self.var_scheduler.alphas_cumprod, t, x0).sqrt())
        xt = torch.cos(angle) * x0 + torch.sin(angle) * noise
        """,
    ),
    style(
        "product-of-alphas",
        """
        logs = torch.cumsum(torch.log(self.var_scheduler.alphas), dim=0)
        abar = torch.exp(extract(logs, t, x0))
        xt = torch.sqrt(abar) * x0 + torch.sqrt(1 - abar) * noise
        """,
    ),
    style(
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
