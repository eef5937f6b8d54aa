"""The outcome of one FID measurement: as an object, as JSON, and as text for a person."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from grader.fid.rules import FidPolicy
from grader.text import number, one_line

NAMED = 3  # files that a line names before it only counts them


class Severity(StrEnum):
    """What a flag does to the points."""

    NOTE = "note"  # nothing; a person may want to know
    REVIEW = "review"  # a person decides before the points count
    WITHHELD = "withheld"  # no points on this number, a person has to look


class Trust(StrEnum):
    """Where the generated images come from."""

    UNVERIFIED = "unverified"  # handed in as images
    SAMPLED = "sampled"  # drawn by the grader from a handed-in checkpoint through the submission's code
    RETRAINED = "retrained"  # ... from a network that the grader trained from the submission's code


@dataclass(frozen=True)
class Flag:
    """Something about the images or the comparison that a reader of the number has to know."""

    id: str
    severity: Severity
    message: str
    files: tuple[str, ...] = ()  # names of the generated images it is about


@dataclass(frozen=True)
class Outcome:
    """Points for an FID in [start, below), a range of the rubric; `below` is None for the last one."""

    points: float
    start: float
    below: float | None

    def to_dict(self) -> dict[str, float | None]:
        return {"points": self.points, "from": self.start, "below": self.below}


@dataclass(frozen=True)
class FidReport:
    """One folder of generated images against one reference.

    `points` are those of `fid` by the thresholds, 0 where a flag withholds them; they are provisional while
    `needs_review`. `points_if` lists every outcome that the interval reaches, one where it is clear.
    """

    fid: float
    interval: tuple[float, float]
    kid: float | None  # not multiplied by 1000; None where the reference is statistics only
    points: float
    max: float
    points_if: tuple[Outcome, ...]
    needs_review: bool
    trust: Trust
    counts: dict[str, int]
    extractor: dict[str, Any]
    resize: str
    reference: dict[str, Any]
    fingerprint: str  # digest of extractor, resize and reference: FIDs are comparable where it is the same
    real_images_score: float | None  # what as many real images would score, by splits of the reference
    flags: tuple[Flag, ...]
    confidence: float
    replicates: int

    def to_dict(self) -> dict[str, Any]:
        """JSON of the report; the keys are the fields."""
        return {
            **asdict(self),
            "interval": list(self.interval),
            "points_if": [outcome.to_dict() for outcome in self.points_if],
            "flags": [asdict(flag) for flag in self.flags],
        }

    def to_text(self) -> str:
        """What `ddpm-grader fid` prints."""
        low, high = self.interval
        known = {
            "FID": f"{self.fid:.2f}   {self.confidence:.0%} interval {low:.2f} to {high:.2f}",
            "KID": "needs reference images" if self.kid is None else f"{self.kid * 1000:.2f} x 10^-3",
            "points": self._points_text(),
            "images": self._counts_text(),
            "extractor": f"{self.extractor['name']} ({self.extractor['dims']} features), weights "
            f"{self.extractor['weights']} sha256 {self.extractor['sha256'][:12]}",
            "resize": self.resize,
            "reference": f"{self.reference['path']} sha256 {self.reference['sha256'][:12]}",
            "fingerprint": self.fingerprint,
            "trust": str(self.trust),
        }
        if self.real_images_score is not None:
            known["real images"] = f"as many of the reference's own would score about {self.real_images_score:.2f}"
        lines = [f"{name:<12}{one_line(text)}" for name, text in known.items()]
        return "\n".join(lines + [self._flag_text(flag) for flag in self.flags])

    def _points_text(self) -> str:
        text = f"{number(self.points)} of {number(self.max)}"
        if len(self.points_if) > 1:
            ways = "; ".join(f"{number(way.points)} {_range(way)}" for way in self.points_if)
            text += f", which the interval leaves open: {ways}"
        return text + (" (a person decides: see below)" if self.needs_review else "")

    def _counts_text(self) -> str:
        shown = [
            f"{count:,} {name.replace('_', ' ')}"
            for name, count in self.counts.items()
            if count or name in ("generated", "reference")
        ]
        return ", ".join(shown)

    def _flag_text(self, flag: Flag) -> str:
        names = ", ".join(one_line(name, 60) for name in flag.files[:NAMED])
        more = f" and {len(flag.files) - NAMED:,} more" if len(flag.files) > NAMED else ""
        return f"{flag.severity}: {one_line(flag.message)}" + (f" [{names}{more}]" if names else "")


def _range(outcome: Outcome) -> str:
    return f"at {number(outcome.start)} or more" if outcome.below is None else f"below {number(outcome.below)}"


def outcomes(policy: FidPolicy) -> list[Outcome]:
    """The rubric's ranges, best first."""
    starts = [0.0, *policy.thresholds]
    ends = [*policy.thresholds, None]
    return [Outcome(points, start, end) for points, start, end in zip([*policy.points, 0.0], starts, ends, strict=True)]


def reached(policy: FidPolicy, low: float, high: float) -> list[Outcome]:
    """The ranges that the closed interval [low, high] touches, best first."""
    return [way for way in outcomes(policy) if high >= way.start and (way.below is None or low < way.below)]
