"""Builds the objects of a submission that several probes need, each around stand-ins, and finds their methods."""

from loading import Missing
from probing import affine_network, build_scheduler
from stand_ins import AffineNetwork


def build_module(half, params, arrays):
    """The 2D half's DiffusionModule around the stand-in network, and that network."""
    scheduler = build_scheduler(half.need("ddpm", "BaseScheduler"), params)
    network = affine_network(arrays, AffineNetwork)
    return half.need("ddpm", "DiffusionModule")(network, scheduler), network


def build_ddpm_scheduler(half, params):
    """The image half's scheduler."""
    return build_scheduler(half.need("scheduler", "DDPMScheduler"), params)


def need_method(module, name, file="ddpm.py"):
    """A method of one of the student's objects. Raises Missing."""
    if not callable(getattr(module, name, None)):
        raise Missing(f"{file}: {type(module).__name__} has no method {name}")
    return getattr(module, name)


def need_function(half, module, name):
    """A function of one of the student's modules. Raises Missing."""
    function = half.need(module, name)
    if not callable(function):
        raise Missing(f"{module}.py has no function {name}")
    return function
