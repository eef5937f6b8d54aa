"""Probes of the image half: they call the student's functions and return what came out, nothing more."""

import inspect

import torch
from building import build_ddpm_scheduler
from loading import Missing, probe
from probing import affine_network, need_tensor
from stand_ins import AffineNetwork, AffineNoising, GivenScheduler
from task1 import loss_trials


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
