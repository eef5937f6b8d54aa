"""Loads a half of the solved lab. The two halves have modules of the same names, so none is left behind."""

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

SOLUTIONS = Path(__file__).resolve().parents[2] / "solutions"


def load_half(half: str) -> SimpleNamespace:
    """The modules of `solutions/<half>` as attributes."""
    folder = SOLUTIONS / half
    names = sorted(path.stem for path in folder.glob("*.py"))
    hidden = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    sys.path.insert(0, str(folder))
    try:
        return SimpleNamespace(**{name: importlib.import_module(name) for name in names})
    finally:
        sys.path.remove(str(folder))
        for name in names:
            sys.modules.pop(name, None)
        sys.modules.update(hidden)
