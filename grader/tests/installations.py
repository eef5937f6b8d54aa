"""Checkouts, virtual environments and an installed wheel in odd places, made without a network."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
HALVES = ("2d_plot_diffusion_todo", "image_diffusion_todo")
MADE_BY_RUNNING = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints", "results", "samples", "data")


def checkout(folder: Path) -> Path:
    """What a clone holds and a run or a build needs."""
    for name in ("grader", "solutions", *HALVES):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=MADE_BY_RUNNING)
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, folder)
    return folder


def environment(folder: Path) -> Path:
    """A virtual environment without pip that finds the packages of this one. Returns its Python."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    library = next(folder.glob("lib/python*/site-packages"))
    (library / "shared.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return folder / "bin" / "python"


def build_wheel(source: Path, target: Path) -> Path:
    """The wheel of a checkout."""
    quiet = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *quiet, "--wheel-dir", target, source], check=True)
    return next(target.glob("*.whl"))
