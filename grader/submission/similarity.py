"""Pairs of submissions whose code is suspiciously alike, by copydetect's fingerprints of the TODO files.

The lab's own student halves are boilerplate and do not count; names and the order of functions do not either. Right
answers to short TODOs are alike by nature. The readings behind LEAST (`python -m grader.tools.likeness`): the 190
pairs of the 20 right submissions in other styles (grader/lab) share 0.11 to 0.47 of their code, 0.26
in the median, and 5 of them share 1.00 with copies whose variables were renamed.
"""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from grader.alarm import OutOfTime, within
from grader.files import read_plain
from grader.labs import Lab

TOKENS, WINDOW = 20, 6  # characters of a fingerprint once names are gone, and how far apart fingerprints may lie
LEAST = 0.8  # share of the smaller submission's own code
LEAST_TOKENS = 300  # of its own code: what is shorter says nothing
LARGEST = 200_000  # bytes of a file that is looked at
SECONDS = 120.0  # after which the remaining pairs are left out
ONE_S = 5.0  # of CPU for a file, or for a pair; what takes longer is left out
SHOWN = 40  # lines of a passage


@dataclass(frozen=True)
class Passage:
    """A stretch of code that two submissions share, as it stands in each."""

    file: str
    left: str
    right: str


@dataclass(frozen=True)
class Pair:
    """Two submissions and the share of the smaller one's own code that the other has as well."""

    left: str
    right: str
    share: float
    passages: tuple[Passage, ...]


@dataclass
class Likeness:
    """Similar pairs, most alike first; `left_out` pairs were not compared, as there were too many."""

    pairs: list[Pair] = field(default_factory=list)
    left_out: int = 0


Halves = dict[str, Path]  # key of a half -> its folder


def likeness(codes: dict[str, Halves], lab: Lab, least: float = LEAST) -> Likeness:
    """Compare all submissions by their ids; what cannot be read is left out."""
    if len(codes) < 2:
        return Likeness()  # and half a second saved, which importing copydetect takes
    prints = {name: found for name, halves in codes.items() if (found := fingerprints(halves, lab))}
    result = Likeness()
    deadline = time.monotonic() + SECONDS
    for left, right in combinations(sorted(prints), 2):
        if time.monotonic() > deadline:
            result.left_out += 1
            continue
        if _far_apart(prints[left], prints[right], least):
            continue
        try:
            with within(ONE_S):
                share = shared(prints[left], prints[right])
                if share >= least:
                    passages = tuple(_passages(prints[left], prints[right]))
                    result.pairs.append(Pair(left, right, share, passages))
        except OutOfTime:
            result.left_out += 1
    result.pairs.sort(key=lambda pair: (-pair.share, pair.left, pair.right))
    return result


def fingerprints(halves: Halves, lab: Lab) -> dict[str, Any]:
    """copydetect's fingerprint of each TODO file of a submission, by its name."""
    texts = {name: text for half, folder in halves.items() for name, text in _texts(folder, lab.half(half).todo_files)}
    return {name: made for name, text in texts.items() if (made := _fingerprint(name, text, _boilerplate(name, lab)))}


def _texts(folder: Path, names: Iterable[str]) -> Iterator[tuple[str, str]]:
    for name in names:
        with suppress(OSError):
            yield name, read_plain(folder / name, LARGEST).decode("utf-8", errors="replace")


@cache
def _boilerplate(name: str, lab: Lab) -> Any:
    """The hashes of the file as students get it."""
    half = next(half for half in lab.halves if name in half.todo_files)
    file = lab.released / half.folder / name
    made = _fingerprint(name, file.read_text(encoding="utf-8"), None) if file.is_file() else None
    return [] if made is None else list(made.hashes)


def _fingerprint(name: str, text: str, boilerplate: Any) -> Any:
    """None for a file that copydetect cannot make anything of."""
    from copydetect import CodeFingerprint

    logging.getLogger().disabled, before = True, logging.getLogger().disabled  # it warns of every short file
    try:
        with within(ONE_S):
            return CodeFingerprint(name, TOKENS, WINDOW, boilerplate or [], language="python", fp=io.StringIO(text))
    except (Exception, OutOfTime):  # its own and its tokeniser's, of many types: similarity is a hint, no judgement
        return None
    finally:
        logging.getLogger().disabled = before


def _far_apart(left: dict[str, Any], right: dict[str, Any], least: float) -> bool:
    """Whether so few fingerprints are common that the share cannot come near: most pairs of a class, in no time."""
    both = [name for name in left if name in right]
    common = sum(len(left[name].hashes & right[name].hashes) for name in both)
    return 2 * common < least * min(sum(len(prints[name].hashes) for name in both) for prints in (left, right))


def shared(left: dict[str, Any], right: dict[str, Any]) -> float:
    """Share of the smaller submission's own code that the other has as well, 0 where there is too little of it."""
    from copydetect.detector import compare_files

    both = [name for name in left if name in right]
    own = min(sum(int(prints[name].token_coverage) for name in both) for prints in (left, right)) if both else 0
    if own < LEAST_TOKENS:
        return 0.0
    return min(1.0, sum(int(compare_files(left[name], right[name])[0]) for name in both) / own)


def _passages(left: dict[str, Any], right: dict[str, Any]) -> Iterator[Passage]:
    """The longest shared stretch of each file, as it stands in both."""
    from copydetect.detector import compare_files

    for name in sorted(set(left) & set(right)):
        count, _, (ours, theirs) = compare_files(left[name], right[name])
        if count:
            yield Passage(name, _longest(left[name].raw_code, ours), _longest(right[name].raw_code, theirs))


def _longest(code: str, slices: Any) -> str:
    at = int(np.argmax(slices[1] - slices[0]))
    start, end = int(slices[0][at]), int(slices[1][at])
    start = code.rfind("\n", 0, start) + 1
    end = code.find("\n", end)
    lines = code[start : end if end >= 0 else None].split("\n")
    return "\n".join(lines[:SHOWN] + (["..."] if len(lines) > SHOWN else []))
