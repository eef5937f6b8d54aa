"""Probes of the image half: they call the student's functions and return what came out, nothing more."""

import inspect

import torch
from building import build_ddpm_scheduler
from loading import Missing, probe
from probing import affine_network, build_scheduler, first_accepted, forms_of, need_tensor, plain_draw
from stand_ins import AffineNetwork, AffineNoising, GivenScheduler
from task1 import loss_trials


@probe("schedule_tables")
def schedule_tables(half, params, arrays):
    """The buffers of BaseScheduler for the given mode and T."""
    scheduler = build_scheduler(half.need("scheduler", "BaseScheduler"), params)
    out, dtypes = {}, {}
    for name in ("betas", "alphas", "alphas_cumprod"):
        table = getattr(scheduler, name, None)
        if table is None:
            raise Missing(f"scheduler.py: BaseScheduler has no buffer {name}")
        table = torch.as_tensor(table)
        dtypes[name], out[name] = str(table.dtype), table.detach().double()
    return {"dtypes": dtypes}, out


@probe("add_noise")
def add_noise(half, params, arrays):
    """x_t and the noise returned for x0, t and, where given, noise; with the inputs as they are afterwards."""
    scheduler = build_ddpm_scheduler(half, params)
    if not callable(getattr(scheduler, "add_noise", None)):
        raise Missing("scheduler.py: DDPMScheduler has no method add_noise")
    half.seed(params["seed"])
    x0, t, noise = (arrays[k].clone() if k in arrays else None for k in ("x0", "t", "noise"))
    value = scheduler.add_noise(x0, t) if noise is None else scheduler.add_noise(x0, t, noise)
    xt, eps = value if isinstance(value, (tuple, list)) and len(value) == 2 else (value, None)
    out = {"xt": need_tensor(xt, "add_noise").detach().clone(), "x0_after": x0, "t_after": t}
    if torch.is_tensor(eps):
        out["eps"] = eps.detach().clone()
    return {}, out | ({} if noise is None else {"noise_after": noise})


def step_entries(scheduler, predictor):
    """Ways to ask for a reverse step, as (label, function of x_t, t, net_out): the contract's method first.

    A scheduler of another edition has only `step`, with the predictor as a fourth argument or without one.
    """
    name = f"step_predict_{predictor}"
    entries = []
    if callable(getattr(scheduler, name, None)):
        entries.append((name, getattr(scheduler, name)))
    if callable(getattr(scheduler, "step", None)):
        takes_predictor = "predictor" in inspect.signature(scheduler.step).parameters
        if takes_predictor:
            entries.append(("step", lambda x, t, out: scheduler.step(x, t, out, predictor=predictor)))
        elif predictor == "noise":
            entries.append(("step", scheduler.step))
    if not entries:
        raise Missing(f"scheduler.py: DDPMScheduler has no method {name}")
    return entries


@probe("step")
def step(half, params, arrays):
    """One reverse step at one t: for (x_t, out), for zeros under the same seed, for zeros under another."""
    scheduler = build_ddpm_scheduler(half, params)
    x, net_out = arrays["x"], arrays["out"]
    entries = step_entries(scheduler, params["predictor"])

    def one_step(function, xt, t, out, seed):
        half.seed(seed)  # here, as a rejected form may have drawn before it failed
        return need_tensor(function(xt.clone(), t, out.clone()), "the reverse step")

    def run(xt, out, seed, only=None):
        return first_accepted(
            [
                (f"{entry}|{form}", lambda f=function, t=t: one_step(f, xt, t, out, seed))
                for entry, function in entries
                for form, t in forms_of(params["t"], len(x), params["forms"])
                if only in (None, f"{entry}|{form}")
            ]
        )

    result = {}
    zeros = torch.zeros_like(x)
    with torch.no_grad():
        _, label, rejected = run(x, net_out, params["seeds"][0])  # a generator may be made at the first call
        result["of_x"], _, _ = run(x, net_out, params["seeds"][0], label)
        result["of_zeros"], _, _ = run(zeros, zeros, params["seeds"][0], label)
        result["again"], _, _ = run(zeros, zeros, params["seeds"][1], label)
        result["draw"] = plain_draw(half, params["seeds"][0], x)
    entry, form = label.split("|")
    return {"entry": entry, "form": form, "rejected": rejected}, result


@probe("get_loss")
def get_loss(half, params, arrays):
    """The loss of one predictor on stand-ins for network and add_noise, with what they were shown."""
    try:
        scheduler, broken = build_ddpm_scheduler(half, params), None
    except BaseException as error:  # a broken scheduler.py is not the fault of model.py
        scheduler, broken = GivenScheduler(params["T"], params["beta_1"], params["beta_T"]), error
    try:
        return losses_with(scheduler, half, params, arrays)
    except AttributeError:
        if broken is None:
            raise
        raise broken from None  # the loss uses a method that only the student's scheduler has


def losses_with(scheduler, half, params, arrays):
    """What get_loss answers, with this scheduler."""
    predictor = params["predictor"]
    network = affine_network(arrays, AffineNetwork, image_resolution=arrays["x0.0"].shape[-1])
    module = build_image_module(half, network, scheduler, predictor)
    method = loss_method(module, predictor)
    noising = AffineNoising(arrays["signal"], arrays["spread"], returns_noise=True)
    return loss_trials(
        half,
        params,
        arrays,
        module,
        network,
        method,
        noising,
        lambda stand_in: setattr(scheduler, "add_noise", stand_in),
    )


def build_image_module(half, network, scheduler, predictor):
    cls = half.need("model", "DiffusionModule")
    names = inspect.signature(cls.__init__).parameters
    if "predictor" in names or any(p.kind is p.VAR_KEYWORD for p in names.values()):
        module = cls(network, scheduler, predictor=predictor)
    else:
        module = cls(network, scheduler)
    if getattr(module, "predictor", None) != predictor:
        module.predictor = predictor
    return module


def loss_method(module, predictor):
    """`get_loss_{predictor}`, or `get_loss` of editions that know only the noise."""
    name = f"get_loss_{predictor}"
    if callable(getattr(module, name, None)):
        return getattr(module, name)
    if predictor == "noise" and callable(getattr(module, "get_loss", None)):
        return module.get_loss
    raise Missing(f"model.py: DiffusionModule has no method {name}")
