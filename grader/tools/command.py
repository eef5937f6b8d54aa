"""The command that grades, as an instructor types it, for tools that run it in a process of its own."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path


def grade_command(paths: Iterable[Path], out: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "grader", "grade", *map(str, paths), "--out", str(out), *options]
