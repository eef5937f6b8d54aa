"""The rubric and the grading policy, read from the two TOML files beside this module."""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


@dataclass(frozen=True)
class RubricRow:
    """One line of the rubric; for `kind` see rubric.toml."""

    id: str
    points: float
    title: str
    kind: str = "code"
    within: str = ""  # the half of a companion exercise, whose id does not tell

    @property
    def half(self) -> str:
        """ "task1" or "task2"."""
        return self.within or self.id.split(".")[0]

    @property
    def is_code(self) -> bool:
        return self.kind == "code"


class UsageError(Exception):
    """Something that the person at the command line asked for does not exist or is not possible."""


@cache
def rubric() -> tuple[RubricRow, ...]:
    """All rows, in the order of the handout."""
    data = tomllib.loads((HERE / "rubric.toml").read_text(encoding="utf-8"))
    return tuple(RubricRow(**row) for row in data["row"])


def select_rows(patterns: list[str]) -> list[RubricRow]:
    """Rows whose id starts with one of `patterns`; all rows for none. Raises UsageError with near matches."""
    if not patterns:
        return list(rubric())
    ids = [row.id for row in rubric()]
    for pattern in patterns:
        if not any(row_id.startswith(pattern) for row_id in ids):
            tails = {row_id.split(".")[1]: row_id for row_id in ids}
            near = difflib.get_close_matches(pattern, ids, 3) or [
                tails[tail] for tail in difflib.get_close_matches(pattern, list(tails), 3)
            ]
            hint = f"did you mean {' or '.join(near)}?" if near else f"rows are {', '.join(ids)}"
            raise UsageError(f"no row of the rubric starts with '{pattern}': {hint}")
    return [row for row in rubric() if row.id.startswith(tuple(patterns))]


@dataclass(frozen=True)
class Limits:
    """Limits of the worker that runs one submission; units are in the names."""

    import_s: float
    probe_s: float
    cpu_s: int
    submission_s: float
    memory_mib: int
    total_memory_mib: int
    processes: int
    file_mib: int
    scratch_mib: int
    output_mib: int
    answer_mib: int


@dataclass(frozen=True)
class TrainingPolicy:
    """Limits of the 2D training: wall time of training and of sampling, where the loss may end, Chamfer distances."""

    seconds: float
    loss_range: tuple[float, float]
    chamfer_full: float
    chamfer_part: float


@dataclass(frozen=True)
class FidPolicy:
    """How a folder of generated images is scored; policy.toml says what each key means."""

    thresholds: tuple[float, ...]
    points: tuple[float, ...]
    images: int
    size: int
    weights: str
    replicates: int
    confidence: float
    duplicates: float
    copies: float
    copy_ratio: float


@dataclass(frozen=True)
class ImageRuns:
    """How the grader draws images with submitted code, and trains it; units are in policy.toml."""

    sampling_s: float
    drawn_at_once: int
    memory_mib: int
    answer_mib: int
    batch: int
    lr: float
    warmup: int
    ema: float
    steps: int


@dataclass(frozen=True)
class Policy:
    """Decisions that are an instructor's: accepted variances, accepted clips, training, FID, limits."""

    variances: tuple[str, ...]
    cosine_clips: tuple[float, ...]
    training: TrainingPolicy
    fid: FidPolicy
    image_runs: ImageRuns
    limits: Limits


def load_policy(path: Path | None = None) -> Policy:
    """The shipped policy, overridden by the file at `path`. Raises UsageError for unknown keys or values."""
    data = tomllib.loads((HERE / "policy.toml").read_text(encoding="utf-8"))
    if path is not None:
        try:
            _override(data, tomllib.loads(path.read_text(encoding="utf-8")), str(path))
        except (OSError, tomllib.TOMLDecodeError) as error:
            raise UsageError(f"cannot read the policy {path}: {error}") from error
    variances = tuple(data["reverse_step"]["variances"])
    unknown = set(variances) - {"posterior", "beta"}
    if unknown or not variances:
        got = ", ".join(sorted(unknown)) or "an empty list"
        raise UsageError(f"reverse_step.variances takes 'posterior' and 'beta', not {got}")
    clips = tuple(float(clip) for clip in data["cosine"]["clips"])
    return Policy(
        variances,
        clips,
        _training(data["training"]),
        _fid(data["fid"]),
        ImageRuns(**data["image_runs"]),
        Limits(**data["limits"]),
    )


def _training(data: dict[str, Any]) -> TrainingPolicy:
    low, high = data["loss_range"]
    return TrainingPolicy(data["seconds"], (float(low), float(high)), data["chamfer_full"], data["chamfer_part"])


def _fid(data: dict[str, Any]) -> FidPolicy:
    try:
        thresholds, points = tuple(map(float, data["thresholds"])), tuple(map(float, data["points"]))
        fid = FidPolicy(**{**data, "thresholds": thresholds, "points": points})
        rising = list(thresholds) == sorted(set(thresholds)) and min(thresholds, default=0) > 0
        falling = list(points) == sorted(points, reverse=True) and len(points) == len(thresholds)
        right = rising and falling and fid.replicates >= 2 and 0 < fid.confidence < 1
    except (TypeError, ValueError) as error:
        raise UsageError(f"the policy's [fid] has a value of the wrong kind: {error}") from error
    if not right:
        raise UsageError(
            "the policy's [fid] needs rising thresholds with as many falling points, "
            "at least 2 replicates, and a confidence between 0 and 1"
        )
    return fid


def _override(base: dict[str, Any], other: dict[str, Any], where: str) -> None:
    for section, values in other.items():
        if section not in base:
            raise UsageError(f"{where}: unknown section [{section}]; known are {', '.join(base)}")
        for key, value in values.items():
            if key not in base[section]:
                raise UsageError(f"{where}: unknown key {section}.{key}; known are {', '.join(base[section])}")
            base[section][key] = value
