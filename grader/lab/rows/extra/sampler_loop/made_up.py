"""Mistakes in `sample` as students make them, and right solutions in other styles."""

from __future__ import annotations

from grader.judging.made_up import Case, Style, body, mistake, swapped

ROW = "extra.sampler_loop"

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
    return mistake(ROW, diagnosis, 0.0, swapped(START + LOOP + NOISE, *swaps), name=name)


MISTAKES: tuple[Case, ...] = (
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

STYLES: tuple[Style, ...] = tuple(
    body(ROW, name, text, replace)
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
