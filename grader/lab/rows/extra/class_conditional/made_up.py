"""Mistakes in the exercise about class labels as students make them, and right solutions in other styles."""

from __future__ import annotations

from functools import partial

from grader.judging.made_up import Case, Style
from grader.records import Verdict

ROW = "extra.class_conditional"
EMBEDDING, DROPOUT, GUIDANCE = (f"{ROW} ({part})" for part in ("embedding", "dropout", "guidance"))


def _labels(diagnosis: str | None, part: str, body: str, name: str = "", verdict: Verdict = Verdict.FAILED) -> Case:
    label = f"class_conditional-{name or diagnosis}"
    return Case(label, ROW, 0.0, diagnosis, {part: body}, verdict=verdict)


_embedding, _dropout, _guidance = (partial(_labels, part=part) for part in (EMBEDDING, DROPOUT, GUIDANCE))
NULLS = "if labels is None:\n    labels = torch.full((len(time),), null_label, device=time.device)\n"
COND = "cond = network(x_t, timestep=t, class_label=labels)\n"
TWO = COND + "uncond = network(x_t, timestep=t, class_label=torch.full_like(labels, null_label))\n"


def _style(part: str, name: str, text: str) -> Style:
    return Style(ROW, name, {part: text})


MISTAKES: tuple[Case, ...] = (
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

STYLES: tuple[Style, ...] = (
    _style(EMBEDDING, "full-then-add", NULLS + "both = time + class_embedding(labels)"),
    _style(
        EMBEDDING,
        "weight-rows",
        """
rows = class_embedding.weight[null_label] if labels is None else class_embedding.weight[labels]
both = time + rows
""",
    ),
    _style(
        DROPOUT,
        "bernoulli",
        """
probabilities = torch.full(labels.shape, float(p))
kept_or_null = labels.masked_fill(torch.bernoulli(probabilities, generator=generator).bool(), null_label)
""",
    ),
    _style(
        DROPOUT,
        "clone-and-index",
        """
kept_or_null = labels.clone()
kept_or_null[torch.rand(len(labels), generator=generator) < p] = null_label
""",
    ),
    _style(
        DROPOUT,
        "kept",
        """
keep = torch.rand(labels.shape[0], generator=generator) >= p
kept_or_null = labels * keep + null_label * ~keep
""",
    ),
    _style(GUIDANCE, "two-calls", TWO + "eps = uncond + scale * (cond - uncond)"),
    _style(GUIDANCE, "weighted-sum", TWO + "eps = scale * cond + (1 - scale) * uncond"),
    _style(GUIDANCE, "paper-s-w", TWO + "w = scale - 1\neps = (1 + w) * cond - w * uncond"),
    _style(GUIDANCE, "lerp", TWO + "eps = torch.lerp(uncond, cond, scale)"),
    _style(
        GUIDANCE, "without-labels-is-null", COND + "uncond = network(x_t, t)\neps = uncond + scale * (cond - uncond)"
    ),
)
