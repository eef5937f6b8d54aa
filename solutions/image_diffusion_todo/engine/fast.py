"""What makes training and sampling fast, and changes nothing of what they compute.

What each measure is for:
 * bfloat16 inside the network: twice the arithmetic of float32 or more, half the memory traffic. Weights that are
   trained, losses and the reverse steps stay float32, and so do the network's first and last layer: see network.py.
 * images as uint8 on the device (data.py): no JPEG is decoded twice, and no batch travels.
 * nothing in a step asks the device for a number, so the CPU runs ahead and the device never waits for it.
 * one kernel for the whole of Adam; on a GPU channels-last, in which its convolutions work, and a compiled network,
   replayed as a CUDA graph. What of that pays on a CPU: see choose().
 * on a CPU: memory stays with the process, see keep_memory().
"""

import ctypes
import sys
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from model import DiffusionModule
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from engine.plain import use_plain_attention


@dataclass(frozen=True)
class Plan:
    """What is used on a device. `dtype` is that of the network's inside; float32 means no mixed precision."""

    device: torch.device
    dtype: torch.dtype = torch.float32
    channels_last: bool = False
    fused: bool | None = None  # Adam's argument; None is its own choice
    compiled: bool = False
    frozen: bool = False  # the weights are not trained any more, so that prepare() may round them once for all
    plain: bool = False  # nothing of all this: see plain.py

    def __str__(self) -> str:
        parts = [str(self.dtype).removeprefix("torch.")]
        parts += [name for name in ("channels_last", "fused", "compiled", "frozen", "plain") if getattr(self, name)]
        return f"{self.device}: {', '.join(parts)}"

    def scaler(self) -> torch.amp.GradScaler:
        """For the gradients of float16, which would vanish; with any other dtype it does nothing."""
        return torch.amp.GradScaler(self.device.type, enabled=self.dtype == torch.float16)


def choose(device: torch.device, training: bool = True, float32: bool = False, plain: bool = False) -> Plan:
    """The plan for a device; float32: without mixed precision, as on a device that has none."""
    if plain:
        return Plan(device, plain=True)
    plan = Plan(device, fused=training or None, frozen=not training)
    if device.type == "cuda":
        half = torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
        return replace(plan, dtype=torch.float32 if float32 else half, channels_last=True, compiled=True)
    if device.type == "cpu":
        # Measured on a CPU with AVX-512 BF16: channels-last is faster in float32 and slower in bfloat16. Compiled it
        # was no faster, after minutes of compiling.
        half_pays = cpu_has_bf16() and not float32
        return replace(plan, dtype=torch.bfloat16 if half_pays else torch.float32, channels_last=not half_pays)
    return replace(plan, fused=None)


def cpu_has_bf16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the CPU multiplies bfloat16 itself, which Linux tells; where it does not, PyTorch imitates it slowly."""
    try:
        words = set(cpuinfo.read_text(encoding="utf-8").split())
    except OSError:
        return False
    return not words.isdisjoint({"avx512_bf16", "amx_tile"})


def prepare(module: DiffusionModule, plan: Plan, batch_size: int) -> Plan:
    """Makes the module's network ready for batches of this size; its weights change only by rounding, where frozen.

    Returns the plan, without `compiled` where the compiler could not do it.
    """
    network = module.network
    if plan.plain:
        use_plain_attention(network)
        return plan
    if plan.device.type == "cuda":
        torch.backends.cudnn.benchmark = True  # the shapes never change, so the search for the best kernels pays
    if plan.device.type == "cpu":
        keep_memory()
    if plan.channels_last:
        network.to(memory_format=torch.channels_last)
    if plan.dtype != torch.float32:
        network.inner_dtype = plan.dtype
        if plan.frozen:
            round_weights(network, plan.dtype)
    return compiled(module, plan, batch_size) if plan.compiled else plan


def keep_memory() -> None:
    """What is freed stays with the process, for the next tensor.

    Linux' C library gives large blocks back to the system otherwise, and every page of a new one is a fault. Other C
    libraries are left as they are.
    """
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)):
        M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # as in malloc.h
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def round_weights(network: nn.Module, dtype: torch.dtype) -> None:
    """As autocast would at each call, of the layers for which it does, between the first and the last."""
    for name, layer in network.named_modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)) and name.partition(".")[0] not in ("head", "tail"):
            layer.to(dtype)


def compiled(module: DiffusionModule, plan: Plan, batch_size: int) -> Plan:
    """Compiles the network and tries it once. Where that fails, it goes on without, and the plan returned says so."""
    network, size = module.network, module.image_resolution
    network.compile(mode="reduce-overhead", dynamic=False)  # "reduce-overhead" is PyTorch's word for CUDA graphs
    x = torch.zeros(batch_size, network.image_channels, size, size, device=plan.device)
    zeros = torch.zeros(batch_size, dtype=torch.long, device=plan.device)
    try:
        with untouched_rng(plan.device), torch.set_grad_enabled(not plan.frozen):
            out = network(x, timestep=zeros, class_label=None if network.num_classes is None else zeros)
            if not plan.frozen:
                out.sum().backward()
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # whatever the compiler could not do: the network also runs without it
        print(f"not compiled: {type(error).__name__}: {str(error).splitlines()[0]}", file=sys.stderr)
        torch.compiler.set_stance("force_eager")
        plan = replace(plan, compiled=False)
    network.zero_grad()
    return plan


def untouched_rng(device: torch.device):
    """Inside, random numbers may be drawn; afterwards the global generators are where they were."""
    return torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])


class Average:
    """The averaged weights of a network (EMA), or with a decay of 0 nothing."""

    def __init__(self, network: nn.Module, decay: float):
        self.decay = decay
        self.parameters = dict(network.named_parameters()) if decay else {}
        self.weights = {name: parameter.detach().clone() for name, parameter in self.parameters.items()}

    def update(self, step: int) -> None:
        """After training step number `step`, from 0. Young averages follow faster, or they would long remain random."""
        if self.weights:
            average = get_ema_multi_avg_fn(min(self.decay, (1 + step) / (10 + step)))
            average(list(self.weights.values()), list(self.parameters.values()), None)

    @contextmanager
    def in_place(self):
        """Inside, the network has the averaged weights, if there are any."""
        trained = {name: parameter.detach().clone() for name, parameter in self.parameters.items()}
        self.give(self.weights)
        try:
            yield
        finally:
            self.give(trained)

    def restore(self, weights: dict[str, torch.Tensor]) -> None:
        """Goes on from the `weights` of a checkpoint."""
        for name, weight in self.weights.items():
            weight.copy_(weights[name])

    @torch.no_grad()
    def give(self, weights: dict[str, torch.Tensor]) -> None:
        for name, parameter in self.parameters.items():
            parameter.copy_(weights[name])
