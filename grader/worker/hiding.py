"""Libraries that are not to be found by a submission, as they hold what it is asked for."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any


class Hiding:
    """A finder of modules that does not find those in `hidden`, unless they lie in the student's own `folder`."""

    def __init__(self, finder: Any, hidden: frozenset[str], folder: Path) -> None:
        self._finder, self._hidden, self._folder = finder, hidden, str(folder)

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if path is None and name in self._hidden:
            return PathFinder.find_spec(name, [self._folder], target) if self._finder is PathFinder else None
        found: ModuleSpec | None = self._finder.find_spec(name, path, target)
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._finder, name)


def hide(hidden: frozenset[str], folder: Path) -> None:
    """From here on, in this process, packages by these names are as good as not installed."""
    if hidden:
        sys.meta_path[:] = [Hiding(finder, hidden, folder) for finder in sys.meta_path]


def installed(names: Iterable[str]) -> frozenset[str]:
    """Which of some packages are there; an empty folder is none."""
    return frozenset(name for name in names if (spec := PathFinder.find_spec(name)) and spec.loader)
