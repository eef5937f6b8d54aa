"""What the probes of both halves share: checking what came back, the forms of t, building the student's objects."""

import inspect

import torch
from loading import Missing, NotImplementedByStudent
from stand_ins import forms_of as forms_of


def need_tensor(value, name):
    """`value` if it is a tensor. None means that nothing was implemented yet."""
    if value is None:
        raise NotImplementedByStudent(f"{name} returned None")
    if not torch.is_tensor(value):
        raise TypeError(f"{name} returned {type(value).__name__} where a tensor is expected")
    return value


def first_accepted(calls):
    """(value, label, rejections) of the first of `calls` [(label, function)] that does not reject its arguments.

    NotImplementedError ends the search: the body is still the placeholder, whatever the form of t.
    Raises the first rejection if all are.
    """
    first, rejected = None, []
    for label, call in calls:
        try:
            return call(), label, rejected
        except (NotImplementedError, NotImplementedByStudent):
            raise
        except Exception as error:
            first = first or error
            rejected.append(f"{label}: {type(error).__name__}: {error}"[:200])
    raise first or Missing("nothing to call")


def plain_draw(half, seed, x):
    """What one call of randn_like(x) gives under `seed`: most steps draw just this, and their z is then known."""
    half.seed(seed)
    return torch.randn_like(x)


def build_scheduler(cls, params):
    """A scheduler of the student's class; arguments that an edition does not know are left out."""
    names = inspect.signature(cls.__init__).parameters
    any_name = any(p.kind is p.VAR_KEYWORD for p in names.values())
    optional = {k: params[k] for k in ("mode", "sigma_type") if k in params and (any_name or k in names)}
    return cls(params["T"], beta_1=params["beta_1"], beta_T=params["beta_T"], **optional)


def affine_network(arrays, stub, image_resolution=None):
    """The stand-in network with the coefficients that came with the request."""
    return stub(arrays["weight"], arrays["slope"], arrays["bias"], image_resolution)


def recorded(calls, prefix, arrays, limit):
    """Copy the first `limit` recorded calls of a stand-in into `arrays` as `prefix.k.name`; returns their number."""
    for k, call in enumerate(calls[:limit]):
        for name, value in call.items():
            if torch.is_tensor(value):
                arrays[f"{prefix}.{k}.{name}"] = value
    return len(calls)
