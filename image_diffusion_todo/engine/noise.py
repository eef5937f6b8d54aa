"""Gaussian noise that belongs to an image and not to the batch in which it happens to be drawn."""

import torch
from model import DiffusionModule
from torch.overrides import TorchFunctionMode

AHEAD = 16  # draws made at once for each image. Another number gives other images.


class OneStreamPerImage(TorchFunctionMode):
    """One random stream an image, fixed by the seed and the image's number.

    Inside `with streams:` torch.randn_like(x_t), torch.randn(x_t.shape) and tensor.normal_() take from them wherever
    the result has the batch's shape: the reverse step in scheduler.py draws its noise as if nobody were watching.
    """

    def __init__(self, seed: int, numbers: list[int], shape: tuple[int, ...], device: torch.device):
        """numbers: those of the images in the batch, (B,); shape: that of one image, (C, H, W)."""
        super().__init__()
        self.numbers = numbers
        self.shape = (len(numbers), *shape)
        self.device = device
        self.generators = []
        for number in numbers:
            # The CPU's generator takes 32 bits of a seed; so many differ for any two images of a run.
            self.generators.append(torch.Generator(device).manual_seed((seed * 1_000_003 + number) % 2**32))
        self.ahead: list[torch.Tensor] = []

    def draw(self) -> torch.Tensor:
        """The next standard Gaussian noise of every image, (B, C, H, W), float32."""
        if not self.ahead:
            noise = torch.empty(AHEAD, *self.shape, device=self.device)
            for i, generator in enumerate(self.generators):
                noise[:, i] = torch.randn(AHEAD, *self.shape[1:], generator=generator, device=self.device)
            self.ahead = list(noise.unbind(0))[::-1]
        return self.ahead.pop()

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is torch.randn_like and tuple(args[0].shape) == self.shape:
            return self.draw().to(kwargs.get("dtype") or args[0].dtype)
        if func is torch.randn and kwargs.get("generator") is None and size_of(args, kwargs) == self.shape:
            return self.draw().to(kwargs.get("dtype") or torch.float32)
        if func is torch.Tensor.normal_ and len(args) == 1 and not kwargs and tuple(args[0].shape) == self.shape:
            return args[0].copy_(self.draw())
        return func(*args, **kwargs)


def streams(module: DiffusionModule, seed: int, numbers: list[int]) -> OneStreamPerImage:
    """The noise of these images, of the size that the module draws."""
    size = module.image_resolution
    return OneStreamPerImage(seed, numbers, (module.network.image_channels, size, size), module.device)


def size_of(args: tuple, kwargs: dict) -> tuple[int, ...]:
    """The size asked of torch.randn, which takes it as numbers, as one tuple or as size=."""
    size = kwargs.get("size", args[0] if len(args) == 1 else args)
    return tuple(size) if isinstance(size, (tuple, list)) else (size,)
