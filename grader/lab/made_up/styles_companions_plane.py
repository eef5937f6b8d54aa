"""Right solutions of the 2D half's companion exercises in other styles than `solutions/`."""

from __future__ import annotations

from grader.judging.made_up import Case, Style, before, body
from grader.lab.files import DDPM, TASK1

WARMUP = f"{TASK1}/warmup.py"

TRAIN_STEP = tuple(
    body("extra.train_step", name, text, replace)
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
            before(WARMUP, "import torch\n", "import numpy as np\n"),
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

SAMPLER_LOOP = tuple(
    body("extra.sampler_loop", name, text, replace)
    for name, text, replace in (
        (
            "global-state-seeded",
            """
        N, d = int(shape[0]), int(shape[1])
        torch.manual_seed(int(seed))
        x = torch.randn(N, d)
        for t in range(num_timesteps)[::-1]:
            eps = torch.cat([x, torch.ones(N, 1) * t / num_timesteps], 1) @ w_model
            x = (x - betas[t] / (1 - alpha_bar[t]) ** 0.5 * eps) / (1 - betas[t]) ** 0.5
            if t:
                torch.manual_seed(int(seed) + 100 + t)
                x += betas[t] ** 0.5 * torch.randn(N, d)
        """,
            None,
        ),
        (
            "one-generator-seeded-anew",
            """
        g = torch.Generator()
        x = torch.randn(shape.int().tolist(), generator=g.manual_seed(int(seed)))
        t = num_timesteps
        while t > 0:
            t -= 1
            eps = x @ w_model[:-1] + t / num_timesteps * w_model[-1]
            x = torch.rsqrt(1 - betas[t]) * (x - betas[t] * torch.rsqrt(1 - alpha_bar[t]) * eps)
            if t > 0:
                z = torch.empty_like(x).normal_(generator=g.manual_seed(int(seed) + 100 + t))
                x = torch.addcmul(x, betas[t].sqrt().expand_as(x), z)
        """,
            None,
        ),
        (
            "noise-times-zero",
            """
        alphas = 1 - betas
        x = torch.randn(num_points, dim, generator=torch.Generator().manual_seed(seed))
        for t in torch.arange(num_timesteps - 1, -1, -1):
            column = torch.full((num_points, 1), float(t) / num_timesteps)
            eps = torch.mm(torch.hstack([x, column]), w_model)
            z = torch.randn(x.shape, generator=torch.Generator().manual_seed(int(seed + 100 + t)))
            x = (x - betas[t] / torch.sqrt(1 - alpha_bar[t]) * eps) / torch.sqrt(alphas[t])
            x = x + torch.sqrt(betas[t]) * z * (t > 0)
        """,
            None,
        ),
    )
)

FORWARD_STEP = tuple(
    body("extra.forward_step", name, text, replace)
    for name, text, replace in (
        (
            "indexing",
            """
        beta_t = self.var_scheduler.betas[t]
        while beta_t.dim() not in (0, x_prev.dim()):
            beta_t = beta_t.unsqueeze(-1)
        xt = torch.sqrt(1.0 - beta_t) * x_prev + torch.sqrt(beta_t) * torch.randn(x_prev.shape, device=x_prev.device)
        """,
            None,
        ),
        (
            "alphas-and-normal",
            """
        alpha = extract(self.var_scheduler.alphas, t, x_prev)
        xt = torch.normal(alpha.sqrt() * x_prev, (1 - alpha).sqrt().expand_as(x_prev))
        """,
            None,
        ),
        (
            "ratio-of-bars",
            """
        t = torch.as_tensor(t).reshape(-1)
        bar = extract(self.var_scheduler.alphas_cumprod.double(), t, x_prev)
        before = extract(self.var_scheduler.alphas_cumprod.double(), (t - 1).clamp(min=0), x_prev)
        a = torch.where((t == 0).reshape(bar.shape), bar, bar / before).float()
        xt = x_prev * a.sqrt() - (1 - a).sqrt() * torch.randn_like(x_prev)
        """,
            None,
        ),
        (
            "numpy-noise",
            """
        beta = float(self.var_scheduler.betas[int(t)])
        z = torch.from_numpy(np.random.standard_normal(tuple(x_prev.shape))).to(x_prev)
        xt = (1 - beta) ** 0.5 * x_prev + beta ** 0.5 * z
        """,
            before(DDPM, "import torch\n", "import numpy as np\n"),
        ),
    )
)

NAIVE_SKIP = tuple(
    body("extra.naive_skip", name, text, replace)
    for name, text, replace in (
        (
            "last-step-at-0",
            """
        timesteps = list(range(self.var_scheduler.num_train_timesteps - 1, -1, -k))
        if timesteps[-1] != 0:
            timesteps.append(0)
        x0_pred = torch.randn(*shape, device=self.device)
        for t in timesteps:
            x0_pred = self.p_sample(x0_pred, torch.full((shape[0],), t, device=self.device))
        """,
            None,
        ),
        (
            "countdown",
            """
        x, t = torch.randn(shape).to(self.device), len(self.var_scheduler.betas) - 1
        while t >= 0:
            x = self.p_sample(xt=x, t=torch.tensor([t]))
            t -= k
        x0_pred = x
        """,
            None,
        ),
        (
            "flipped-grid",
            """
        grid = torch.arange(self.var_scheduler.num_train_timesteps).flip(0)[::k]
        x0_pred = torch.empty(shape, device=self.device).normal_()
        for t in grid.tolist():
            x0_pred = self.p_sample(x0_pred, t)
        """,
            None,
        ),
        (
            "step-inlined",
            """
        s, T = self.var_scheduler, self.var_scheduler.num_train_timesteps
        x = torch.randn(shape, device=self.device)
        for t in range(T - 1, -1, -k):
            eps = self.network(x, torch.full((shape[0],), t))
            bar, before = s.alphas_cumprod[t], s.alphas_cumprod[t - 1] if t > 0 else torch.tensor(1.0)
            x = (x - s.betas[t] / (1 - bar).sqrt() * eps) / s.alphas[t].sqrt()
            x = x + (s.betas[t] * (1 - before) / (1 - bar)).sqrt() * torch.randn_like(x)
        x0_pred = x
        """,
            None,
        ),
    )
)

STYLES: tuple[Style, ...] = (*TRAIN_STEP, *SAMPLER_LOOP, *FORWARD_STEP, *NAIVE_SKIP)


def _carried(number: int) -> Case:
    """One submission with style `number` of each exercise."""
    styles = [of_row[number % len(of_row)] for of_row in (TRAIN_STEP, SAMPLER_LOOP, FORWARD_STEP, NAIVE_SKIP)]
    bodies = {name: text for style in styles for name, text in style.bodies.items()}
    replace = {path: pairs for style in styles for path, pairs in style.replace.items()}
    return Case(f"companions-right-{number}", bodies=bodies, replace=replace)


CASES: tuple[Case, ...] = tuple(_carried(number) for number in range(len(TRAIN_STEP)))
