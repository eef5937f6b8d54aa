"""Mistakes in `train_step` as students make them, and right solutions in other styles."""

from __future__ import annotations

from functools import partial

from grader.judging.made_up import Case, Style, before, body, mistake, swapped
from grader.lab.files import TASK1
from grader.records import Verdict

ROW = "extra.train_step"

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
SEED_OF_T, SEED_OF_EPS = "manual_seed(int(seed))\n", "manual_seed(int(seed) + 1)\n"

_wrong = partial(mistake, ROW, points=0.0)


def _train(diagnosis: str | None, *swaps: tuple[str, str], name: str = "") -> Case:
    """The right step with some of its text replaced."""
    return _wrong(diagnosis, body=swapped(DRAW + NOISED + PREDICT + GRADIENT + UPDATE, *swaps), name=name)


MISTAKES: tuple[Case, ...] = (
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
    _wrong(None, body="w_new = None", name="returns-none", verdict=Verdict.MISSING),
    _wrong(None, body=DRAW_T + "w_new = x_clean @ w_model", name="crashes", verdict=Verdict.CRASHED),
)

STYLES: tuple[Style, ...] = tuple(
    body(ROW, name, text, replace)
    for name, text, replace in (
        (
            "global-state-seeded-twice",
            """
        torch.manual_seed(int(seed))
        t = torch.randint(0, betas.shape[0], (1,)).item()
        torch.manual_seed(int(seed) + 1)
        eps = torch.randn_like(x_clean)
        xt = alpha_bar[t] ** 0.5 * x_clean + (1 - alpha_bar[t]) ** 0.5 * eps
        ones = torch.ones(x_clean.size(0), 1)
        A = torch.hstack((xt, ones * (t / len(betas))))
        error = A @ w_model - eps
        w_new = (w_model - lr * 2.0 * (A.t() @ error) / error.numel()).reshape(-1)
        """,
            None,
        ),
        (
            "einsum",
            """
        g, h = torch.Generator(), torch.Generator()
        g.manual_seed(int(seed)), h.manual_seed(int(seed) + 1)
        t = torch.randint(num_timesteps, size=(1,), generator=g)
        eps = torch.empty_like(x_clean).normal_(generator=h)
        xt = alpha_bar[t].sqrt() * x_clean + (1 - alpha_bar[t]).sqrt() * eps
        inp = torch.nn.functional.pad(xt, (0, 1), value=float(t) / num_timesteps)
        r = torch.einsum("ni,ij->nj", inp, w_model) - eps
        w_new = torch.ravel(w_model - 2 * lr / r.numel() * torch.einsum("ni,nj->ij", inp, r))
        """,
            None,
        ),
        (
            "float64-inside",
            """
        t = int(torch.randint(0, num_timesteps, (1,), generator=torch.Generator().manual_seed(int(seed))))
        eps = torch.randn(*x_clean.shape, generator=torch.Generator().manual_seed(int(seed) + 1)).double()
        ab = torch.cumprod(1 - betas.double(), 0)[t]
        xt = ab.sqrt() * x_clean.double() + (1 - ab).sqrt() * eps
        column = torch.full((len(xt), 1), t / num_timesteps, dtype=torch.float64)
        a = torch.cat((xt, column), 1)
        w = w_model.double()
        w_new = (w - lr * (2 / eps.numel()) * (a.T @ (a @ w) - a.T @ eps)).float().flatten()
        """,
            None,
        ),
        (
            "numpy-arithmetic",
            """
        t = int(torch.randint(0, num_timesteps, (1,), generator=torch.Generator().manual_seed(int(seed))))
        eps = torch.randn(x_clean.shape, generator=torch.Generator().manual_seed(int(seed) + 1)).numpy()
        ab = float(alpha_bar[t])
        xt = np.sqrt(ab) * x_clean.numpy() + np.sqrt(1 - ab) * eps
        a = np.concatenate([xt, np.full((len(xt), 1), t / num_timesteps)], axis=1)
        slope = a.T @ (a @ w_model.numpy() - eps) * 2 / eps.size
        w_new = torch.tensor(w_model.numpy() - lr * slope, dtype=torch.float32).flatten()
        """,
            before(f"{TASK1}/warmup.py", "import torch\n", "import numpy as np\n"),
        ),
        (
            "sgd-with-a-hand-made-gradient",
            """
        g = torch.Generator().manual_seed(seed)
        t = torch.randint(0, num_timesteps, (1,), generator=g).item()
        g.manual_seed(seed + 1)
        eps = torch.randn(x_clean.shape, generator=g)
        a = torch.cat([alpha_bar[t].sqrt() * x_clean + (1 - alpha_bar[t]).sqrt() * eps,
                       torch.ones(len(eps), 1).mul_(t).div_(num_timesteps)], dim=1)
        by_row = [torch.outer(a[i], a[i] @ w_model - eps[i]) for i in range(len(a))]
        w = w_model.clone()
        w -= lr * 2 * torch.stack(by_row).mean(0) / eps.shape[1]
        w_new = w.view(-1)
        """,
            None,
        ),
    )
)
