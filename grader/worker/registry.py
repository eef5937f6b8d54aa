"""The table of probes, and the exceptions by which a probe says that something is missing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Probe = Callable[..., tuple[dict[str, Any], dict[str, Any]]]
PROBES: dict[str, Probe] = {}


class Missing(Exception):
    """The file, class or function that a probe asks for was not handed in; the text says which."""


class NotImplementedByStudent(Exception):
    """It is there, but still the placeholder, or returns nothing; the text says which."""


class Blocked(Exception):
    """Importing the module named by the text ended an earlier process: it is not tried again."""


def probe(name: str) -> Callable[[Probe], Probe]:
    """Register `function(mount, params, arrays) -> (data, tensors)` as what answers requests for `name`.

    `params` is the request's JSON object, `arrays` its tensors (torch, on the CPU). `data` must be JSON;
    numbers may be numpy's or torch's. `tensors`: torch tensors or numpy arrays of any dtype but complex.
    """

    def register(function: Probe) -> Probe:
        if name in PROBES:
            raise ValueError(f"two probes are called {name}")
        PROBES[name] = function
        return function

    return register
