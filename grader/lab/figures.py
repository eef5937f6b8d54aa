"""Figures for reports, drawn from raw numbers that a submission returned and that may be anything.

matplotlib is imported at the first figure (half a second). Its object interface is used instead of pyplot,
which keeps a global list of figures, and one at a time, since its font and text caches are not thread-safe.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 100
COLOURS = 32  # of the PNG's palette: a strip takes 40 kB instead of 150 kB
WIDE = 8.0  # inches of pictures
TALL = 24.0  # inches of one picture at most, whatever its shape
DRAWN = 1500  # points drawn per panel; more only make the file larger
STEPS_DRAWN = 20_000  # of a loss curve
HUGE = 1e30  # beyond this the axes themselves would overflow
BLUE, RED = "#1f5f99", "#b3261e"

_lock = threading.Lock()


def draw_forward_strip(points: Mapping[int, NDArray[Any]], path: Path) -> None:
    """Draw q(x_t) as a PNG at `path`: one panel per t in rising order, on one scale taken from the data.

    `points[t]` is (N, 2); t counts from 0, the paper's t = 1. What cannot be drawn is said on its panel:
    values that are not finite are left out, values beyond the frame are put on its edge, and another shape
    leaves the panel empty. Raises ValueError without panels, OSError where the file cannot be written.
    """
    if not points:
        raise ValueError("a strip needs at least one panel")
    clouds = {t: _finite(points[t]) for t in sorted(points)}
    limit = _limit([cloud for cloud, _ in clouds.values() if len(cloud)])
    with _canvas(1.5 * len(clouds), 1.95, path) as figure:
        grid = figure.subplots(1, len(clouds), squeeze=False)[0]
        for (t, (cloud, note)), axes in zip(clouds.items(), grid, strict=True):
            axes.set_title(f"t = {t}", fontsize=10)
            _panel(axes, cloud, note, limit)
        _scale(grid[0], limit)
        figure.subplots_adjust(left=0.028, right=0.995, bottom=0.1, top=0.86, wspace=0.06)


def draw_loss_curve(losses: NDArray[Any], allowed: tuple[float, float], path: Path, own: float = float("nan")) -> None:
    """Draw the loss of every step, (n,), with its running mean, the range allowed, and the grader's `own` loss if any.

    Steps that are not finite leave gaps; a curve without a finite step is said to be one. Raises OSError.
    """
    losses = np.asarray(losses, dtype=np.float64).reshape(-1)
    finite = np.isfinite(losses)
    with _canvas(6.4, 3.2, path) as figure:
        axes = figure.subplots()
        axes.set(xlabel="step", ylabel="loss", ylim=(0, _top(losses[finite])))
        axes.axhspan(*allowed, color="#2e8b57", alpha=0.15, lw=0)
        every = -(-len(losses) // STEPS_DRAWN) or 1
        steps = np.arange(len(losses))
        axes.plot(steps[::every], np.where(finite, losses, np.nan)[::every], lw=0.4, color="#9db8d2")
        if np.isfinite(own):
            axes.axhline(min(own, HUGE), color="#2e8b57", lw=1.2, ls="--", label=f"the grader's own: {own:.3f}")
            axes.legend(loc="upper right", fontsize=8, frameon=False)
        mean = _running_mean(losses[finite])
        axes.plot(steps[finite][len(losses[finite]) - len(mean) :][::every], mean[::every], lw=1.6, color=BLUE)
        if not finite.all():
            axes.text(
                0.98,
                0.95,
                f"{int((~finite).sum())} of {len(losses)} steps not finite",
                color=RED,
                transform=axes.transAxes,
                ha="right",
                va="top",
                fontsize=9,
            )
        figure.subplots_adjust(left=0.1, right=0.98, bottom=0.16, top=0.96)


def draw_samples(points: NDArray[Any], target: NDArray[Any], path: Path) -> None:
    """Draw generated points (N, 2) over the points of the target (M, 2), on the target's scale. Raises OSError."""
    cloud, note = _finite(points)
    aim, _ = _finite(target)
    limit = _limit([aim])
    with _canvas(4.2, 4.2, path) as figure:
        axes = figure.subplots()
        axes.plot(aim[: 4 * DRAWN, 0], aim[: 4 * DRAWN, 1], ".", markersize=2.2, color="#d9b38c", rasterized=True)
        _panel(axes, cloud, note, 1.15 * limit)
        figure.subplots_adjust(left=0.02, right=0.98, bottom=0.02, top=0.98)


def draw_picture_rows(pictures: list[NDArray[np.uint8]], titles: list[str], path: Path) -> None:
    """Draw pictures (H, W, 3) below one another, each under its title, every pixel of them as a square.

    Raises ValueError without pictures, OSError where the file cannot be written.
    """
    if not pictures:
        raise ValueError("a figure needs at least one picture")
    heights = [min(TALL, max(0.3, WIDE * picture.shape[0] / picture.shape[1])) for picture in pictures]
    with _canvas(WIDE, sum(heights) + 0.32 * len(pictures), path, colours=256) as figure:
        figure.set_layout_engine("constrained", h_pad=0.02, w_pad=0.0)
        grid = figure.subplots(len(pictures), 1, squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0]
        for picture, title, axes in zip(pictures, titles, grid, strict=True):
            axes.imshow(picture, interpolation="nearest")
            axes.set_title(title, loc="left", fontsize=9, parse_math=False)
            axes.set_axis_off()


def _running_mean(losses: NDArray[np.float64], width: int = 100) -> NDArray[np.float64]:
    width = max(1, min(width, len(losses)))
    return np.convolve(losses, np.full(width, 1 / width), mode="valid") if len(losses) else losses


def _top(losses: NDArray[np.float64]) -> float:
    """Upper end of the axis: what most of the curve needs, so that one outlier does not flatten it."""
    return float(np.clip(1.1 * np.quantile(losses, 0.995), 0.5, HUGE)) if len(losses) else 1.5


@contextmanager
def _canvas(width: float, height: float, path: Path, colours: int = COLOURS) -> Iterator[Figure]:
    """A figure of `width` by `height` inches, written to `path` as a PNG with the same bytes each time."""
    with _lock:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from PIL import Image

        figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
        canvas = FigureCanvasAgg(figure)
        yield figure
        canvas.draw()
        image = Image.fromarray(np.asarray(canvas.buffer_rgba())[:, :, :3])
        image.quantize(colours).save(path, format="PNG", optimize=True)


def _finite(values: NDArray[Any]) -> tuple[NDArray[np.float64], str]:
    """The drawable rows of `values` and a note on the rest."""
    values = np.asarray(values)
    if values.ndim != 2 or values.shape[1] != 2 or values.dtype.kind not in "biuf":
        return np.empty((0, 2)), f"no (N, 2) points but\n{_described(values)}"
    with np.errstate(over="ignore"):  # a long double may not fit
        cloud = np.clip(values.astype(np.float64), -HUGE, HUGE)
    good = np.isfinite(values).all(axis=1)
    bad = int(np.count_nonzero(~good))
    return cloud[good], f"{bad} of {len(good)} not finite" if bad else ("" if len(good) else "no points")


def _described(values: NDArray[Any]) -> str:
    shape = str(values.shape) if values.ndim <= 4 else f"{values.ndim} dimensions"
    return f"{shape} {values.dtype.name[:12]}"


def _limit(clouds: list[NDArray[np.float64]]) -> float:
    """Half a panel's width: all points of a healthy strip, yet one bad panel does not shrink the others."""
    extents = []
    for cloud in clouds:
        size = np.abs(cloud)
        extents.append(min(size.max(), 3 * np.quantile(size, 0.99)))
    if not extents:
        return 1.0
    limit = 1.08 * min(max(extents), 2 * float(np.median(extents)))
    return float(limit) if limit > 1e-6 else 1.0


def _thinned(cloud: NDArray[np.float64]) -> NDArray[np.float64]:
    """At most DRAWN of the rows, evenly."""
    return cloud[:: -(-len(cloud) // DRAWN) or 1]


def _panel(axes: Axes, cloud: NDArray[np.float64], note: str, limit: float) -> None:
    outside = (np.abs(cloud) > limit).any(axis=1)
    count = int(np.count_nonzero(outside))
    if count:
        note += f"{chr(10) if note else ''}{count} beyond the frame"
    edge = np.clip(_thinned(cloud[outside]), -limit, limit)
    inside = _thinned(cloud[~outside])
    axes.plot(inside[:, 0], inside[:, 1], ".", markersize=1.6, color=BLUE, rasterized=True)
    axes.plot(edge[:, 0], edge[:, 1], "s", markersize=4, color=RED, clip_on=False)
    axes.set(xlim=(-limit, limit), ylim=(-limit, limit), xticks=[], yticks=[], aspect="equal")
    axes.spines[:].set_color("#8a8f98")
    if note:
        axes.text(
            0.5,
            0.04,
            note,
            transform=axes.transAxes,
            ha="center",
            va="bottom",
            fontsize=7.5,
            color=RED,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.5},
        )


def _scale(axes: Axes, limit: float) -> None:
    """Say the common scale on the first panel."""
    tick = float(f"{limit * 0.8:.1g}")
    axes.set_yticks([-tick, 0, tick], [f"{-tick:g}", "0", f"{tick:g}"], fontsize=8)
