"""Probes of the 2D half's companion exercises: the warm-ups with one matrix, a single forward step, naive skipping."""

from contextlib import contextmanager

import torch
from building import build_module, need_method
from loading import Missing, probe
from probing import first_accepted, forms_of, need_tensor, plain_draw, recorded
from stand_ins import AffineStep


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


def need_function(half, name):
    function = half.need("warmup", name)
    if not callable(function):
        raise Missing(f"warmup.py has no function {name}")
    return function


def call_cases(half, params, arrays, function, names, scalars):
    """Call `function` on every case i: tensors `i.name` and numbers params["cases"][i], under two global seeds.

    Returns out.i and again.i (the same call under another global seed), with the tensors as they are afterwards, and
    whether autograd was asked for a gradient.
    """
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
            tensors[f"{key}.{i}"] = need_tensor(result, function.__name__).detach().clone()
            if key == "out":
                tensors |= {f"{i}.{name}_after": value for name, value in given.items()}
    return {"autograd": autograd}, tensors


@probe("train_step")
def train_step(half, params, arrays):
    """The weights after one hand-made step, for several cases."""
    return call_cases(
        half,
        params,
        arrays,
        need_function(half, "train_step"),
        ("x_clean", "w_model", "betas", "alpha_bar"),
        ("lr", "seed"),
    )


@probe("sampler_loop")
def sampler_loop(half, params, arrays):
    """The points that the one-matrix model samples, for several cases."""
    return call_cases(
        half, params, arrays, need_function(half, "sample"), ("w_model", "shape", "betas", "alpha_bar"), ("seed",)
    )


@probe("forward_step")
def forward_step(half, params, arrays):
    """One forward step at each of params["ts"]: for x, for zeros under the same seed, for zeros under another."""
    module, _ = build_module(half, params, arrays)
    method = need_method(module, "forward_step")
    x = arrays["x"]

    def one_step(x_prev, t, seed):
        half.seed(seed)  # here, as a rejected form may have drawn before it failed
        return need_tensor(method(x_prev, t), "forward_step").detach().clone()

    def run(x_prev, t, seed, order):
        forms = forms_of(t, len(x), order)
        return first_accepted([(name, lambda t=t: one_step(x_prev, t, seed)) for name, t in forms])

    out = {}
    _, form, rejected = run(x.clone(), params["ts"][0], params["seeds"][0], params["forms"])
    for t in params["ts"]:
        given = x.clone()
        out[f"of_x.{t}"], _, _ = run(given, t, params["seeds"][0], [form])
        out[f"x_after.{t}"] = given
        out[f"of_zeros.{t}"], _, _ = run(torch.zeros_like(x), t, params["seeds"][0], [form])
        out[f"again.{t}"], _, _ = run(torch.zeros_like(x), t, params["seeds"][1], [form])
    out["draw"] = plain_draw(half, params["seeds"][0], x)
    return {"form": form, "rejected": rejected}, out


@probe("naive_skip")
def naive_skip(half, params, arrays):
    """The skipping loop for each k of params["ks"]: over a stand-in step, or where none was called, over the network.

    Per k: `steps.k` as lists of (smallest, largest) t of a call, the points that went in as shown.k.i, and the result
    as out.k; in the second case `asked.k` counts the network's calls, net.k.i.x and net.k.i.t.
    """
    data, out = {"steps": {}, "asked": {}}, {}
    for k in params["ks"]:
        module, network = build_module(half, params, arrays)
        method = need_method(module, "naive_skip")
        step = AffineStep(params["gain"], arrays["offset"])
        module.p_sample = step
        half.seed(params["seed"])
        result = need_tensor(method(tuple(params["shape"]), k), "naive_skip")
        data["steps"][str(k)] = step.steps[: 4 * params["T"]]
        out[f"out.{k}"] = result.detach()
        out |= {f"shown.{k}.{i}": shown for i, shown in enumerate(step.shown)}
        if not step.steps:
            data["asked"][str(k)] = recorded(network.calls, f"net.{k}", out, 3 * params["T"])
    return data, out
