"""Losses on stand-ins for network and forward process, for both halves; and the probe of Task 2's three."""

import inspect

from building import build_ddpm_scheduler
from loading import Missing, probe
from probing import affine_network, need_tensor, recorded
from stand_ins import AffineNetwork, AffineNoising, GivenScheduler


def run_trials(half, params, arrays, network, noising, loss_of):
    """What `loss_of` gives for x0.i, one trial a seed, and the first call of each stand-in that it led to."""
    data, out = {"trials": []}, {}
    for i, seed in enumerate(params["seeds"]):
        network.calls.clear()
        noising.calls.clear()
        network.zero_grad()
        half.seed(seed)
        loss = need_tensor(loss_of(arrays[f"x0.{i}"].clone()), "the loss")
        trial = {"requires_grad": loss.requires_grad}
        if loss.requires_grad and loss.numel() == 1:
            loss.backward()
            if network.weight.grad is not None:
                out[f"{i}.grad"] = network.weight.grad.clone()
        out[f"{i}.loss"] = loss.detach()
        trial["network_calls"] = recorded(network.calls, f"{i}.net", out, 1)
        trial["noising_calls"] = recorded(noising.calls, f"{i}.noising", out, 1)
        data["trials"].append(trial)
    return data, out


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
    loss_of = loss_method(build_image_module(half, network, scheduler, predictor), predictor)
    scheduler.add_noise = AffineNoising(arrays["signal"], arrays["spread"], returns_noise=True)
    return run_trials(half, params, arrays, network, scheduler.add_noise, loss_of)


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
