"""Mistakes in the image half's companion exercises, as students make them, and right answers in other styles.

These rows have no points.
"""

from __future__ import annotations

from functools import partial

from grader.judging.made_up import Case, mistake
from grader.lab.files import TASK2
from grader.records import Verdict

fast, labels, parity = (
    partial(mistake, f"extra.{row}", points=0.0) for row in ("fast_sample", "class_conditional", "diffusers_parity")
)
EMBEDDING, DROPOUT, GUIDANCE = (f"extra.class_conditional ({part})" for part in ("embedding", "dropout", "guidance"))

FAST = """
steps = list(range(T - 1, -1, -every))
x = x_T
for j, i in enumerate(steps):
    t = torch.full((x.shape[0],), i, dtype=torch.long, device=x.device)
    eps = as_noise(scheduler, x, i, network(x, t), predictor)
    ab = scheduler.alphas_cumprod[i]
    ab_next = scheduler.alphas_cumprod[steps[j + 1]] if j + 1 < len(steps) else torch.tensor(1.0)
    x0_pred = (x - (1 - ab).sqrt() * eps) / ab.sqrt()
    x = ab_next.sqrt() * x0_pred + (1 - ab_next).sqrt() * eps
x_0 = x
"""
PREDICTED = "x0_pred = (x - (1 - ab).sqrt() * eps) / ab.sqrt()"
JUMP = "x = ab_next.sqrt() * x0_pred + (1 - ab_next).sqrt() * eps"
NEXT = "ab_next = scheduler.alphas_cumprod[steps[j + 1]] if j + 1 < len(steps) else torch.tensor(1.0)"
STEPS = "range(T - 1, -1, -every)"
EQ11 = "b = scheduler.betas[i]\n    x = (x - b / (1 - ab).sqrt() * eps) / (1 - b).sqrt()"
POSTERIOR = """ab_prev = scheduler.alphas_cumprod[i - 1] if i > 0 else torch.tensor(1.0)
    b = scheduler.betas[i]
    x = ab_prev.sqrt() * b / (1 - ab) * x0_pred + (1 - b).sqrt() * (1 - ab_prev) / (1 - ab) * x"""
STOCHASTIC = """var = (1 - ab_next) / (1 - ab) * (1 - ab / ab_next)
    x = ab_next.sqrt() * x0_pred + (1 - ab_next - var).clamp(min=0).sqrt() * eps + var.sqrt() * torch.randn_like(x)"""


def _swapped(text: str, swaps: tuple[tuple[str, str], ...]) -> str:
    for old, new in swaps:
        if old not in text:
            raise ValueError(f"no {old!r} in the right answer")
        text = text.replace(old, new)
    return text


def _fast(diagnosis: str | None, *swaps: tuple[str, str], name: str = "", verdict: Verdict = Verdict.FAILED) -> Case:
    """The right sampler with some of its text replaced."""
    return fast(diagnosis, body=_swapped(FAST, swaps), name=name, verdict=verdict)


SAMPLERS: tuple[Case, ...] = (
    _fast("fast-one-step-coefficients", (NEXT, "ab_next = scheduler.alphas_cumprod[i - 1] if i else torch.ones(())")),
    _fast("fast-one-step-coefficients", (JUMP, EQ11), name="eq-11"),
    _fast("fast-one-step-coefficients", (JUMP, POSTERIOR), name="eq-7"),
    _fast(
        "fast-one-step-coefficients",
        (
            JUMP,
            EQ11
            + """
    if i > 0:
        x = x + b.sqrt() * torch.randn_like(x)""",
        ),
        name="eq-11-with-noise",
    ),
    _fast("fast-noise-added", (JUMP, JUMP + "\n    x = x + scheduler.betas[i].sqrt() * torch.randn_like(x)")),
    _fast("fast-noise-added", (JUMP, STOCHASTIC), name="eta-1"),
    _fast("fast-noise-added", (JUMP, JUMP.replace("* eps", "* torch.randn_like(x)")), name="renoised"),
    _fast("fast-lost-square-root", (PREDICTED, "x0_pred = (x - (1 - ab) * eps) / ab.sqrt()")),
    _fast("fast-lost-square-root", (PREDICTED, "x0_pred = (x - (1 - ab) ** 0.5 * eps) / ab"), name="by-alpha-bar"),
    _fast("fast-lost-square-root", (JUMP, "x = ab_next * x0_pred + (1 - ab_next) * eps"), name="root-lost-in-jump"),
    _fast("fast-alpha-for-alpha-bar", ("alphas_cumprod", "alphas")),
    _fast("fast-alpha-for-alpha-bar", ("ab = scheduler.alphas_cumprod", "ab = scheduler.alphas"), name="alpha-in-x0"),
    _fast("fast-direction-left-out", (JUMP, "x = ab_next.sqrt() * x0_pred")),
    _fast("fast-direction-of-xt", (JUMP, "x = ab_next.sqrt() * x0_pred + (1 - ab_next).sqrt() * x")),
    _fast("fast-old-noise-level", (JUMP, "x = ab_next.sqrt() * x0_pred + (1 - ab).sqrt() * eps")),
    _fast("fast-jump-to-x0", (JUMP, "x = x0_pred")),
    _fast("fast-weights-swapped", (JUMP, "x = (1 - ab_next).sqrt() * x0_pred + ab_next.sqrt() * eps")),
    _fast("fast-sign", (JUMP, "x = ab_next.sqrt() * x0_pred - (1 - ab_next).sqrt() * eps")),
    _fast("fast-sign", (PREDICTED, "x0_pred = (x + (1 - ab).sqrt() * eps) / ab.sqrt()"), name="sign-in-x0"),
    _fast(
        "fast-index-shifted",
        ("scheduler.alphas_cumprod[i]", "scheduler.alphas_cumprod[min(i + 1, T - 1)]"),
        ("[steps[j + 1]]", "[steps[j + 1] + 1]"),
    ),
    _fast("fast-last-not-x0", ("torch.tensor(1.0)", "scheduler.alphas_cumprod[0]")),
    _fast("fast-last-not-x0", (NEXT, "ab_next = scheduler.alphas_cumprod[max(i - every, 0)]"), name="clamped-index"),
    _fast("fast-last-not-x0", (NEXT, "ab_next = scheduler.alphas_cumprod[i - every]"), name="wrapped-index"),
    _fast("fast-not-skipping", (STEPS, "range(T - 1, -1, -1)")),
    _fast("fast-upwards", (STEPS, "range(0, T, every)")),
    _fast("fast-last-step-left-out", (STEPS, "range(T - 1, -1, -every)[:-1]")),
    _fast("fast-last-step-left-out", ("enumerate(steps)", "enumerate(steps[:-1])"), name="pairs-only"),
    _fast("fast-network-told-the-count", ("(x.shape[0],), i,", "(x.shape[0],), len(steps) - 1 - j,")),
    _fast("fast-other-stride", (STEPS, "range(T - 1, -1, -(every + 1))")),
    _fast("fast-other-stride", (STEPS, "torch.linspace(T - 1, 0, T // every).long().tolist()"), name="linspace"),
    _fast("fast-starts-elsewhere", (STEPS, "range(T - 1 - every, -1, -every)")),
    _fast("fast-start-redrawn", ("x = x_T", "x = torch.randn_like(x_T)")),
    _fast("fast-predictor-ignored", ("as_noise(scheduler, x, i, network(x, t), predictor)", "network(x, t)")),
    _fast("fast-changed-in-place", (JUMP, "x.copy_(ab_next.sqrt() * x0_pred + (1 - ab_next).sqrt() * eps)")),
    _fast(None, ("x_0 = x", "x_0 = x.clamp(-0.2, 0.2)"), name="clamped-too-much"),
    fast(None, body="x_0 = network(x_T, T)[0].missing", name="crashes", verdict=Verdict.CRASHED),
    fast(None, body="x_0 = None", name="returns-none", verdict=Verdict.MISSING),
)


def _labels(diagnosis: str | None, part: str, body: str, name: str = "", verdict: Verdict = Verdict.FAILED) -> Case:
    label = f"class_conditional-{name or diagnosis}"
    return Case(label, "extra.class_conditional", 0.0, diagnosis, {part: body}, verdict=verdict)


_embedding, _dropout, _guidance = (partial(_labels, part=part) for part in (EMBEDDING, DROPOUT, GUIDANCE))
NULLS = "if labels is None:\n    labels = torch.full((len(time),), null_label, device=time.device)\n"
COND = "cond = network(x_t, timestep=t, class_label=labels)\n"
TWO = COND + "uncond = network(x_t, timestep=t, class_label=torch.full_like(labels, null_label))\n"

CLASSES: tuple[Case, ...] = (
    _embedding("class-replaces-time", body=NULLS + "both = class_embedding(labels)"),
    _embedding("class-multiplied", body=NULLS + "both = time * class_embedding(labels)"),
    _embedding("class-concatenated", body=NULLS + "both = torch.cat([time, class_embedding(labels)], dim=-1)"),
    _embedding("class-ignored", body="both = time"),
    _embedding("null-row-left-out", body="both = time if labels is None else time + class_embedding(labels)"),
    _embedding(
        "null-label-is-a-class", body=NULLS.replace("null_label", "0") + "both = time + class_embedding(labels)"
    ),
    _embedding(
        "labels-changed-in-place",
        body=NULLS + "time += class_embedding(labels)\nboth = time",
        name="time-changed-in-place",
    ),
    _embedding(None, body="both = time + class_embedding(labels)", name="none-crashes", verdict=Verdict.CRASHED),
    _dropout(
        "null-label-wrong",
        body="""
dropped = torch.rand(labels.shape, generator=generator) < p
kept_or_null = labels * ~dropped
""",
    ),
    _dropout(
        "null-label-wrong",
        body="""
dropped = torch.rand(labels.shape, generator=generator) < p
kept_or_null = torch.where(dropped, -1, labels)
""",
        name="minus-1",
    ),
    _dropout(
        "dropout-of-whole-batches",
        body="""
drop = torch.rand(1, generator=generator).item() < p
kept_or_null = torch.full_like(labels, null_label) if drop else labels.clone()
""",
    ),
    _dropout(
        "dropout-of-a-fixed-number",
        body="""
kept_or_null = labels.clone()
chosen = torch.randperm(len(labels), generator=generator)[:round(p * len(labels))]
kept_or_null[chosen] = null_label
""",
    ),
    _dropout("dropout-never", body="kept_or_null = labels"),
    _dropout(
        "dropout-never",
        body="""
dropped = torch.rand(labels.shape, generator=generator) < p
torch.where(dropped, null_label, labels)
kept_or_null = labels
""",
        name="result-lost",
    ),
    _dropout("dropout-always", body="kept_or_null = torch.full_like(labels, null_label)"),
    _dropout(
        "dropout-inverted",
        body="""
mask = torch.rand(labels.shape, generator=generator) < p
kept_or_null = torch.where(mask, labels, null_label)
""",
    ),
    _dropout(
        "dropout-inverted",
        body="""
mask = torch.rand(labels.shape, generator=generator) > p
kept_or_null = labels.masked_fill(mask, null_label)
""",
        name="greater-than",
    ),
    _dropout(
        "dropout-share-fixed",
        body="""
mask = torch.rand(labels.shape, generator=generator) < 0.1
kept_or_null = labels.masked_fill(mask, null_label)
""",
    ),
    _dropout(
        "dropout-share-wrong",
        body="""
mask = torch.randn(labels.shape, generator=generator) < p
kept_or_null = labels.masked_fill(mask, null_label)
""",
    ),
    _dropout(
        "dropout-repeats-itself",
        body="""
generator = torch.Generator().manual_seed(0)
mask = torch.rand(labels.shape, generator=generator) < p
kept_or_null = labels.masked_fill(mask, null_label)
""",
        name="seed-inside",
    ),
    _dropout(
        "dropout-generator-ignored",
        body="""
mask = torch.rand(labels.shape) < p
kept_or_null = labels.masked_fill(mask, null_label)
""",
    ),
    _dropout(
        "labels-changed-in-place",
        body="""
labels[torch.rand(labels.shape, generator=generator) < p] = null_label
kept_or_null = labels
""",
    ),
    _guidance("guidance-swapped", body=TWO + "eps = cond + scale * (uncond - cond)"),
    _guidance(
        "guidance-swapped",
        body="""
both = torch.cat([torch.full_like(labels, null_label), labels])
eps_cond, eps_uncond = network(torch.cat([x_t] * 2), timestep=torch.cat([t] * 2), class_label=both).chunk(2)
eps = eps_uncond + scale * (eps_cond - eps_uncond)
""",
        name="chunks-exchanged",
    ),
    _guidance("guidance-other-convention", body=TWO + "eps = (1 + scale) * cond - scale * uncond"),
    _guidance("guidance-other-convention", body=TWO + "eps = cond + scale * (cond - uncond)", name="from-the-class"),
    _guidance("guidance-negative", body=TWO + "eps = uncond - scale * (cond - uncond)"),
    _guidance("guidance-not-a-difference", body=TWO + "eps = uncond + scale * cond"),
    _guidance("guidance-difference-alone", body=TWO + "eps = scale * (cond - uncond)"),
    _guidance("guidance-scale-ignored", body=COND + "eps = cond"),
    _guidance(
        "guidance-null-label",
        body=TWO.replace("torch.full_like(labels, null_label)", "torch.zeros_like(labels)")
        + "eps = uncond + scale * (cond - uncond)",
    ),
    _guidance(
        "labels-changed-in-place",
        body=COND
        + """
labels[:] = null_label
uncond = network(x_t, timestep=t, class_label=labels)
eps = uncond + scale * (cond - uncond)
""",
        name="guidance-changes-labels",
    ),
    _guidance(None, body=TWO + "eps = uncond + scale ** 2 * (cond - uncond)", name="scale-squared"),
    _guidance(None, body='raise NotImplementedError("TODO")', name="guidance-left-alone"),
)

CLASSES_OF = "ddpm_class, ddim_class = diffusers_classes()\n"
SETTINGS = """
T, betas = scheduler.num_train_timesteps, scheduler.betas.cpu().numpy()
ddpm = ddpm_class(T, trained_betas=betas, clip_sample=False)
ddim = ddim_class(T, trained_betas=betas, clip_sample=False, timestep_spacing="trailing")
"""


def _parity(diagnosis: str | None, *swaps: tuple[str, str], name: str = "") -> Case:
    return parity(diagnosis, body=CLASSES_OF + _swapped(SETTINGS, swaps), name=name)


LIBRARY: tuple[Case, ...] = (
    _parity("parity-betas", ("trained_betas=betas, ", "")),
    _parity(
        "parity-betas",
        ("trained_betas=betas, ", "beta_start=float(betas[0]), beta_end=float(betas[-1]), "),
        name="linear-betas",
    ),
    _parity("parity-clip-sample", (", clip_sample=False", "")),
    _parity("parity-clip-sample", ("clip_sample=False, timestep", "timestep"), name="clipped-in-ddim"),
    _parity("parity-spacing", (', timestep_spacing="trailing"', "")),
    _parity("parity-spacing", ('"trailing"', '"linspace"'), name="linspace"),
    _parity("parity-spacing", ('"trailing"', '"leading", steps_offset=1'), name="steps-offset"),
    _parity("parity-last-alpha", ('"trailing"', '"trailing", set_alpha_to_one=False')),
    _parity(
        "parity-variance-type",
        ("betas, clip_sample=False)\nddim", "betas, clip_sample=False, variance_type='fixed_large')\nddim"),
    ),
    _parity("parity-prediction-type", ("clip_sample=False", "clip_sample=False, prediction_type='sample'")),
    _parity("parity-thresholding", ("clip_sample=False, timestep", "clip_sample=False, thresholding=True, timestep")),
    _parity("parity-zero-snr", ("clip_sample=False", "clip_sample=False, rescale_betas_zero_snr=True")),
    _parity("parity-timesteps", ("class(T, trained_betas=betas, ", "class(")),
    _parity("parity-exchanged", ("ddpm =", "_ ="), ("ddim =", "ddpm ="), ("_ =", "ddim =")),
)

LEFT_ALONE = Case(
    "image-companions-left-alone",
    bodies={
        name: f'raise NotImplementedError("TODO {name}")'
        for name in ("extra.fast_sample", EMBEDDING, DROPOUT, GUIDANCE, "extra.diffusers_parity")
    },
)
WITHOUT_FILE = Case("without-companions", files={f"{TASK2}/companions.py": None})

CASES: tuple[Case, ...] = SAMPLERS + CLASSES + LIBRARY

# Right answers in other styles: (block, name, body).
STYLES: tuple[tuple[str, str, str], ...] = (
    ("extra.fast_sample", "listed-steps", FAST),
    ("extra.fast_sample", "multiples-of-k", FAST.replace(STEPS, "reversed(range(0, T, every))")),
    (
        "extra.fast_sample",
        "last-step-at-0-too",
        FAST.replace(f"steps = list({STEPS})", f"steps = sorted({{*{STEPS}, 0}}, reverse=True)"),
    ),
    (
        "extra.fast_sample",
        "clamped-x0",
        FAST.replace(PREDICTED, "x0_pred = ((x - (1 - ab).sqrt() * eps) / ab.sqrt()).clamp(-1, 1)"),
    ),
    (
        "extra.fast_sample",
        "padded-table-and-int-t",
        """
bars = torch.cat([torch.ones(1), scheduler.alphas_cumprod.cpu()]).double()
x_0 = x_T.clone()
t = T
while t > 0:
    eps = as_noise(scheduler, x_0, t - 1, network(x_0, timestep=t - 1), predictor)
    ab, ab_next = bars[t], bars[max(t - every, 0)]
    ratio = float((ab_next / ab).sqrt())
    x_0 = ratio * x_0 + float((1 - ab_next).sqrt() - ratio * (1 - ab).sqrt()) * eps
    t -= every
""",
    ),
    (
        "extra.fast_sample",
        "returns-in-the-loop",
        """
x_t = x_T
for t in scheduler.timesteps[::every]:
    eps_theta = as_noise(scheduler, x_t, t, network(x_t, timestep=t.expand(len(x_t))), predictor)
    bar = scheduler.alphas_cumprod[t]
    x_0 = (x_t - torch.sqrt(1 - bar) * eps_theta) / torch.sqrt(bar)
    if t - every < 0:
        break
    bar = scheduler.alphas_cumprod[t - every]
    x_t = torch.sqrt(bar) * x_0 + torch.sqrt(1 - bar) * eps_theta
""",
    ),
    (EMBEDDING, "full-then-add", NULLS + "both = time + class_embedding(labels)"),
    (
        EMBEDDING,
        "weight-rows",
        """
rows = class_embedding.weight[null_label] if labels is None else class_embedding.weight[labels]
both = time + rows
""",
    ),
    (
        DROPOUT,
        "bernoulli",
        """
probabilities = torch.full(labels.shape, float(p))
kept_or_null = labels.masked_fill(torch.bernoulli(probabilities, generator=generator).bool(), null_label)
""",
    ),
    (
        DROPOUT,
        "clone-and-index",
        """
kept_or_null = labels.clone()
kept_or_null[torch.rand(len(labels), generator=generator) < p] = null_label
""",
    ),
    (
        DROPOUT,
        "kept",
        """
keep = torch.rand(labels.shape[0], generator=generator) >= p
kept_or_null = labels * keep + null_label * ~keep
""",
    ),
    (GUIDANCE, "two-calls", TWO + "eps = uncond + scale * (cond - uncond)"),
    (GUIDANCE, "weighted-sum", TWO + "eps = scale * cond + (1 - scale) * uncond"),
    (GUIDANCE, "paper-s-w", TWO + "w = scale - 1\neps = (1 + w) * cond - w * uncond"),
    (GUIDANCE, "lerp", TWO + "eps = torch.lerp(uncond, cond, scale)"),
    (GUIDANCE, "without-labels-is-null", COND + "uncond = network(x_t, t)\neps = uncond + scale * (cond - uncond)"),
    (
        "extra.diffusers_parity",
        "direct-import",
        "from diffusers import DDIMScheduler as ddim_class\n"
        "from diffusers import DDPMScheduler as ddpm_class\n" + SETTINGS,
    ),
    (
        "extra.diffusers_parity",
        "from-config",
        CLASSES_OF
        + """
ddpm = ddpm_class(num_train_timesteps=len(scheduler.betas), trained_betas=scheduler.betas.tolist(), clip_sample=False,
                  variance_type="fixed_small_log", prediction_type="epsilon", timestep_spacing="trailing")
ddim = ddim_class.from_config(ddpm.config, set_alpha_to_one=True)
""",
    ),
)
