"""Mistakes in add_noise as students make them, and right solutions in other styles."""

from __future__ import annotations

from functools import partial

from grader.judging.made_up import Case, Style, before, body, mistake
from grader.lab.files import SCHEDULER
from grader.lab.shared.made_up import ABOVE_ADD_NOISE, NUMPY_SCHEDULER, without_given_t
from grader.records import Verdict

ROW = "task2.add_noise"
DRAW, RETURN = "eps = torch.randn_like(x_0)", "return x_t, eps"
case, style = partial(mistake, ROW), partial(body, ROW)


def _edited(diagnosis: str, points: float, old: str, new: str, name: str = "") -> Case:
    """A mistake in what stands around the TODO block."""
    return case(diagnosis, points, name=name, replace={SCHEDULER: [(old, new)]})


MISTAKES: tuple[Case, ...] = (
    case(
        "lost-square-root",
        2.0,
        """
        ab = self.lookup(self.alphas_cumprod, t, x_0)
        x_t = ab * x_0 + (1 - ab) * eps
    """,
    ),
    case(
        "lost-square-root-signal",
        2.0,
        """
        a = self.alphas_cumprod.to(x_0.device)[t].view(-1, 1, 1, 1)
        x_t = a * x_0 + torch.sqrt(1.0 - a) * eps
    """,
    ),
    case(
        "lost-square-root-noise",
        2.0,
        """
        mean = torch.sqrt(self.lookup(self.alphas_cumprod, t, x_0)) * x_0
        var = 1.0 - self.lookup(self.alphas_cumprod, t, x_0)
        x_t = mean + var * eps
    """,
    ),
    case(
        "alpha-for-alpha-bar",
        2.0,
        """
        alpha_t = self.lookup(self.alphas, t, x_0)
        x_t = alpha_t ** 0.5 * x_0 + (1 - alpha_t) ** 0.5 * eps
    """,
    ),
    case(
        "alpha-for-alpha-bar",
        2.0,
        """
        x_t = self.lookup(self.alphas_cumprod, t, x_0).sqrt() * x_0
        x_t = x_t + self.lookup(self.betas, t, x_0).sqrt() * eps
    """,
        name="alpha-for-alpha-bar-in-the-noise",
    ),
    case(
        "beta-for-alpha-bar",
        2.0,
        """
        b = self.lookup(self.betas, t, x_0)
        x_t = b.sqrt() * x_0 + (1 - b).sqrt() * eps
    """,
    ),
    case(
        "signal-and-noise-swapped",
        2.0,
        """
        alpha_bar = self.lookup(self.alphas_cumprod, t, x_0)
        x_t = torch.sqrt(1 - alpha_bar) * x_0 + torch.sqrt(alpha_bar) * eps
    """,
    ),
    case(
        "t-off-by-one",
        2.0,
        """
        ab = self.lookup(self.alphas_cumprod, (t - 1).clamp(min=0), x_0)
        x_t = torch.sqrt(ab) * x_0 + torch.sqrt(1 - ab) * eps
    """,
    ),
    case(
        "t-off-by-one",
        2.0,
        """
        # index t - 1, since the paper counts from 1
        ab = self.alphas_cumprod[t - 1][:, None, None, None]
        x_t = ab.sqrt() * x_0 + (1 - ab).sqrt() * eps
    """,
        name="t-off-by-one-wrapped",
    ),
    case(
        "one-t-for-the-batch",
        2.0,
        """
        ab = self.alphas_cumprod[t[0]]
        x_t = ab.sqrt() * x_0 + (1 - ab).sqrt() * eps
    """,
    ),
    case(
        "schedule-reversed",
        2.0,
        """
        ab = self.lookup(self.alphas_cumprod.flip(0), t, x_0)
        x_t = ab.sqrt() * x_0 + (1 - ab).sqrt() * eps
    """,
    ),
    case("x0-unchanged", 0.0, "x_t = x_0"),
    case("noise-left-out", 0.0, "x_t = torch.sqrt(self.lookup(self.alphas_cumprod, t, x_0)) * x_0"),
    case("signal-left-out", 1.5, "x_t = torch.sqrt(1 - self.lookup(self.alphas_cumprod, t, x_0)) * eps"),
    case("signal-not-scaled", 2.0, "x_t = x_0 + torch.sqrt(1 - self.lookup(self.alphas_cumprod, t, x_0)) * eps"),
    case("noise-not-scaled", 2.0, "x_t = torch.sqrt(self.lookup(self.alphas_cumprod, t, x_0)) * x_0 + eps"),
    case(
        "noise-subtracted",
        2.0,
        """
        ab = self.lookup(self.alphas_cumprod, t, x_0)
        x_t = ab.sqrt() * x_0 - (1 - ab).sqrt() * eps
    """,
    ),
    case(
        "given-noise-ignored",
        1.5,
        """
        eps = torch.randn_like(x_0)
        ab = self.lookup(self.alphas_cumprod, t, x_0)
        x_t = torch.sqrt(ab) * x_0 + torch.sqrt(1 - ab) * eps
    """,
    ),
    case(
        "noise-drawn-twice",
        1.5,
        """
        ab = self.lookup(self.alphas_cumprod, t, x_0)
        x_t = torch.sqrt(ab) * x_0 + torch.sqrt(1 - ab) * torch.randn_like(x_0)
    """,
    ),
    _edited("noise-drawn-twice", 3.5, RETURN, "return x_t, torch.randn_like(x_t)", "noise-drawn-twice-at-the-end"),
    _edited("noise-not-returned", 3.5, RETURN, "return x_t"),
    _edited("noise-shared-in-batch", 3.0, DRAW, "eps = torch.randn_like(x_0[:1]).expand_as(x_0)"),
    _edited(
        "noise-shared-in-batch",
        2.5,
        DRAW,
        "eps = torch.randn(x_0.shape[1:], device=x_0.device)",
        "noise-shared-in-batch-by-broadcast",
    ),
    _edited("noise-not-gaussian", 3.0, DRAW, "eps = torch.rand_like(x_0)"),
    case(
        "inputs-changed-in-place",
        3.5,
        """
        ab = self.lookup(self.alphas_cumprod, t, x_0)
        x_0 *= ab.sqrt()
        x_0 += (1 - ab).sqrt() * eps
        x_t = x_0
    """,
    ),
    case(None, 0.0, "x_t = None", name="placeholder", verdict=Verdict.NOT_IMPLEMENTED),
)
STYLES: tuple[Style, ...] = (
    style(
        "indexing",
        """
        a = self.alphas_cumprod[t][:, None, None, None]
        x_t = torch.sqrt(a) * x_0 + torch.sqrt(1 - a) * eps
        """,
        {SCHEDULER: without_given_t(ROW, "x_0")},
    ),
    style(
        "gather",
        """
        abar = self.alphas_cumprod.to(x_0.device).gather(-1, t.long()).view(x_0.shape[0], *([1] * (x_0.ndim - 1)))
        x_t = abar ** 0.5 * x_0 + (1.0 - abar) ** 0.5 * eps
        """,
    ),
    style(
        "numpy-tables",
        """
        bars = np.cumprod(1 - self.betas.numpy().astype(np.float64))[t.numpy()]
        first = torch.from_numpy(np.sqrt(bars)).float().view(-1, 1, 1, 1)
        second = torch.from_numpy(np.sqrt(1 - bars)).float().view(-1, 1, 1, 1)
        x_t = first * x_0 + second * eps
        """,
        NUMPY_SCHEDULER,
    ),
    style(
        "einsum",
        """
        a = self.alphas_cumprod[t]
        x_t = torch.einsum("b,bchw->bchw", a.sqrt(), x_0) + torch.einsum("b,bchw->bchw", (1 - a).sqrt(), eps)
        """,
    ),
    style(
        "float64-inside",
        """
        a = self.lookup(self.alphas_cumprod.double(), t, x_0)
        x_t = (a.sqrt() * x_0 + (1 - a).sqrt() * eps).type_as(x_0)
        """,
    ),
    style(
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
    style(
        "sample-by-sample",
        """
        x_t = torch.empty_like(x_0)
        for i in range(x_0.shape[0]):
            bar = self.alphas_cumprod[t[i]]
            x_t[i] = bar.sqrt() * x_0[i] + (1 - bar).sqrt() * eps[i]
        """,
    ),
)
