"""Installed packages that hold answers: where they lie, to be hidden, and as one file for the row that needs one."""

from __future__ import annotations

import importlib.util
import io
import os
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from functools import cache
from importlib.machinery import all_suffixes
from pathlib import Path

ODD = frozenset({"__pycache__", "tests"})
MTIME = slice(8, 12)  # of the source, in the header of what was compiled from it


@cache
def places(names: tuple[str, ...]) -> list[Path]:
    """Folders and files of packages, in whichever folder of libraries they lie."""
    entries = dict.fromkeys([*sys.path, sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
    found: set[Path] = set()
    for folder in map(Path, filter(None, entries)):
        for name in names:
            for path in (folder / name, *(folder / f"{name}{suffix}" for suffix in all_suffixes())):
                if path.exists():
                    found.add(path.resolve())
    return sorted(found)


@cache
def packed(names: tuple[str, ...]) -> bytes:
    """A ZIP from which these packages can be imported, compiled where this Python has compiled them."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        taken: set[str] = set()
        for place in places(names):
            for source in _sources(place):
                inside = os.path.relpath(source, place.parent)
                if inside not in taken:
                    taken.add(inside)
                    compiled = _compiled(source)
                    archive.writestr(f"{inside}c" if compiled else inside, compiled or source.read_bytes())
    return target.getvalue() if taken else b""


def _sources(place: Path) -> Iterator[Path]:
    if place.is_file():
        yield from [place] if place.suffix == ".py" else []
    for folder, names, files in os.walk(place):
        names[:] = sorted(set(names) - ODD)
        yield from (Path(folder, file) for file in sorted(files) if file.endswith(".py"))


def _compiled(source: Path) -> bytes:
    """What this Python compiled from a source, if that is still the same; nothing otherwise."""
    try:
        data = Path(importlib.util.cache_from_source(str(source))).read_bytes()
        same = data[MTIME] == (int(source.stat().st_mtime) & 0xFFFFFFFF).to_bytes(4, "little")
    except OSError:
        return b""
    return data if same and data[:4] == importlib.util.MAGIC_NUMBER else b""
