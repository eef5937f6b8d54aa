"""The data sets: AFHQ or a folder laid out like it, CIFAR-10, MNIST, Fashion-MNIST.

    python dataset.py              prepares data/afhq: the training cache, and eval/ for the FID; only once
    python dataset.py --download   fetches AFHQ first

AFHQ's layout is train/cat/*.jpg, train/dog/*.jpg, train/wild/*.jpg, and the same under val/. Every image is
decoded and resized once; after that a run maps the cached uint8 array into memory.
"""

import argparse
import gzip
import hashlib
import io
import json
import sys
import tempfile
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from engine.errors import LabError, run_script
from engine.images import RESIZE, for_each, image_files, read_image, save_image, to_square, write_atomically

DATA = Path(__file__).resolve().parent.parent / "data"
CACHE = DATA / "cache"
NAMES = ("afhq", "cifar10", "mnist", "fashion_mnist")
GREY = ("mnist", "fashion_mnist")  # three equal channels, of which one will do
MAX_PER_CLASS = 3000  # images of each kind that a training uses
Place = Path | str | None
SAMPLED = 2048  # bytes of each file, three times, by which a change is seen
MAX_BROKEN = 0.1  # share of unreadable images that a training goes on without


def default_folder(name: str) -> Path:
    """Where a data set is looked for if no --data_dir is given."""
    return DATA / "afhq" if name == "afhq" else DATA


def training_images(
    name: str = "afhq", data_dir: Place = None, image_size: int = 64, max_per_class: int | None = MAX_PER_CLASS
) -> torch.Tensor:
    """All images to train on, uint8 (N, 3, image_size, image_size), from the cache if they are in it."""
    return load(name, "train", Path(data_dir or default_folder(name)), image_size, max_per_class)


def training_labels(
    name: str = "afhq", data_dir: Place = None, image_size: int = 64, max_per_class: int | None = MAX_PER_CLASS
) -> tuple[torch.Tensor, list[str]]:
    """The classes 0..num_classes-1 of the images of training_images(), LongTensor (N,), and the classes' names."""
    folder = Path(data_dir or default_folder(name))
    if name != "afhq":
        source = open_torchvision(name, folder, "train")
        return torch.as_tensor(source.targets), list(source.classes)
    files = folder_files(folder, "train", max_per_class)
    _, broken = load_or_decode(name, "train", folder, image_size, max_per_class)
    left_out = {line.partition(": ")[0] for line in broken}
    kinds = [path.parent.name for path in files if name_of(path) not in left_out]
    names = sorted(set(kinds))
    return torch.tensor([names.index(kind) for kind in kinds]), names


def load(name: str, split: str, folder: Path, size: int, max_per_class: int | None) -> torch.Tensor:
    """The images of one split ("train" or "val"), uint8 (N, 3, size, size)."""
    images, broken = load_or_decode(name, split, folder, size, max_per_class)
    report_broken(broken, len(images), folder)
    return torch.from_numpy(images)


def load_or_decode(
    name: str, split: str, folder: Path, size: int, max_per_class: int | None
) -> tuple[np.ndarray, list[str]]:
    """The images of a split, and a line for each file that could not be read."""
    if name not in NAMES:
        raise LabError(f"unknown dataset '{name}'; known are {', '.join(NAMES)}")
    sources = folder_files(folder, split, max_per_class) if name == "afhq" else torchvision_files(name, folder)
    key = fingerprint(sources, f"{name} {split} {size} {RESIZE}")
    which = hashlib.sha256(f"{folder.resolve().name} {max_per_class}".encode()).hexdigest()[:8]
    stem = CACHE / f"{name}_{split}_{size}_{which}"  # one for each name of a folder, replaced when the files change
    cached = read_cache(stem, key)
    if cached is None:
        arrays = decode_files(sources, size, split) if name == "afhq" else decode_torchvision(name, folder, split, size)
        cached = write_cache(stem, key, *arrays)
    return cached


def folder_files(folder: Path, split: str, max_per_class: int | None) -> list[Path]:
    """The images of folder/split/CLASS/*, at most so many of each class, sorted by class and name."""
    where = folder / split
    if not where.is_dir():
        raise LabError(f"{where} is not there. {layout_hint(folder)}")
    classes = sorted(path for path in where.iterdir() if path.is_dir() and not path.name.startswith("."))
    files = [path for place in classes for path in image_files(place)[:max_per_class]]
    if not files:
        loose = len(image_files(where))
        what = f"{loose} images lie in {where} itself, not in folders" if loose else f"{where} holds no images"
        raise LabError(f"{what}. {layout_hint(folder)}")
    return files


def layout_hint(folder: Path) -> str:
    """What to do about a folder that is not laid out like AFHQ."""
    nested = [place for place in (folder / "afhq", folder / "data" / "afhq") if (place / "train").is_dir()]
    if nested:
        return f"{nested[0]} has it: use --data_dir {nested[0]}"
    return (
        "Expected are train/ and val/ with one folder each for cat, dog and wild. `python dataset.py"
        " --download` fetches AFHQ; --data_dir names another folder; --dataset another data set"
    )


INSIDE = {"cifar10": "cifar-10-batches-py", "mnist": "MNIST/raw", "fashion_mnist": "FashionMNIST/raw"}


def torchvision_files(name: str, folder: Path) -> list[Path]:
    """The files that torchvision reads, fetched by it if they are not there."""
    root = Path(open_torchvision(name, folder, "train").root)
    return sorted(path for path in (root / INSIDE[name]).iterdir() if path.is_file())


def readable_root(name: str, folder: Path) -> Path:
    """`folder`, or a copy of it without compression: torchvision does not read MNIST's files as they come."""
    packed = [path for path in (folder / INSIDE[name]).glob("*.gz") if not path.with_suffix("").exists()]
    if not packed:
        return folder
    target = CACHE / "unpacked" / INSIDE[name]
    target.mkdir(parents=True, exist_ok=True)
    for path in packed:
        with gzip.open(path) as file:
            data = file.read()
        if not (target / path.stem).is_file() or (target / path.stem).read_bytes() != data:
            write_atomically(target / path.stem, lambda out, data=data: out.write(data))
    return CACHE / "unpacked"


def open_torchvision(name: str, folder: Path, split: str):
    """torchvision's own reader of the data set."""
    from torchvision import datasets

    reader = {"cifar10": datasets.CIFAR10, "mnist": datasets.MNIST, "fashion_mnist": datasets.FashionMNIST}[name]
    train = split == "train"
    folder = readable_root(name, folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # CIFAR-10's old pickles, with a newer NumPy
        try:
            return reader(folder, train=train, download=False)
        except RuntimeError:
            print(f"{name} is not in {folder}: fetching it", file=sys.stderr)
        try:
            return reader(folder, train=train, download=True)
        except (OSError, RuntimeError) as error:
            raise LabError(
                f"{name} is not in {folder} and could not be fetched ({error}). Fetch it on another"
                f" machine with torchvision.datasets.{reader.__name__}('{folder}', download=True)"
                " and copy the folder here"
            ) from error


def decode_torchvision(name: str, folder: Path, split: str, size: int) -> tuple[np.ndarray, list[str]]:
    from PIL import Image

    pictures = np.asarray(open_torchvision(name, folder, split).data)  # (N, H, W) or (N, H, W, 3)
    return np.stack([to_square(Image.fromarray(picture), size) for picture in pictures]), []


def decode_files(files: list[Path], size: int, split: str) -> tuple[np.ndarray, list[str]]:
    """Images (N, 3, size, size), and a line for each file that could not be read."""
    images = np.empty((len(files), 3, size, size), dtype=np.uint8)

    def decode(i: int, path: Path) -> None:
        images[i] = read_image(path, size)

    failed = for_each(decode, files, f"decoding {split}")
    good = np.ones(len(files), dtype=bool)
    good[[i for i, _ in failed]] = False
    return images[good], [f"{name_of(files[i])}: {error}" for i, error in failed]


def report_broken(broken: list[str], good: int, folder: Path) -> None:
    """A few broken images are named and left out; many are an error."""
    if not broken:
        return
    shown = "\n".join(f"  {line}" for line in broken[:5] + ["..."] * (len(broken) > 5))
    text = f"{len(broken)} of {good + len(broken)} images in {folder} cannot be read:\n{shown}\n"
    if len(broken) > MAX_BROKEN * (good + len(broken)):
        raise LabError(f"{text}That is too many to go on without: unpack the archive again")
    print(f"{text}They are left out. Unpack the archive again to have them back", file=sys.stderr)


def fingerprint(files: list[Path], settings: str) -> str:
    """Changes whenever a file is added, removed, renamed or written, or the settings differ; the same on any machine.

    Of each file the size, the beginning, the middle and the end count: reading 15,000 files whole at every start would
    take longer than decoding saves.
    """
    digest = hashlib.sha256(settings.encode())
    for path in files:
        digest.update(f"{name_of(path)} {path.stat().st_size}\n".encode())
        with suppress(OSError), path.open("rb") as file:  # a file that cannot be read is named when it is decoded
            size = file.seek(0, io.SEEK_END)
            for place in (0, size // 2, max(0, size - SAMPLED)):
                file.seek(place)
                digest.update(file.read(SAMPLED))
    return digest.hexdigest()


def name_of(path: Path) -> str:
    """An image's class and name, as in "cat/0001.jpg"."""
    return f"{path.parent.name}/{path.name}"


def read_cache(stem: Path, key: str) -> tuple[np.ndarray, list[str]] | None:
    """Images and broken files of an earlier run, None if there are none or they were made of other files."""
    try:
        about = json.loads(stem.with_suffix(".json").read_text(encoding="utf-8"))
        images = np.load(stem.with_suffix(".npy"), mmap_mode="c")  # "c": torch wants writable memory
    except (OSError, ValueError):
        return None
    if about.get("fingerprint") != key or list(images.shape) != about.get("shape"):
        return None
    return images, about["broken"]


def write_cache(stem: Path, key: str, images: np.ndarray, broken: list[str]) -> tuple[np.ndarray, list[str]]:
    """Writes the cache and returns what it was given. A run that is killed here leaves no valid cache behind."""
    about = {"fingerprint": key, "shape": list(images.shape), "resize": RESIZE, "broken": broken}
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
        stem.with_suffix(".json").unlink(missing_ok=True)  # an array without its JSON is no cache
        write_atomically(stem.with_suffix(".npy"), lambda file: np.save(file, images))
        write_atomically(stem.with_suffix(".json"), lambda file: file.write(json.dumps(about, indent=1).encode()))
    except OSError as error:
        print(f"no cache was written to {stem.parent} ({error}): the next run decodes again", file=sys.stderr)
    return images, broken


def make_eval(name: str, folder: Path, size: int) -> Path:
    """Writes the validation images as PNG into one folder, all of them or none. Returns the folder."""
    target = folder / ("eval" if name == "afhq" else f"{name}_eval")
    about_file = target / "eval.json"  # measure_fid.py reads it; other tools take only the images
    images = load(name, "val", folder, size, None).numpy()
    about = {
        "dataset": name,
        "size": size,
        "count": len(images),
        "resize": RESIZE,
        "sha256": hashlib.sha256(images.tobytes()).hexdigest(),
    }
    if target.exists():
        if about_file.is_file() and json.loads(about_file.read_text(encoding="utf-8")) == about:
            return target
        raise LabError(
            f"{target} is there already, and was made of other images or in another size:"
            " delete that folder to have it made anew"
        )
    with tempfile.TemporaryDirectory(dir=folder, prefix=".eval-") as scratch:
        fresh = Path(scratch) / "eval"
        fresh.mkdir()
        for_each(lambda i, image: save_image(image, fresh / f"{i:05d}.png"), images, "writing eval")
        if len(image_files(fresh)) != len(images):
            raise LabError(f"{target} could not be written: is the disk full?")
        (fresh / "eval.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
        fresh.rename(target)
    return target


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """Options that train.py has as well."""
    parser.add_argument("--dataset", choices=NAMES, default="afhq")
    place = "folder of the data set (default: ../data/afhq, or ../data for the others); any laid out like AFHQ will do"
    parser.add_argument("--data_dir", type=Path, help=place)
    most = f"training images of each kind, AFHQ only (default: {MAX_PER_CLASS})"
    parser.add_argument("--max_num_images_per_cat", type=int, default=MAX_PER_CLASS, metavar="N", help=most)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data_options(parser)
    parser.add_argument("--image_size", type=int, default=64, help="pixels (default: 64; train.py --small uses 32)")
    parser.add_argument("--download", action="store_true", help="fetch AFHQ: a large archive, CC BY-NC 4.0")
    options = parser.parse_args()
    folder = options.data_dir or default_folder(options.dataset)
    if options.download and options.dataset == "afhq":
        from engine.download import fetch_afhq

        fetch_afhq(folder)
    images = training_images(options.dataset, folder, options.image_size, options.max_num_images_per_cat)
    print(f"training: {len(images)} images, {options.image_size}x{options.image_size}")
    target = make_eval(options.dataset, folder, options.image_size)
    print(f"evaluation: {len(image_files(target))} images in {target}")


if __name__ == "__main__":
    sys.exit(run_script(main))
