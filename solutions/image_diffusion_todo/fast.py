"""Training and sampling as fast as the device allows; the mathematics is that of plain.py.

What each measure is for:
 * bfloat16 in the network: twice the arithmetic of float32 or more, half the memory traffic. Weights that
   are trained, losses and the reverse steps stay float32, and so do the network's first and last layer, because the
   mean predictor's target differs from its input by less than bfloat16 can tell apart.
 * images as uint8 on the device: no JPEG is decoded twice, and no batch travels.
 * nothing in a step asks the device for a number, so the CPU runs ahead and the device never waits for it.
 * one kernel for the whole of Adam; on a GPU channels-last, in which its convolutions work, and a compiled network,
   replayed as a CUDA graph. What of that pays on a CPU: see choose().
 * on a CPU: memory stays with the process, see keep_memory().
companions.py is imported only where it is used, so that the lab works while that exercise does not.
"""

import ctypes
import sys
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from dataset import Shuffled
from images import to_network
from model import DiffusionModule
from noise import OneStreamPerImage
from torch import nn


@dataclass(frozen=True)
class Plan:
    """What is used on a device. `dtype` is that of the network's inside; float32 means no mixed precision."""

    device: torch.device
    dtype: torch.dtype = torch.float32
    channels_last: bool = False
    fused: bool = False
    compiled: bool = False
    frozen: bool = False  # the weights are not trained any more, so that prepare() may round them once for all

    def __str__(self) -> str:
        parts = [str(self.dtype).removeprefix("torch.")]
        parts += [name for name in ("channels_last", "fused", "compiled", "frozen") if getattr(self, name)]
        return f"{self.device}: {', '.join(parts)}"

    def autocast(self) -> torch.autocast:
        on = self.dtype != torch.float32
        return torch.autocast(self.device.type, dtype=self.dtype if on else None, enabled=on)


def choose(device: torch.device, training: bool = True, float32: bool = False) -> Plan:
    """The plan for a device; float32: without mixed precision, as on a device that has none."""
    plan = Plan(device, fused=training, frozen=not training)
    if device.type == "cuda":
        half = torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
        return replace(plan, dtype=torch.float32 if float32 else half, channels_last=True, compiled=True)
    if device.type == "cpu":
        # Measured on a CPU with AVX-512 BF16: channels-last is faster in float32 and slower in bfloat16. Compiled it
        # was no faster, after minutes of compiling.
        half_pays = cpu_has_bf16() and not float32
        return replace(plan, dtype=torch.bfloat16 if half_pays else torch.float32, channels_last=not half_pays)
    return replace(plan, fused=False)


def cpu_has_bf16() -> bool:
    """Whether the CPU multiplies bfloat16 itself; where it does not, PyTorch imitates it slowly."""
    features = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(feature is not None and feature() for feature in features)


def prepare(network: nn.Module, plan: Plan) -> None:
    """Changes the network's layout and its way of being called; its weights only by rounding them, where frozen."""
    if plan.device.type == "cuda":
        torch.backends.cudnn.benchmark = True  # the shapes never change, so the search for the best kernels pays
    if plan.device.type == "cpu":
        keep_memory()
    if plan.channels_last:
        network.to(memory_format=torch.channels_last)
    if plan.dtype != torch.float32:
        ends = {"head": plan.dtype, "tail": torch.float32}  # what they hand on
        for name, child in network.named_children():
            if name in ends:
                compute_in_float32(child, ends[name])
            elif plan.frozen:
                round_weights(child, plan.dtype)
    if plan.compiled:
        network.compile(mode="reduce-overhead", dynamic=False)  # "reduce-overhead" is PyTorch's word for CUDA graphs


def keep_memory() -> None:
    """What is freed stays with the process, for the next tensor.

    Linux' C library gives large blocks back to the system otherwise, and every page of a new one is a fault. Other C
    libraries are left as they are.
    """
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)):
        M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # as in malloc.h
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def round_weights(part: nn.Module, dtype: torch.dtype) -> None:
    """As autocast would at each call, of the layers for which it does."""
    for layer in part.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            layer.to(dtype)


def compute_in_float32(layer: nn.Module, dtype_out: torch.dtype) -> None:
    forward = layer.forward

    def float32_forward(x: torch.Tensor) -> torch.Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return forward(x.float()).to(dtype_out)

    layer.forward = float32_forward


def compiles(module: DiffusionModule, plan: Plan, batch_size: int, training: bool) -> Plan:
    """Tries the compiled network once. Where that fails, it goes on without, and the plan returned says so."""
    if not plan.compiled:
        return plan
    network, size = module.network, module.image_resolution
    x = torch.zeros(batch_size, network.image_channels, size, size, device=plan.device)
    label = None
    if getattr(network, "num_classes", None) is not None:
        label = torch.zeros(batch_size, dtype=torch.long, device=plan.device)
    try:
        with untouched_rng(plan), torch.set_grad_enabled(training), plan.autocast():
            t = torch.zeros(batch_size, dtype=torch.long, device=plan.device)
            out = network(x, timestep=t, class_label=label)
            if training:
                out.float().sum().backward()
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # whatever the compiler could not do: the network also runs without it
        print(f"not compiled: {type(error).__name__}: {str(error).splitlines()[0]}", file=sys.stderr)
        network._compiled_call_impl = None
        plan = replace(plan, compiled=False)
    network.zero_grad(set_to_none=True)
    return plan


def untouched_rng(plan: Plan):
    """Inside, random numbers may be drawn; afterwards the global generators are where they were."""
    return torch.random.fork_rng(devices=[plan.device] if plan.device.type == "cuda" else [])


class FastTrainer:
    """The fast training loop's state. step() only queues work; take_losses() waits for it."""

    def __init__(
        self,
        module: DiffusionModule,
        images: torch.Tensor,
        options,
        plan: Plan | None = None,
        labels: torch.Tensor | None = None,
    ):
        """images is uint8 (N, C, H, W); options has batch_size, lr, warmup_steps, seed and ema.

        labels, (N,), are for a network with classes; then options has cfg_dropout.
        """
        self.plan = choose(module.device) if plan is None else plan
        self.module, self.options = module, options
        prepare(module.network, self.plan)
        self.plan = compiles(module, self.plan, options.batch_size, training=True)
        self.images = images.to(self.plan.device)
        self.labels = None if labels is None else labels.to(self.plan.device)
        self.order = Shuffled(len(images), options.batch_size, options.seed, self.plan.device)
        self.parameters = list(module.network.parameters())
        self.optimizer = torch.optim.Adam(self.parameters, lr=options.lr, fused=self.plan.fused)
        self.scaler = torch.amp.GradScaler(self.plan.device.type, enabled=self.plan.dtype == torch.float16)
        self.average = [parameter.detach().clone() for parameter in self.parameters] if options.ema else []
        self.losses: list[torch.Tensor] = []

    def step(self, step: int) -> None:
        """Training step number `step`, from 0."""
        if self.plan.compiled:
            torch.compiler.cudagraph_mark_step_begin()  # what the last replay returned is no longer needed
        chosen = self.order.batch(step)
        x0, label = to_network(self.images[chosen]), None  # (B, C, H, W)
        if self.labels is not None:
            from companions import drop_labels

            label = drop_labels(self.labels[chosen], self.options.cfg_dropout, self.module.network.num_classes)
        with self.plan.autocast():
            loss = self.module.get_loss(x0, class_label=label)
        self.scaler.scale(loss).backward()
        for group in self.optimizer.param_groups:
            group["lr"] = warmed_up(step, self.options.lr, self.options.warmup_steps)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average:
            # Young averages follow faster, or the random initial weights would stay in them for long.
            decay = min(self.options.ema, (1 + step) / (10 + step))
            torch._foreach_lerp_(self.average, self.parameters, 1 - decay)
        self.losses.append(loss.detach())

    def take_losses(self) -> list[float]:
        """The losses of the steps since the last call."""
        losses = torch.stack(self.losses).float().tolist() if self.losses else []
        self.losses = []
        return losses

    def state(self) -> dict:
        """Tensors for the checkpoint."""
        names = [name for name, _ in self.module.network.named_parameters()]
        ema = {"ema": dict(zip(names, self.average, strict=True))} if self.average else {}
        return {"optimizer": self.optimizer.state_dict(), "scaler": self.scaler.state_dict(), **ema}

    def restore(self, contents: dict) -> None:
        self.optimizer.load_state_dict(contents["optimizer"])
        self.scaler.load_state_dict(contents["scaler"])
        if self.average:
            for average, saved in zip(self.average, contents["ema"].values(), strict=True):
                average.copy_(saved)

    @contextmanager
    def averaged(self):
        """Inside, the network has its averaged weights, if there are any."""
        if not self.average:
            yield
            return
        with torch.no_grad():
            trained = [parameter.clone() for parameter in self.parameters]
            torch._foreach_copy_(self.parameters, self.average)
            try:
                yield
            finally:
                torch._foreach_copy_(self.parameters, trained)


def warmed_up(step: int, lr: float, warmup_steps: int) -> float:
    """The learning rate of a step: rises linearly for warmup_steps, then stays."""
    return lr * min(1.0, (step + 1) / max(1, warmup_steps))


@torch.no_grad()
def sample(
    module: DiffusionModule,
    numbers: list[int],
    seed: int,
    plan: Plan,
    batch_size: int,
    frames: list[int] | None = None,
    network: Callable[..., torch.Tensor] | None = None,
    every: int | None = None,
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Images from noise, each from a stream of its own that `seed` and its number fix, whatever the batch.

    Args:
        module: in evaluation mode, its network prepared for the plan
        numbers: which images, B of them, at most batch_size
        batch_size: the network always sees so many, so that it is compiled for one shape
        frames: timesteps t (the code's, T-1..0) whose x_{t-1} is wanted
        network: what is asked instead of the module's network, such as for_classes() gives
        every: by fast_sample() with this stride; there are no frames then but x_T
    Returns:
        x_0 (B, C, H, W), and the frames with the initial noise before them, all on the device
    """
    scheduler, size = module.var_scheduler, module.image_resolution
    network = module.network if network is None else network

    def ask(x_t: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        if plan.compiled:
            torch.compiler.cudagraph_mark_step_begin()
        with plan.autocast():
            return network(x_t, timestep=timestep).float()

    padded = filled_up(numbers, batch_size)
    streams = OneStreamPerImage(seed, padded, (module.network.image_channels, size, size), plan.device)
    x_t = streams.draw()
    kept = [x_t[: len(numbers)].clone()]
    if every is not None:
        from companions import fast_sample

        return fast_sample(ask, scheduler, x_t, every, module.predictor)[: len(numbers)].clone(), kept
    wanted = set(frames or [])
    for i in range(scheduler.num_train_timesteps - 1, -1, -1):  # i is t as an int: reading a tensor would wait
        t = scheduler.timesteps[scheduler.num_train_timesteps - 1 - i]
        net_out = ask(x_t, t.expand(batch_size))
        with streams:  # the step's own randn_like() takes from the streams
            x_t = scheduler.step(x_t, t, net_out, predictor=module.predictor)
        if i in wanted:
            kept.append(x_t[: len(numbers)].clone())
    return x_t[: len(numbers)].clone(), kept


def filled_up(numbers: list[int], batch_size: int) -> list[int]:
    """The last number again and again, so that the network sees batches of one size."""
    return numbers + [numbers[-1]] * (batch_size - len(numbers))


def for_classes(network: nn.Module, labels: torch.Tensor, scale: float = 1.0) -> Callable[..., torch.Tensor]:
    """The network, asked for the classes `labels` (B,) whatever x_t it is shown, with guidance where scale is not 1."""

    def ask(x_t: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        if scale == 1:
            return network(x_t, timestep=timestep, class_label=labels)
        from companions import guided_noise

        return guided_noise(network, x_t, timestep, labels, scale, network.num_classes)

    return ask
