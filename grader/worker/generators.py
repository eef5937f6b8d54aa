"""Random generators of a submission's own, so that a probe can repeat what it asked under the same seed.

A module's `rng = np.random.default_rng()` and an object's `torch.Generator()` are as right as the global state. From
`watch()` on, generators that the submission makes are known here, and `reseed` sets those that are still alive.
"""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
import torch

_known: list[tuple[int, weakref.ref[Any]]] = []  # number of the generator, in order of creation
_made = 0


def watch() -> None:
    """From here on, in this process, know every generator that is made."""
    torch.Generator = _watched(torch.Generator)
    np.random.RandomState = _watched(np.random.RandomState)
    np.random.Generator = _watched(np.random.Generator)
    ready = np.random.default_rng
    np.random.default_rng = lambda seed=None: (
        seed if isinstance(seed, np.random.Generator) else np.random.Generator(ready(seed).bit_generator)
    )


def reseed(seed: int) -> None:
    """Set every living generator; each by its own number, so that two of them do not draw the same."""
    _known[:] = [(number, ref) for number, ref in _known if ref() is not None]
    for number, ref in _known:
        generator, own = ref(), (seed + 7919 * number) % 2**32
        if isinstance(generator, np.random.Generator):
            generator.bit_generator.state = type(generator.bit_generator)(own).state
        elif isinstance(generator, np.random.RandomState):
            generator.seed(own)
        elif generator is not None:
            generator.manual_seed(own)


def _watched(base: type) -> type:
    def remember(self: Any, *args: Any, **kwargs: Any) -> None:
        global _made
        if base.__init__ is not object.__init__:
            base.__init__(self, *args, **kwargs)
        _made += 1
        _known.append((_made, weakref.ref(self)))

    return type(base.__name__, (base,), {"__init__": remember, "__module__": base.__module__})
