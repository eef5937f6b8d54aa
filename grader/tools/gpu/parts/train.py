"""Trains the full 64x64 model for some minutes as a student would, and draws from it: gpu_samples.png.

On any folder of images: in AFHQ's layout, or with images anywhere below it; without one on made-up coloured shapes.
"""

from __future__ import annotations

import csv
import os
import tempfile
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from grader.fid.images import EXTENSIONS
from grader.tools.gpu.machine import REPOSITORY
from grader.tools.gpu.record import rows
from grader.tools.gpu.scripts import run_script
from grader.tools.gpu.session import Session

MADE_UP = 3000  # images
SIDE, COLUMNS, GAP = 64, 8, 2  # of the picture, in pixels but for the columns
TRIAL: dict[str, Any] = {"image_size": 8, "ch": 32, "ch_mult": [1, 2], "num_res_blocks": 1, "batch_size": 4}
TRIAL |= {"num_diffusion_train_timesteps": 10, "train_num_steps": 60, "num_samples": 2}


def run(session: Session) -> None:
    trial = session.settings.trial
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        data, said = laid_out(session.settings.data, scratch / "data", 12 if trial else MADE_UP)
        session.note(images=said, minutes=session.settings.minutes)
        session.say(f"training on {said}")
        how = {"device": session.settings.device, "data_dir": data, "max_num_images_per_cat": 10**6, "mode": "linear"}
        how |= {"predictor": "noise", "sample_every": 10**9, "minutes": session.settings.minutes}
        said = run_script(scratch, "train.py", how | {"results_dir": scratch / "results"} | (TRIAL if trial else {}))
        run_folder = next((scratch / "results").glob("*/*/*"))
        losses = read_losses(run_folder / "loss.csv")
        session.note(**summary(losses), compiled="not compiled" not in said)
        session.check("the loss fell", fmean(losses[-20:]) < fmean(losses[:20]), session.values["loss_by_tenth"])
        target = Path(session.settings.out).with_name(Path(session.settings.out).stem + "_samples.png")
        contact_sheet(sorted(run_folder.glob("step=*.png")), target)  # train.py's own eight, in case time is up
        session.note(picture=target.name)
        session.say("drawing")
        count = 4 if trial else COLUMNS**2
        drawn = {"ckpt_path": run_folder / "last.ckpt", "save_dir": scratch / "samples", "num_images": count}
        run_script(scratch, "sampling.py", drawn | {"batch_size": count, "device": session.settings.device})
        contact_sheet(sorted((scratch / "samples").glob("*.png")), target)


def laid_out(given: str | None, place: Path, made_up: int) -> tuple[Path, str]:
    """A folder in AFHQ's layout, and what is in it in words: as given, links to what is given, or made-up images."""
    usual = REPOSITORY / "data" / "afhq"
    folder = Path(given) if given else usual if (usual / "train").is_dir() else None
    inside = place / "train" / "all"
    if folder is None:
        inside.mkdir(parents=True)
        for number in range(made_up):
            shapes(number).save(inside / f"{number:05}.png")
        return place, f"{made_up} made-up images of coloured shapes, as no folder was named"
    if (folder / "train").is_dir() and any(path.is_dir() for path in (folder / "train").iterdir()):
        return folder, f"the folder {folder.name}, in AFHQ's layout"
    files = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in EXTENSIONS and path.is_file()]
    if not files:
        raise FileNotFoundError(f"no images in {folder}")
    inside.mkdir(parents=True)
    for number, path in enumerate(files):
        os.symlink(path.resolve(), inside / f"{number:06}{path.suffix}")
    return place, f"{len(files)} images below the folder {folder.name}"


def shapes(seed: int) -> Image.Image:
    """One to three discs, boxes or triangles in plain colours on a plain ground."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", (SIDE, SIDE), tuple(rng.integers(0, 256, 3).tolist()))
    brush = ImageDraw.Draw(image)
    for _ in range(rng.integers(1, 4)):
        size = int(rng.integers(10, 30))
        x, y = rng.integers(0, SIDE - size, 2).tolist()
        colour = tuple(rng.integers(0, 256, 3).tolist())
        corners = (x, y, x + size, y + size)
        if (kind := rng.integers(3)) == 0:
            brush.ellipse(corners, colour)
        elif kind == 1:
            brush.rectangle(corners, colour)
        else:
            brush.polygon([(x, y + size), (x + size, y + size), (x + size // 2, y)], colour)
    return image


def read_losses(path: Path) -> list[float]:
    with open(path, encoding="utf-8", newline="") as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def summary(losses: list[float]) -> dict[str, Any]:
    """Steps, and the mean loss of each tenth of them."""
    tenth = max(1, len(losses) // 10)
    means = [round(fmean(losses[start : start + tenth]), 5) for start in range(0, len(losses), tenth)]
    return {"steps": len(losses), "loss_by_tenth": means[:10]}


def contact_sheet(files: list[Path], target: Path) -> None:
    """The images in rows of eight, on white."""
    images = [Image.open(file).convert("RGB") for file in files]
    step = images[0].width + GAP
    columns = min(COLUMNS, len(images))
    sheet = Image.new("RGB", (columns * step - GAP, -(-len(images) // columns) * step - GAP), "white")
    for number, image in enumerate(images):
        sheet.paste(image, (number % columns * step, number // columns * step))
    sheet.save(target)


def table(values: dict[str, Any]) -> list[str]:
    lines = [f"On {values['images']}, {values['minutes']:g} minutes.", ""]
    lines += rows(["steps", "steps/s", *(f"loss, tenth {number}" for number in (1, 2, 5, 10))])
    tenths = values["loss_by_tenth"]
    picked = [tenths[number - 1] if number <= len(tenths) else None for number in (1, 2, 5, 10)]
    lines += rows([values["steps"], values["steps"] / (60 * values["minutes"]), *picked], head=False)
    return [*lines, *([f"\n![samples]({values['picture']})"] if "picture" in values else [])]
