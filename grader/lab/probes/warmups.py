"""Calls of the plane's warm-ups, which are given all that they need, under gradients that are switched off."""

from contextlib import contextmanager

import torch
from building import need_function
from probing import need_tensor


class AutogradUsed(Exception):
    """A gradient was asked of autograd, where it is to be derived by hand."""


@contextmanager
def by_hand():
    """Gradients disabled, and a call that asks autograd for one ended by AutogradUsed."""

    def refuse(*args, **kwargs):
        raise AutogradUsed

    kept = torch.autograd.backward, torch.autograd.grad
    torch.autograd.backward, torch.autograd.grad = refuse, refuse
    try:
        with torch.no_grad():
            yield
    finally:
        torch.autograd.backward, torch.autograd.grad = kept


def call_cases(half, params, arrays, name, names, scalars):
    """Call a function of warmup.py for each case i, tensors `i.name` and numbers params["cases"][i], under two seeds.

    Returns out.i and again.i (the same call under another global seed), with the tensors as they are afterwards, and
    whether autograd was asked for a gradient.
    """
    function = need_function(half, "warmup", name)
    tensors, autograd = {}, False
    for i, numbers in enumerate(params["cases"]):
        for key, seed in zip(("out", "again"), params["seeds"], strict=True):
            given = {name: arrays[f"{i}.{name}"].clone() for name in names}
            half.seed(seed)
            try:
                with by_hand():
                    result = function(*given.values(), *(numbers[name] for name in scalars))
            except AutogradUsed:
                autograd = True
                continue
            tensors[f"{key}.{i}"] = need_tensor(result, name).detach().clone()
            if key == "out":
                tensors |= {f"{i}.{name}_after": value for name, value in given.items()}
    return {"autograd": autograd}, tensors
