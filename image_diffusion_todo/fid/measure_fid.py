"""The Frechet Inception Distance of two folders of images, by pytorch-fid's network and formula.

    python fid/measure_fid.py ../data/afhq/eval samples
    python fid/measure_fid.py ../data/afhq/eval samples --weights inception_afhq.pth

FID is by Heusel et al. 2017, https://arxiv.org/abs/1706.08500. It depends on the Inception's weights, on how images
were resized and on how many there are; so all of these are printed with it. Numbers of different weights cannot be
compared.
"""

import argparse
import hashlib
import json
import pickle
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from engine.errors import LabError, device_named, run_script
from engine.images import image_files
from tqdm import tqdm

RESIZE = "to 299x299 by torch's bilinear interpolation, not antialiased, as pytorch-fid does"


def make_inception(weights: Path | None, device: torch.device) -> tuple[torch.nn.Module, str]:
    """pytorch-fid's Inception with its own weights, or those in a file; and the SHA-256 of the weights."""
    from pytorch_fid import inception

    def local_weights(url, **_):
        return torch.load(weights, map_location="cpu", weights_only=True)

    try:
        if weights is None:
            network = inception.InceptionV3([inception.InceptionV3.BLOCK_INDEX_BY_DIM[2048]])
        else:
            with mock.patch.object(inception, "load_state_dict_from_url", local_weights):
                network = inception.InceptionV3([inception.InceptionV3.BLOCK_INDEX_BY_DIM[2048]])
    except FileNotFoundError as error:
        raise LabError(f"{weights} is no file") from error
    except (RuntimeError, KeyError, EOFError, pickle.UnpicklingError) as error:
        if weights is None:
            raise LabError(cannot_fetch(inception.FID_WEIGHTS_URL, error)) from error
        raise LabError(f"{weights} does not hold the weights of pytorch-fid's Inception: {str(error)[:200]}") from error
    except OSError as error:
        raise LabError(cannot_fetch(inception.FID_WEIGHTS_URL, error)) from error
    return network.to(device).eval(), sha256_of(network)


def cannot_fetch(url: str, error: Exception) -> str:
    place = Path(torch.hub.get_dir()) / "checkpoints" / Path(url).name
    return (
        f"the Inception's weights could not be fetched ({error}). Fetch {url} elsewhere and put the file at"
        f" {place}, or name it with --weights"
    )


def sha256_of(network: torch.nn.Module) -> str:
    """Of the numbers in the weights, in the order of their names: the same for the same weights in any file."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(name.encode() + value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def read_all(folder: Path) -> tuple[list[Path], str]:
    """The images of a folder, and their sizes in words."""
    if not folder.is_dir():
        raise LabError(f"{folder} is no folder." + (" `python dataset.py` makes it" if folder.name == "eval" else ""))
    files = image_files(folder)
    if len(files) < 2:
        raise LabError(
            f"{folder} holds {len(files)} images: at least 2 are needed, and 500 for a number that means"
            " something. Images in folders inside it are not counted"
        )
    sizes: dict[tuple[int, int], int] = {}
    for path in files:
        try:
            with Image.open(path) as image:
                sizes[image.size] = sizes.get(image.size, 0) + 1
        except OSError as error:
            raise LabError(f"{path} cannot be opened: {error}") from error
    if len(sizes) > 1:
        listed = ", ".join(f"{number} of {w}x{h}" for (w, h), number in sorted(sizes.items()))
        raise LabError(f"the images in {folder} have different sizes: {listed}")
    ((w, h),) = sizes
    return files, f"{w}x{h}"


def pixels(path: Path) -> np.ndarray:
    try:
        with Image.open(path) as image:
            return np.array(image.convert("RGB"))
    except (OSError, SyntaxError) as error:
        raise LabError(f"{path} cannot be read: {error}") from error


@torch.no_grad()
def features(files: list[Path], network: torch.nn.Module, device: torch.device, batch_size: int) -> np.ndarray:
    """Inception features (N, 2048), float64."""
    rows = []
    for i in tqdm(range(0, len(files), batch_size), files[0].parent.name, unit="batch", leave=False):
        batch = [pixels(path) for path in files[i : i + batch_size]]
        x = torch.from_numpy(np.stack(batch)).permute(0, 3, 1, 2).to(device).float() / 255  # (B, 3, H, W) in [0, 1]
        rows.append(network(x)[0].flatten(1).double().cpu().numpy())
    return np.concatenate(rows)


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """pytorch-fid's own formula on two sets of features."""
    from pytorch_fid.fid_score import calculate_frechet_distance

    return float(
        calculate_frechet_distance(a.mean(axis=0), np.cov(a, rowvar=False), b.mean(axis=0), np.cov(b, rowvar=False))
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gt", type=Path, metavar="GT", help="folder of real images, such as ../data/afhq/eval")
    parser.add_argument("gen", type=Path, metavar="GEN", help="folder of generated images")
    parser.add_argument("--weights", type=Path, help="another Inception's state dict (default: pytorch-fid's)")
    parser.add_argument("--batch_size", type=int, default=50)
    parser.add_argument("--device", help="cpu, cuda, cuda:1 (default: a GPU if there is one)")
    options = parser.parse_args()
    device = device_named(options.device)
    sets = [(folder, *read_all(folder)) for folder in (options.gt, options.gen)]
    network, sha256 = make_inception(options.weights, device)
    value = frechet(*(features(files, network, device, options.batch_size) for _, files, _ in sets))
    print(f"FID {value:.4f}")
    for name, (folder, files, size) in zip(("real", "generated"), sets, strict=True):
        print(f"{name:10} {len(files)} images of {size} in {folder}")
    about = options.gt / "eval.json"
    if about.is_file():
        print(f"{'':10} made by dataset.py: {json.loads(about.read_text(encoding='utf-8'))['resize']}")
    print(f"{'resized':10} {RESIZE}")
    print(f"{'weights':10} {options.weights or 'those of pytorch-fid'}, SHA-256 of the tensors {sha256}")
    if sets[0][2] != sets[1][2]:
        print(
            f"the two folders hold images of {sets[0][2]} and {sets[1][2]}: the number compares sharpness as well",
            file=sys.stderr,
        )


if __name__ == "__main__":
    sys.exit(run_script(main))
