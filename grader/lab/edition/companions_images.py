"""Public checks of the companion exercises in image_diffusion_todo, which have no points."""

from __future__ import annotations

import importlib
from typing import Any

import torch

from .compare import T, Wrong, check_close, check_statistics, check_tensor, golden
from .task2 import IMAGES, STEP_HINTS, new_scheduler

EQUATIONS = {
    "extra.fast_sample": "x_s = sqrt(alpha-bar_s) x0_pred + sqrt(1 - alpha-bar_s) eps_theta    DDIM Eq. 12",
    "extra.class_conditional": "eps without the class, plus scale times what the class changes    CFG Eq. 6",
    "extra.diffusers_parity": "DDPM: Eq. 11 and the posterior variance; DDIM: Eq. 12 with sigma = 0, T-1, T-1-k, ...",
}
GRIDS = {1: [*range(T - 1, -1, -1)], 3: [9, 6, 3, 0], 4: [9, 5, 1]}  # of T = 10
SHAPE = (2, 3, 4, 4)
PARITY_HINTS = {"mean": "are the betas the lab's? is the predicted x_0 clipped?", "spread": "see variance_type"}


class Way:
    """A clean image and the noise in it: for a network that knows both, x_t is known at every t."""

    def __init__(self, reach: float = 1.0) -> None:
        self.x_0, self.eps = reach * (torch.rand(SHAPE) * 2 - 1), torch.randn(SHAPE)

    def at(self, t: int) -> torch.Tensor:
        return golden("forward_of_x0")[t] * self.x_0 + golden("forward_of_noise")[t] * self.eps


def check_fast_sample() -> None:
    fast_sample = importlib.import_module("companions").fast_sample
    for predictor in ("noise", "x0"):
        for k, due in GRIDS.items():
            way = Way()
            known = way.eps if predictor == "noise" else way.x_0
            seen: list[tuple[int, torch.Tensor]] = []

            def network(x_t: torch.Tensor, timestep: torch.Tensor, out: Any = known, s: list = seen) -> Any:
                s.append((int(timestep.reshape(-1)[0]), x_t.clone()))
                return out

            x_T = way.at(T - 1)
            before = x_T.clone()
            where = f'fast_sample in companions.py, every = {k}, T = {T}, predictor "{predictor}"'
            out = fast_sample(network, new_scheduler(), x_T, k, predictor)
            visited = [t for t, _ in seen]
            if visited != due:
                hint = "count down from T-1, k at a time, as long as t is not negative"
                raise Wrong("the timesteps at which the network is asked", f"{due}", f"{visited[:12]}", where, hint)
            for t, shown in seen:
                hint = "both alpha-bars of a jump: the one at t takes x_t apart, the one at t-k puts it together"
                check_close(shown, way.at(t), f"what the network is shown at t = {t}", where, hint, atol=1e-3)
            hint = "past t = 0 there is no noise left: which alpha-bar is that?"
            check_close(out, way.x_0, "x_0, for a network that knows it", where, hint, atol=1e-3)
            check_kept(before, x_T, "x_T", where)


def check_kept(before: torch.Tensor, after: torch.Tensor, name: str, where: str) -> None:
    if not torch.equal(before, after):
        hint = "operations such as x *= ... change the caller's tensor"
        raise Wrong(f"that {name} is left as it was", "unchanged", "changed", where, hint)


def check_class_conditional() -> None:
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
        check_kept(before, labels, "the tensor of labels", where)
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

    def network(x: torch.Tensor, timestep: torch.Tensor, class_label: torch.Tensor) -> torch.Tensor:
        return x * timestep.reshape(-1, 1, 1, 1) / T + class_label.reshape(-1, 1, 1, 1)

    free, wanted = network(x_t, t, torch.tensor([7, 7])), network(x_t, t, labels)
    for scale, due in ((0.0, free), (1.0, wanted), (3.0, 3 * wanted - 2 * free)):
        where = f"guided_noise in companions.py, scale = {scale:g}, null_label 7"
        hint = "0 leaves the class out, 1 is the prediction for it, and beyond 1 lies further away from the former"
        check_close(guided_noise(network, x_t, t, labels, scale, 7), due, "the noise", where, hint, atol=1e-3)


def check_diffusers_parity() -> None:
    ddpm, ddim = importlib.import_module("companions").diffusers_schedulers(new_scheduler())
    x_t, out = (golden(key).reshape(1, 3, 1, 1).expand(IMAGES).clone() for key in ("step_xt", "step_out"))
    for row, t in enumerate(golden("step_t").tolist()):
        where = f"the first of diffusers_schedulers in companions.py, a step at t = {t}"
        images = check_tensor(ddpm.step(out, t, x_t).prev_sample, IMAGES, "the result of one step", where)
        pixels = images.movedim(1, -1).reshape(-1, 3)
        spread = golden("step_spread")[row].item()
        check_statistics(pixels, golden("step_mean_noise")[row], spread, where, STEP_HINTS | PARITY_HINTS)
    way, due = Way(reach=3.0), [9, 7, 5, 3, 1]  # beyond [-1, 1], where clipping shows
    ddim.set_timesteps(len(due))
    where = f"the second of diffusers_schedulers in companions.py, set_timesteps({len(due)}), T = {T}"
    grid = [int(t) for t in ddim.timesteps]
    if grid != due:
        raise Wrong("its timesteps", f"{due}", f"{grid}", where, "which timestep_spacing begins at T-1?")
    x = way.at(T - 1)
    for t in due:
        check_close(x, way.at(t), f"x at t = {t}", where, "are the betas the lab's? is anything clipped?", atol=1e-3)
        x = ddim.step(way.eps, t, x).prev_sample
    check_close(x, way.x_0, "x_0, for a network that knows the noise", where, "see set_alpha_to_one", atol=1e-3)
