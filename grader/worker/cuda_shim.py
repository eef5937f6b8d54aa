"""Code that asks for 'cuda' runs on the CPU: devices are mapped where torch is called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils import _device

CPU = torch.device("cpu")
# Functions of torch.cuda that fail without a GPU, and what they answer here.
ANSWERS: dict[str, Any] = {
    "set_device": None,
    "synchronize": None,
    "empty_cache": None,
    "current_device": 0,
    "init": None,
    "get_device_name": "cpu",
    "memory_allocated": 0,
    "max_memory_allocated": 0,
    "memory_reserved": 0,
    "max_memory_reserved": 0,
    "reset_peak_memory_stats": None,
    "get_device_capability": (0, 0),
    "mem_get_info": (0, 0),
}


def is_cuda(value: Any) -> bool:
    """Whether `value` names a CUDA device: 'cuda', 'cuda:0', torch.device('cuda')."""
    if isinstance(value, str):
        return value == "cuda" or value.startswith("cuda:")
    return isinstance(value, torch.device) and value.type == "cuda"


def _cpu_type(kind: Any) -> Any:
    return kind.replace("torch.cuda.", "torch.") if isinstance(kind, str) else kind


def _first(args: Any, kwargs: dict[str, Any]) -> Any:
    return args[0] if args else next(iter(kwargs.values()), None)


def to_cpu(value: Any) -> Any:
    return CPU if is_cuda(value) else value


class CudaOnCpu(TorchFunctionMode):
    """Maps CUDA devices in the arguments of every torch function to the CPU."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        if name in ("cuda", "pin_memory") and args and isinstance(args[0], torch.Tensor):
            return args[0]
        if name == "type" and len(args) == 2:
            return func(args[0], _cpu_type(args[1]))
        if func is torch.device and (is_cuda(kind := _first(args, kwargs)) or type(kind) is int):
            return CPU  # torch.device("cuda", 0), torch.device(0)
        device = kwargs.get("device")
        if is_cuda(device) or type(device) is int:  # torch reads a plain number as a CUDA device
            kwargs["device"] = CPU
        args = tuple(to_cpu(value) for value in args)
        if name == "to" and len(args) > 1 and type(args[1]) is int:
            args = (args[0], CPU, *args[2:])
        return func(*args, **kwargs)


class Generator(torch.Generator):
    """torch.Generator(device="cuda") on the CPU."""

    def __new__(cls, device: Any = "cpu") -> Generator:
        return super().__new__(cls, CPU)


def _without_cuda(function: Callable[..., Any], place: int, name: str, missing: Any = None) -> Callable[..., Any]:
    """`function` with CUDA mapped to the CPU in the argument `name`, or the positional one at `place`."""

    def mapped(*args: Any, **kwargs: Any) -> Any:
        args = tuple(to_cpu(value) if at == place else value for at, value in enumerate(args))
        if len(args) <= place:
            kwargs[name] = to_cpu(kwargs.get(name, missing))
        return function(*args, **kwargs)

    return mapped


def activate() -> None:
    """From here on, in this process, CUDA means the CPU. `torch.cuda.is_available()` stays False."""
    for name, answer in ANSWERS.items():
        setattr(torch.cuda, name, lambda *args, _answer=answer, **kwargs: _answer)
    for kind in ("Float", "Double", "Half", "Long", "Int", "Short", "Byte", "Char", "Bool"):
        setattr(torch.cuda, f"{kind}Tensor", getattr(torch, f"{kind}Tensor"))
    torch.Generator = Generator
    torch.load = _without_cuda(torch.load, 1, "map_location", CPU)
    # torch.set_default_device("cuda") and `with torch.device("cuda"):` both make one of these.
    _device.DeviceContext.__init__ = _without_cuda(_device.DeviceContext.__init__, 1, "device")
    set_type = torch.set_default_tensor_type
    torch.set_default_tensor_type = lambda kind: set_type(_cpu_type(kind))
    CudaOnCpu().__enter__()
