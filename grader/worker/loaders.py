"""torch's DataLoader without processes of its own: they would pass tensors by sockets, which there are not."""

from __future__ import annotations

import functools
import inspect
from typing import Any

from torch.utils.data import DataLoader

# What asks for other processes, or is refused where there are none.
ALONE: dict[str, Any] = {
    "num_workers": 0,
    "timeout": 0,
    "multiprocessing_context": None,
    "prefetch_factor": None,
    "persistent_workers": False,
}


def stay_here() -> None:
    """From here on, in this process, loaders load in it, whatever `num_workers` says."""
    make = DataLoader.__init__
    signature = inspect.signature(make)

    @functools.wraps(make)
    def alone(*args: Any, **kwargs: Any) -> None:
        bound = signature.bind(*args, **kwargs)
        bound.arguments |= {name: value for name, value in ALONE.items() if name in bound.arguments}
        make(*bound.args, **bound.kwargs)

    DataLoader.__init__ = alone  # type: ignore[method-assign]
