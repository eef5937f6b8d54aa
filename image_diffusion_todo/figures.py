"""The report's figures, from the results folders of train.py.

    python figures.py results --out figures

schedules.png: trajectories under linear, quad and cosine. predictors.png: 8 samples of each predictor. losses.png:
all loss curves. Of several runs with the same settings the latest complete one counts.
"""

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from engine import curves
from engine.errors import LabError, run_script
from matplotlib.figure import Figure
from model import PREDICTORS
from PIL import Image
from scheduler import MODES

SAMPLES = 8  # of each predictor
ROWS = 2  # images of a trajectory strip that are shown
GAP = 2  # white pixels between the images of a strip, see images.strip


@dataclass(frozen=True)
class Results:
    """A complete results folder."""

    folder: Path
    mode: str
    predictor: str
    size: int  # pixels of an image
    step: int  # the last one of which there are samples


def read_results(folder: Path) -> Results:
    """What is in a results folder. Raises LabError with what is missing."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        mode, predictor = config["scheduler"]["mode"], config["predictor"]
        size = config["network"]["image_resolution"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LabError(f"config.json: {error}") from error
    if not (folder / "last.ckpt").is_file():
        raise LabError("no last.ckpt: the run was stopped before its first checkpoint")
    steps = [int(path.stem.split("=")[1].split("-")[0]) for path in folder.glob("step=*-0.png")]
    if not steps:
        raise LabError("no samples: go on with train.py --resume")
    results = Results(folder, mode, predictor, size, max(steps))
    for path in [folder / "trajectory.png", *sample_files(results)]:
        if not path.is_file():
            raise LabError(f"no {path.name}")
        read(path)
    try:
        steps, _ = curves.read(folder / "loss.csv")
    except (OSError, ValueError, IndexError) as error:
        raise LabError(f"loss.csv: {error}") from error
    if not len(steps):
        raise LabError("loss.csv is empty")
    return results


def sample_files(results: Results) -> list[Path]:
    return [results.folder / f"step={results.step}-{k}.png" for k in range(SAMPLES)]


def read(path: Path) -> np.ndarray:
    """(H, W, 3) uint8."""
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError) as error:
        raise LabError(f"{path.name} cannot be read: {error}") from error


def find(root: Path) -> dict[tuple[str, str], Results]:
    """(predictor, mode) -> the latest complete results; the folders left out are named on stderr."""
    found: dict[tuple[str, str], Results] = {}
    for config in sorted(root.rglob("config.json"), key=lambda path: path.stat().st_mtime):
        try:
            results = read_results(config.parent)
            found[results.predictor, results.mode] = results
        except LabError as error:
            print(f"left out {config.parent}: {error}", file=sys.stderr)
    return found


def draw_schedules(runs: list[Results], path: Path) -> None:
    """One strip a schedule, x_T on the left and x_0 on the right."""
    figure = Figure(figsize=(10, 0.5 + 2.3 * len(runs)), layout="constrained")
    for axes, run in zip(figure.subplots(len(runs), 1, squeeze=False)[:, 0], runs, strict=True):
        picture = read(run.folder / "trajectory.png")[: ROWS * (run.size + GAP) - GAP]
        axes.imshow(picture, interpolation="nearest")
        axes.set_title(f"{run.mode} schedule ({run.predictor} predictor, {run.step} steps)", loc="left", fontsize=10)
        axes.set_xticks([run.size / 2, picture.shape[1] - run.size / 2], ["$x_T$", "$x_0$"])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
    figure.savefig(path, dpi=150)


def draw_predictors(runs: list[Results], path: Path) -> None:
    """A row of 8 samples a predictor."""
    figure = Figure(figsize=(10, 0.3 + 1.5 * len(runs)), layout="constrained")
    for axes, run in zip(figure.subplots(len(runs), 1, squeeze=False)[:, 0], runs, strict=True):
        samples = [np.pad(read(file), ((0, 0), (0, GAP), (0, 0)), constant_values=255) for file in sample_files(run)]
        axes.imshow(np.concatenate(samples, axis=1), interpolation="nearest")
        axes.set_title(f"predictor {run.predictor} ({run.mode} schedule, {run.step} steps)", loc="left", fontsize=10)
        axes.set_axis_off()
    figure.savefig(path, dpi=150)


def choose(found: dict, keys: list[tuple[str, str]]) -> list[Results]:
    """The runs of these settings; those there are no results for are named."""
    for predictor, mode in keys:
        if (predictor, mode) not in found:
            print(f"missing: python train.py --predictor {predictor} --mode {mode}", file=sys.stderr)
    return [found[key] for key in keys if key in found]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="?", default=Path("results"))
    parser.add_argument("--out", type=Path, default=Path("figures"))
    parser.add_argument("--predictor", choices=PREDICTORS, default="noise", help="of schedules.png (default: noise)")
    parser.add_argument("--mode", choices=MODES, default="linear", help="of predictors.png (default: linear)")
    options = parser.parse_args()
    found = find(options.results)
    if not found:
        raise LabError(f"no complete results folder in {options.results}: train.py makes them")
    options.out.mkdir(parents=True, exist_ok=True)
    for name, draw, keys in (
        ("schedules.png", draw_schedules, [(options.predictor, mode) for mode in MODES]),
        ("predictors.png", draw_predictors, [(predictor, options.mode) for predictor in PREDICTORS]),
    ):
        if runs := choose(found, keys):
            draw(runs, options.out / name)
            print(f"{options.out / name}: {', '.join(str(run.folder) for run in runs)}")
    named = {
        f"{predictor}, {mode}": curves.read(run.folder / "loss.csv") for (predictor, mode), run in sorted(found.items())
    }
    curves.draw(named, options.out / "losses.png")
    print(f"{options.out / 'losses.png'}: {len(named)} runs")


if __name__ == "__main__":
    sys.exit(run_script(main))
