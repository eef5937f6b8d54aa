"""Loss curves: loss.csv (a line a step) and the picture of it."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

HEADER = "step,loss\n"


def append(path: Path, first_step: int, losses: list[float]) -> None:
    """Adds the losses of the steps from first_step on."""
    with open(path, "a", encoding="utf-8") as file:
        if file.tell() == 0:
            file.write(HEADER)
        file.writelines(f"{first_step + i},{loss:.9g}\n" for i, loss in enumerate(losses))  # 9 digits: all of float32


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Steps and losses, (N,) each. Raises ValueError where the file is damaged."""
    lines = path.read_text(encoding="utf-8").splitlines()[1:]
    rows = [line.split(",") for line in lines]
    return np.array([int(row[0]) for row in rows]), np.array([float(row[1]) for row in rows])


def keep_before(path: Path, step: int) -> None:
    """Drops the steps from `step` on: a run that was killed had got further than its last checkpoint."""
    if path.is_file():
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        path.write_text("".join(lines[: step + 1]), encoding="utf-8")  # line 0 is the header


def smooth(losses: np.ndarray, window: int) -> np.ndarray:
    """Mean over the last `window` steps: (N,) -> (N,)."""
    sums = np.cumsum(np.insert(losses.astype(np.float64), 0, 0.0))
    ends = np.arange(1, len(losses) + 1)
    starts = np.maximum(0, ends - window)
    return (sums[ends] - sums[starts]) / (ends - starts)


def draw(curves: dict[str, tuple[np.ndarray, np.ndarray]], path: Path, title: str = "") -> None:
    """The smoothed curves by name, in one picture; a single one with its unsmoothed values behind it."""
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    for name, (steps, losses) in curves.items():
        window = max(1, min(200, len(losses) // 10))
        if len(curves) == 1:
            axes.plot(steps, losses, color="0.8", linewidth=0.5)
        axes.plot(steps, smooth(losses, window), label=f"{name} (mean of {window} steps)")
    axes.set(xlabel="training step", ylabel="loss", yscale="log", title=title)
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    figure.savefig(path, dpi=130)
