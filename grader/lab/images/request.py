"""What `grade` is asked to do with artifacts: its options, checked before the first submission is touched."""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from grader.errors import UsageError
from grader.lab.policy import DdpmPolicy
from grader.labs import RowKind

if TYPE_CHECKING:
    from grader.running.grading import Order

NO_LIMIT = 1 << 30  # MiB: a GPU's driver reserves memory that it never uses
LEVELS = {
    "images": "the images handed in (suggested points)",
    "sample": "images drawn from the checkpoint handed in",
    "retrain": "images of a model that is trained first",
}
SLACK_S = 120.0  # for loading and for the last step of a training
PATIENCE = 3  # of a time limit for work on images: what a busy machine may make of it
MEASURING_S = 4 * 3600.0  # for features of all images, AFHQ's training images among them, on one core
UNITS = {"s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True)
class Request:
    """How far the grader goes for an FID, with which data, and how long it trains."""

    data: Path = Path("data/afhq")  # in AFHQ's layout: eval/ is the reference, train/ what models are trained on
    fid: str = "images"  # a key of LEVELS
    budget_s: float = 1200.0


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `grade` that are about artifacts."""
    add = parser.add_argument
    add(
        "--data",
        type=Path,
        default=Path("data/afhq"),
        metavar="DIR",
        help="images in AFHQ's layout: eval/ is what an FID compares with, train/ what is trained on (%(default)s)",
    )
    add(
        "--fid",
        choices=list(LEVELS),
        default="images",
        help="; ".join(f"{name}: {what}" for name, what in LEVELS.items()),
    )
    add(
        "--budget",
        type=seconds,
        default=1200.0,
        metavar="TIME",
        help="of each training for --fid retrain, such as 90s, 20m or 1h (default: 20m)",
    )
    add("--weights", type=Path, metavar="PATH", help="another Inception for the FIDs (default: pytorch-fid's)")


def seconds(text: str) -> float:
    """A time such as 90s, 20m or 1h, in seconds."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh])", text.strip())
    if not found or float(found[1]) <= 0:
        raise argparse.ArgumentTypeError(f"'{text}' is no time: write 90s, 20m or 1h")
    return float(found[1]) * UNITS[found[2]]


def requested(options: argparse.Namespace, policy: DdpmPolicy, rows: list[str]) -> tuple[DdpmPolicy, Request]:
    """The policy and the request that the options make. Raises UsageError for what is not there."""
    if options.weights is not None:
        policy = policy.model_copy(update={"fid": policy.fid.model_copy(update={"weights": str(options.weights)})})
    asked = Request(options.data, options.fid, options.budget)
    if options.artifacts is None and options.fid == "sample":
        raise UsageError("--fid sample draws from checkpoints: give the folder that holds them with --artifacts DIR")
    measured = options.artifacts is not None or options.fid == "retrain"
    if measured and "task2.fid" in rows:
        check_fid(options, policy)
    return policy, asked


def beyond(order: Order) -> tuple[float, int]:
    """Seconds and MiB that work on images takes beyond a submission's own limits: none where there is none."""
    asked, runs = order.extra or Request(), order.policy.image_runs
    rows = {row.id for row in order.rows if row.kind is RowKind.PERSON}
    fid = "task2.fid" in rows
    if not rows or (order.artifacts is None and not (fid and asked.fid == "retrain")):
        return 0.0, 0
    seconds = runs.sampling_s + SLACK_S  # reading checkpoints
    if fid:
        seconds += {"images": 0.0, "sample": 1.0, "retrain": 2.0}[asked.fid] * (runs.sampling_s + SLACK_S)
        seconds += asked.budget_s if asked.fid == "retrain" else 0.0
    return PATIENCE * seconds + (MEASURING_S if fid else 0.0), NO_LIMIT if order.gpu else runs.memory_mib


def check_fid(options: argparse.Namespace, policy: DdpmPolicy) -> None:
    """Raise UsageError now for what would keep every submission of the class from its FID."""
    from grader.fid.extractor import Extractor
    from grader.fid.images import NotMeasurable, open_folder

    try:
        open_folder(options.data / "eval", "reference")
        if options.fid == "retrain":
            open_folder(options.data / "train", "training")
    except NotMeasurable as error:
        raise UsageError(f"{error}\n(--data DIR names the folder in AFHQ's layout; --only leaves rows out)") from error
    Extractor.open(Path(policy.fid.weights) if policy.fid.weights else None, "cuda" if options.gpu else "cpu", 1)
