"""FID's InceptionV3 for inference: the network of pytorch-fid, with batch norms folded into the convolutions.

Szegedy et al. 2016 (https://arxiv.org/abs/1512.00567) as TensorFlow's graph of 2015-12-05 has it, which pytorch-fid
ported: average pools leave out the padding, and the last block pools by maximum. Held to pytorch_fid's own module on
the same weights by test_fid_extractor.py.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from grader.errors import UsageError

DIMS = 2048
SIDE = 299  # pixels; bilinear, without antialiasing, as pytorch-fid resizes
EPS = 1e-3  # of the batch norms

# A block is a list of branches, a branch a chain of steps, a step a convolution or a pool; a tuple is a fork.
Step = str | tuple[str, ...]
Block = tuple[tuple[Step, ...], ...]
_DOUBLE: tuple[Step, ...] = ("branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3")
_A: Block = (("branch1x1",), ("branch5x5_1", "branch5x5_2"), _DOUBLE, ("mean of branch_pool",))
_B: Block = (("branch3x3",), _DOUBLE, ("max/2",))
_C: Block = (
    ("branch1x1",),
    ("branch7x7_1", "branch7x7_2", "branch7x7_3"),
    tuple(f"branch7x7dbl_{i}" for i in range(1, 6)),
    ("mean of branch_pool",),
)
_D: Block = (("branch3x3_1", "branch3x3_2"), tuple(f"branch7x7x3_{i}" for i in range(1, 5)), ("max/2",))
_E: Block = (
    ("branch1x1",),
    ("branch3x3_1", ("branch3x3_2a", "branch3x3_2b")),
    ("branch3x3dbl_1", "branch3x3dbl_2", ("branch3x3dbl_3a", "branch3x3dbl_3b")),
)
STEM = ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "max/2", "Conv2d_3b_1x1", "Conv2d_4a_3x3", "max/2")
BLOCKS: dict[str, Block] = {
    **{f"Mixed_5{letter}": _A for letter in "bcd"},
    "Mixed_6a": _B,
    **{f"Mixed_6{letter}": _C for letter in "bcde"},
    "Mixed_7a": _D,
    "Mixed_7b": (*_E, ("mean of branch_pool",)),
    "Mixed_7c": (*_E, ("max", "branch_pool")),
}
# Every other convolution has stride 1 and keeps the size of its input.
HALVING = {
    "Conv2d_1a_3x3",
    "Mixed_6a.branch3x3",
    "Mixed_6a.branch3x3dbl_3",
    "Mixed_7a.branch3x3_2",
    "Mixed_7a.branch7x7x3_4",
}
UNPADDED = HALVING | {"Conv2d_2a_3x3", "Conv2d_4a_3x3"}


def shapes() -> dict[str, torch.Size]:
    """{name: shape} of every tensor in pytorch-fid's weights file."""
    from torchvision.models import inception_v3  # type: ignore[import-untyped]

    with torch.device("meta"):  # neither memory nor the global generator is touched
        network = inception_v3(weights=None, num_classes=1008, aux_logits=False, init_weights=False)
    return {name: value.shape for name, value in network.state_dict().items()}


class Inception:
    """Features of images: `network(images)` with (B, 3, H, W) in [0, 1] gives (B, 2048). Raises UsageError."""

    def __init__(self, state: dict[str, Tensor], device: torch.device) -> None:
        self.convolutions: dict[str, tuple[Tensor, Tensor]] = {}
        expected = {name: shape for name, shape in shapes().items() if not name.startswith("fc.")}
        for name in {name.rsplit(".", 2)[0] for name in expected}:
            self.convolutions[name] = _fold(name, state, expected, device)

    def __call__(self, images: Tensor) -> Tensor:
        x = F.interpolate(images, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
        x = (2 * x - 1).contiguous(memory_format=torch.channels_last)
        for step in STEM:
            x = self._step("", step, x)
        for name, block in BLOCKS.items():
            x = torch.cat([self._branch(name + ".", branch, x) for branch in block], 1)
        return x.mean((2, 3))

    def _branch(self, prefix: str, branch: tuple[Step, ...], x: Tensor) -> Tensor:
        for step in branch:
            if isinstance(step, tuple):
                x = torch.cat([self._step(prefix, part, x) for part in step], 1)
            else:
                x = self._step(prefix, step, x)
        return x

    def _step(self, prefix: str, step: str, x: Tensor) -> Tensor:
        if step == "max/2":
            return F.max_pool2d(x, 3, stride=2)
        if step == "max":
            return F.max_pool2d(x, 3, stride=1, padding=1)
        if step.startswith("mean of "):
            # The 1x1 convolution and the mean commute, both being linear, and the convolution leaves fewer channels.
            return F.avg_pool2d(self._convolve(prefix + step[8:], x), 3, 1, 1, count_include_pad=False).relu_()
        return self._convolve(prefix + step, x).relu_()

    def _convolve(self, name: str, x: Tensor) -> Tensor:
        weight, bias = self.convolutions[name]
        padding = (0, 0) if name in UNPADDED else (weight.shape[2] // 2, weight.shape[3] // 2)
        return F.conv2d(x, weight, bias, stride=2 if name in HALVING else 1, padding=padding)


def _fold(
    name: str, state: dict[str, Tensor], expected: dict[str, torch.Size], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Weight (O, I, KH, KW) and bias (O,) of a convolution that includes its batch norm, folded in float64."""

    def tensor(part: str) -> Tensor:
        found = state.get(f"{name}.{part}")
        if found is None:
            raise UsageError(f"the weights lack {name}.{part}: this is not a whole InceptionV3")
        if found.shape != expected[f"{name}.{part}"]:
            raise UsageError(
                f"the weights' {name}.{part} has shape {tuple(found.shape)}, "
                f"an InceptionV3 has {tuple(expected[f'{name}.{part}'])} there"
            )
        return found.double()

    scale = tensor("bn.weight") / torch.sqrt(tensor("bn.running_var") + EPS)
    weight = tensor("conv.weight") * scale[:, None, None, None]
    bias = tensor("bn.bias") - tensor("bn.running_mean") * scale
    return weight.float().to(device, memory_format=torch.channels_last), bias.float().to(device)
