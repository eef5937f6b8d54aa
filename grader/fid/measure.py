"""Measures a folder of generated images against a reference: number, interval, checks of the images, points."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from grader.fid.audit import Audit, audit
from grader.fid.cache import Measured, default_cache, measured
from grader.fid.extractor import Description, Extractor
from grader.fid.frechet import Gaussian, frechet_distance, from_features, kernel_distance, read_statistics
from grader.fid.images import Folder, NotMeasurable, open_folder
from grader.fid.interval import between_real, interval, replicate
from grader.fid.record import FidReport, Flag, Severity, Trust, reached
from grader.fid.rules import FidPolicy
from grader.fid.weights import sha256

SPARE = 0.5  # an FID below this share of what real images score is not a model's


@dataclass(frozen=True)
class Reference:
    """What is compared with: images that were measured, or statistics only."""

    path: Path
    digest: str
    gaussian: Gaussian
    images: Measured | None = None

    def to_dict(self) -> dict[str, Any]:
        count = None if self.images is None else len(self.images.features)
        return {"path": str(self.path), "sha256": self.digest, "images": count}


def measure(
    generated: Path,
    reference: Path,
    weights: Path | None,
    rules: FidPolicy,
    *,
    training: Path | None = None,
    cache: Path | None = None,
    batch_size: int = 32,
    device: str = "cpu",
    trust: Trust = Trust.UNVERIFIED,
    strangers: bool = False,
) -> FidReport:
    """FID of the images in `generated` against `reference`, a folder of images or an .npz of mu and sigma.

    `weights` is a weights file (None: pytorch-fid's, fetched where need be), `training` a folder of images that the
    model was trained on, which generated ones are compared with as well. Links in a folder of `strangers` are not
    followed. Raises NotMeasurable for what is wrong with
    the images and UsageError for weights or devices that cannot be had.
    """
    cache = cache or default_cache()
    folder = open_folder(generated, "generated", strangers)
    if weights is None and rules.weights:
        weights = Path(rules.weights)
    # Every path is looked at before weights are fetched and features are computed.
    if reference.suffix != ".npz":
        open_folder(reference, "reference")
    trained_on = None if training is None else open_folder(training, "training")
    extractor = Extractor.open(weights, device, batch_size)
    against = _reference(reference, extractor, cache)
    images = measured(folder, extractor, cache, "generated")
    if images.features.shape[1] != len(against.gaussian.mean):
        raise NotMeasurable(
            f"{reference} holds statistics of {len(against.gaussian.mean)} features, the extractor "
            f"{extractor.weights.name} makes {images.features.shape[1]}: they belong to another one"
        )
    copied_from = None if trained_on is None else measured(trained_on, extractor, cache, "training")
    description = extractor.describe(str(images.name), images.features.shape[1])
    return _report(folder, images, against, copied_from, description, rules, trust)


def _reference(path: Path, extractor: Extractor, cache: Path) -> Reference:
    if path.suffix == ".npz":
        if not path.is_file():
            raise NotMeasurable(f"no such file of reference statistics: {path}")
        return Reference(path, sha256(path), read_statistics(path))
    folder = open_folder(path, "reference")
    images = measured(folder, extractor, cache, "reference")
    return Reference(path, folder.digest, from_features(images.features), images)


def _report(
    folder: Folder,
    images: Measured,
    against: Reference,
    training: Measured | None,
    extractor: Description,
    rules: FidPolicy,
    trust: Trust,
) -> FidReport:
    real = against.images
    fid = frechet_distance(from_features(images.features), against.gaussian)
    spread = replicate(images.features, real.features if real else against.gaussian, rules.replicates)
    low, high = interval(fid, spread, rules.confidence)
    scores = between_real(real.features, len(folder.files)) if real and len(real.features) >= 4 else None
    found = _audit(images, real, training, rules)
    flags = [
        *_flags_of_files(folder, images, real, rules),
        *_flags_of_content(folder, found, real, rules),
        *_flags_of_number(fid, scores, training),
    ]
    ways = reached(rules, low, high)
    if len(ways) > 1:
        flags.append(
            Flag(
                "interval", Severity.REVIEW, f"the interval {low:.2f} to {high:.2f} straddles a threshold of the rubric"
            )
        )
    withheld = any(flag.severity is Severity.WITHHELD for flag in flags)
    return FidReport(
        fid=fid,
        interval=(low, high),
        kid=kernel_distance(images.features, real.features) if real else None,
        points=0.0 if withheld else reached(rules, fid, fid)[0].points,
        max=max(rules.points),
        points_if=tuple(ways),
        needs_review=any(flag.severity is not Severity.NOTE for flag in flags),
        trust=trust,
        counts=_counts(folder, real, training, found),
        extractor=extractor.to_dict(),
        resize=extractor.resize,
        reference=against.to_dict(),
        fingerprint=_fingerprint(extractor, against),
        real_images_score=None if scores is None else float(scores.mean()),
        flags=tuple(flags),
        confidence=rules.confidence,
        replicates=rules.replicates,
    )


def _audit(images: Measured, real: Measured | None, training: Measured | None, rules: FidPolicy) -> Audit:
    known = [each for each in (real, training) if each is not None]
    thumbs = np.concatenate([each.thumbs for each in known]) if known else None
    features = np.concatenate([each.features for each in known]) if known else None
    return audit(images.digests, images.thumbs, images.features, thumbs, features, rules.copy_ratio)


def _counts(folder: Folder, real: Measured | None, training: Measured | None, found: Audit) -> dict[str, int]:
    return {
        "generated": len(folder.files),
        "reference": len(real.features) if real else 0,
        "training": len(training.features) if training else 0,
        "duplicates": len(found.duplicates),
        "near_duplicates": len(found.near_duplicates),
        "copies": len(found.copies),
    }


def _fingerprint(extractor: Description, against: Reference) -> str:
    text = "\n".join((extractor.name, extractor.sha256, extractor.resize, against.digest))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _flags_of_files(folder: Folder, images: Measured, real: Measured | None, rules: FidPolicy) -> list[Flag]:
    """Count, size and mode; a reference of another mode or size makes that no less worth knowing."""
    flags = []
    if len(folder.files) != rules.images:
        flags.append(
            Flag(
                "count",
                Severity.REVIEW,
                f"{len(folder.files):,} generated images where {rules.images:,} are expected: "
                "fewer images raise an FID, more lower it",
            )
        )
    if folder.left_out:
        flags.append(
            Flag("subfolders", Severity.NOTE, f"{folder.left_out:,} images in subfolders of {folder.path} are left out")
        )
    side = (rules.size, rules.size)
    odd = [i for i, size in enumerate(images.sizes) if tuple(size) != side]
    if odd:
        flags.append(
            Flag(
                "size",
                Severity.REVIEW,
                f"{len(odd):,} generated images are {_odd_sizes(images.sizes[odd], rules)}",
                _names(folder, odd),
            )
        )
    if real is not None and (wrong := [size for size in real.sizes if tuple(size) != side]):
        flags.append(
            Flag(
                "reference-size",
                Severity.REVIEW,
                f"{len(wrong):,} reference images are {_odd_sizes(np.array(wrong), rules)}",
            )
        )
    modes = {"RGB"} | (set(real.modes.tolist()) if real is not None else set())
    odd = [i for i, mode in enumerate(images.modes) if mode not in modes]
    if odd:
        kinds = ", ".join(sorted({str(images.modes[i]) for i in odd}))
        flags.append(
            Flag(
                "mode",
                Severity.REVIEW,
                f"{len(odd):,} generated images are of mode {kinds} and were converted to RGB; "
                "the reference holds no such images",
                _names(folder, odd),
            )
        )
    return flags


def _flags_of_content(folder: Folder, found: Audit, real: Measured | None, rules: FidPolicy) -> list[Flag]:
    flags = []
    total = len(folder.files)
    if real is None:
        flags.append(
            Flag(
                "unchecked",
                Severity.REVIEW,
                "the reference is statistics only: whether images were copied "
                "from it cannot be seen; give the folder of its images",
            )
        )
    for name, how, repeated in (
        ("duplicates", "", found.duplicates),
        ("near-duplicates", "nearly ", found.near_duplicates),
    ):
        if repeated:
            over = len(repeated) > rules.duplicates * total
            flags.append(
                Flag(
                    name,
                    Severity.REVIEW if over else Severity.NOTE,
                    f"{len(repeated):,} generated images {how}equal an earlier one",
                    _names(folder, repeated),
                )
            )
    if found.copies:
        over = len(found.copies) > rules.copies * total
        how = ", ".join(f"{count:,} by {kind}" for kind, count in Counter(copy.how for copy in found.copies).items())
        flags.append(
            Flag(
                "copies",
                Severity.WITHHELD if over else Severity.NOTE,
                f"{len(found.copies):,} generated images are copies of real ones ({how}): "
                "nearer to them than real images are to each other",
                _names(folder, [copy.image for copy in found.copies]),
            )
        )
    return flags


def _flags_of_number(fid: float, scores: np.ndarray | None, training: Measured | None) -> list[Flag]:
    """An FID as good as those of other real images (splits,), or better than a model can have that did not see them."""
    if scores is None or fid > scores.max():
        return []
    usual = f"the {scores.min():.2f} to {scores.max():.2f} that as many other real images would score"
    if fid < SPARE * scores.min():
        return [
            Flag(
                "too-good",
                Severity.WITHHELD,
                f"FID {fid:.2f} is less than half of {usual}: the images were "
                "taken or learnt from the reference itself",
            )
        ]
    if training is None:
        return [
            Flag(
                "like-real",
                Severity.REVIEW,
                f"FID {fid:.2f} is no higher than {usual}: look whether they "
                "are real (--training DIR compares them with the training images)",
            )
        ]
    return [Flag("like-real", Severity.NOTE, f"FID {fid:.2f} is no higher than {usual}")]


def _names(folder: Folder, indices: list[int] | tuple[int, ...]) -> tuple[str, ...]:
    return tuple(str(folder.files[i].relative_to(folder.path)) for i in indices)


def _odd_sizes(sizes: np.ndarray, rules: FidPolicy) -> str:
    common = Counter(f"{width}x{height}" for width, height in sizes).most_common(3)
    return (
        f"not {rules.size}x{rules.size} but {', '.join(size for size, _ in common)}; "
        "they were not resized before the extractor's own resize"
    )
