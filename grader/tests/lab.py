"""Loads a half of the solved lab. The two halves have modules of the same names, so none is left behind."""

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

SOLUTIONS = Path(__file__).resolve().parents[2] / "solutions"


def load_half(half: str) -> SimpleNamespace:
    """The modules of `solutions/<half>` as attributes, those of its packages as attributes of these."""
    folder = SOLUTIONS / half
    packages = sorted(path.parent.name for path in folder.glob("*/__init__.py"))
    names = sorted(path.stem for path in folder.glob("*.py")) + packages
    parts = [f"{name}.{path.stem}" for name in packages for path in sorted((folder / name).glob("[!_]*.py"))]
    hidden = {name: sys.modules.pop(name) for name in (*names, *parts) if name in sys.modules}
    sys.path.insert(0, str(folder))
    try:
        modules = {name: importlib.import_module(name) for name in (*names, *parts)}
        return SimpleNamespace(**{name: modules[name] for name in names})
    finally:
        sys.path.remove(str(folder))
        for name in (*names, *parts):
            sys.modules.pop(name, None)
        sys.modules.update(hidden)
