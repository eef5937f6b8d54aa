"""Where the extractor's weights come from: fetched once and verified, given by path, or drawn from a seed for tests.

A weights file is a state dict, loaded without unpickling code (`weights_only`), or a .safetensors of such tensors:
 - FID's InceptionV3 under torchvision's names (`Conv2d_1a_3x3.conv.weight`), as pytorch-fid publishes it, or under
   those of pytorch_fid's module (`blocks.0.0.conv.weight`); a prefix such as `module.` and a head do not matter;
 - our small Inception (grader/fid/small.py), `{"arch": "small-inception", "state_dict": {...}}`.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import shutil
import sys
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grader.errors import UsageError
from grader.files import replacing

if TYPE_CHECKING:
    import torch

URL = "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth"
FILE = URL.rsplit("/", 1)[1]
CHECKSUM = "6726825d"  # first digits of the file's SHA-256, which the publisher put into its name
GIVE = "give the file with --weights PATH"
CONVERT = (
    "convert it where you trust its maker: "
    "python -c \"import torch; made = torch.load('FILE', weights_only=False); "
    "torch.save(made.state_dict() if hasattr(made, 'state_dict') else made['state_dict'], 'weights.pt')\""
)


def default_weights() -> Path:
    """pytorch-fid's weights, fetched on first use to where pytorch_fid itself keeps them. Raises UsageError."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    file = Path(os.environ.get("TORCH_HOME") or cache / "torch") / "hub" / "checkpoints" / FILE
    if not file.is_file():
        _fetch(file)
    elif not sha256(file).startswith(CHECKSUM):
        raise UsageError(
            f"{file} is damaged or not pytorch-fid's (its SHA-256 should begin with {CHECKSUM}): "
            f"delete it, and it is fetched again, or {GIVE}"
        )
    return file


def _fetch(file: Path) -> None:
    print(f"fetching the Inception weights of pytorch-fid (about 92 MB) from {URL}", file=sys.stderr)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as draft:
            with urllib.request.urlopen(URL, timeout=30) as answer, open(draft, "wb") as out:
                shutil.copyfileobj(answer, out, 1 << 20)
            if not sha256(draft).startswith(CHECKSUM):
                raise UsageError(
                    f"what {URL} sent is not the published file (its SHA-256 should begin with {CHECKSUM}); {GIVE}"
                )
    except OSError as error:  # URLError is one
        raise UsageError(
            f"the Inception weights cannot be fetched from {URL} ({getattr(error, 'reason', error)}).\n"
            f"Put the file at {file}, or {GIVE}"
        ) from error


def sha256(file: Path) -> str:
    """SHA-256 of a file, as `sha256sum` prints it."""
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def find_weights(path: Path | None) -> Path:
    """The weights file to use: `path`, or pytorch-fid's for None. Raises UsageError where there is none."""
    if path is None:
        return default_weights()
    if not path.is_file():
        raise UsageError(f"no such weights file: {path}")
    return path


def load_weights(file: Path) -> tuple[str, dict[str, torch.Tensor]]:
    """(architecture, state dict with the architecture's own names) of a weights file. Raises UsageError."""
    content = _read(file)
    arch = content.get("arch")
    if isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    tensors = {name: value for name, value in content.items() if hasattr(value, "shape")}
    if arch not in (None, "inception-v3", "small-inception"):
        raise UsageError(f"{file}: unknown arch '{arch}'; known are inception-v3 and small-inception")
    if arch == "small-inception" or (arch is None and "stem.0.conv.weight" in tensors):
        return "small-inception", tensors
    renamed = _inception_names(tensors)
    if renamed is None:
        raise UsageError(
            f"{file} holds no Inception that is known here: no tensor is named Conv2d_1a_3x3.conv.weight "
            f"or blocks.0.0.conv.weight (but {', '.join(sorted(tensors)[:3]) or 'none at all'})"
        )
    return "inception-v3", renamed


def _read(file: Path) -> dict[str, Any]:
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        content = load_file(file) if file.suffix == ".safetensors" else torch.load(file, "cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UsageError(
            f"{file} is not a plain state dict: reading it would run code that it carries, which is refused.\n{CONVERT}"
        ) from error
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, SafetensorError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(f"{file} cannot be read as weights, it may be cut short: {first}") from error
    if not isinstance(content, dict):
        raise UsageError(f"{file} holds a {type(content).__name__}; a state dict is needed")
    return content


# Modules of pytorch_fid's InceptionV3, block by block, in torchvision's names; None is a pooling.
_BLOCKS = (
    ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", None),
    ("Conv2d_3b_1x1", "Conv2d_4a_3x3", None),
    ("Mixed_5b", "Mixed_5c", "Mixed_5d", "Mixed_6a", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"),
    ("Mixed_7a", "Mixed_7b", "Mixed_7c", None),
)


def _inception_names(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor] | None:
    """The tensors under torchvision's names, without prefix; None where this is no InceptionV3."""
    for first, blocks in (("Conv2d_1a_3x3.conv.weight", False), ("blocks.0.0.conv.weight", True)):
        prefix = next((name.removesuffix(first) for name in tensors if name.endswith(first)), None)
        if prefix is None:
            continue
        bare = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        if not blocks:
            return bare
        table = {
            f"blocks.{i}.{j}.": f"{module}." for i, modules in enumerate(_BLOCKS) for j, module in enumerate(modules)
        }
        return {
            table[head] + name.removeprefix(head): value
            for name, value in bare.items()
            if (head := ".".join(name.split(".")[:3]) + ".") in table
        }
    return None


def seeded_inception(seed: int) -> dict[str, torch.Tensor]:
    """A state dict of FID's InceptionV3 with random weights: what tests and benchmarks use where none can be fetched.

    Names and shapes are those of pytorch-fid's file, which it can stand in for. Convolutions keep the scale of their
    input (He et al. 2015); the random offsets keep different images from ending in the same features.
    """
    import torch

    from grader.fid.inception import shapes

    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in shapes().items():
        if name.endswith("num_batches_tracked"):
            state[name] = torch.zeros((), dtype=torch.long)
        elif name.endswith(("bn.weight", "running_var")):
            state[name] = torch.ones(shape)
        elif name.endswith("bn.bias"):
            state[name] = torch.randn(shape, generator=generator) * 0.5
        elif len(shape) > 1:
            fan_in = shape.numel() // shape[0]
            state[name] = torch.randn(shape, generator=generator) * (2 / fan_in) ** 0.5
        else:
            state[name] = torch.zeros(shape)
    return state
