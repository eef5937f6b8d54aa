"""Public check of the companion exercises on class labels in image_diffusion_todo/companions.py."""

from __future__ import annotations

import importlib

import torch

from grader.lab.edition.compare import T, Wrong, check_close, check_kept
from grader.lab.edition.ways import SHAPE

EQUATION = "eps without the class, plus scale times what the class changes    CFG Eq. 6"


def check() -> None:
    check_embedding()
    check_dropout()
    check_guidance()


def check_embedding() -> None:
    add_class = importlib.import_module("companions").add_class
    table, time = torch.nn.Embedding(5, 6), torch.randn(3, 6)
    for labels, rows in ((torch.tensor([0, 3, 4]), [0, 3, 4]), (None, [4, 4, 4])):
        where = f"add_class in companions.py, labels {None if labels is None else rows}, null_label 4"
        due = torch.stack([time[i] + table.weight[row] for i, row in enumerate(rows)])
        hint = "each image gets the row of its class; without labels, that of null_label"
        check_close(add_class(time, labels, table, 4), due.detach(), "time and class together", where, hint)


def check_dropout() -> None:
    drop_labels = importlib.import_module("companions").drop_labels
    labels = torch.randint(0, 10, (20_000,))
    before = labels.clone()
    for p in (0.0, 0.25, 1.0):
        where = f"drop_labels in companions.py, labels (20000,), p = {p}, null_label 10"
        first, again = (drop_labels(labels, p, 10, torch.Generator().manual_seed(3)) for _ in range(2))
        check_kept(before, labels, "labels", where)
        if first.shape != labels.shape or not ((first == labels) | (first == 10)).all():
            got, hint = "something else", "the result has the shape of labels"
            raise Wrong("each result", "the label that it was, or null_label", got, where, hint)
        share = (first == 10).double().mean().item()
        if abs(share - p) > 0.02:
            hint = "compare a draw from [0, 1) with p, one draw for each label"
            raise Wrong("the share that is dropped", f"{p:.2f}", f"{share:.2f}", where, hint)
        if not torch.equal(first, again):
            hint = "hand the generator on to torch.rand"
            raise Wrong("two calls with generators of one seed", "the same labels", "others", where, hint)


def check_guidance() -> None:
    guided_noise = importlib.import_module("companions").guided_noise
    x_t, t, labels = torch.randn(SHAPE), torch.tensor([3, 5]), torch.tensor([1, 2])

    def network(x: torch.Tensor, timestep: torch.Tensor, class_label: torch.Tensor | None = None) -> torch.Tensor:
        label = torch.tensor([7, 7]) if class_label is None else class_label  # as in add_class
        return x * timestep.reshape(-1, 1, 1, 1) / T + label.reshape(-1, 1, 1, 1)

    free, wanted = network(x_t, t, torch.tensor([7, 7])), network(x_t, t, labels)
    for scale, due in ((0.0, free), (1.0, wanted), (3.0, 3 * wanted - 2 * free)):
        where = f"guided_noise in companions.py, scale = {scale:g}, null_label 7"
        hint = "0 leaves the class out, 1 is the prediction for it, and beyond 1 lies further away from the former"
        check_close(guided_noise(network, x_t, t, labels, scale, 7), due, "the noise", where, hint, atol=1e-3)
