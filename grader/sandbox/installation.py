"""This Python and this grader on the disk: what a worker needs of them, what it must not see, what it lacks."""

from __future__ import annotations

import importlib.util
import os
import shlex
import site
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
NEEDED = ("torch", "numpy", "safetensors")  # without them no worker starts
# Run as a worker would be, as root's is another user: prints a line that says which of NEEDED cannot be read.
LACKING = f"""
import importlib.util, os
if os.geteuid() == 0:
    os.setgroups([])
    os.setresgid(30000, 30000, 30000)
    os.setresuid(30000, 30000, 30000)
def lacks(name):
    try:
        return open(importlib.util.find_spec(name).origin, "rb").close()
    except (AttributeError, OSError):
        return name
print("lacks", *filter(None, map(lacks, {NEEDED!r})))
"""


def interpreter_folders() -> list[Path]:
    """Folders that this Python needs to start and to import what is installed."""
    folders = {Path(sys.prefix), Path(sys.base_prefix), Path(os.path.realpath(sys.base_prefix))}
    folders |= {Path(sysconfig.get_path(name)) for name in ("purelib", "platlib", "stdlib")}
    folders |= set(_libraries())
    link = Path(sys.executable)
    while link.is_symlink():  # bin/python may lead through other names of the prefix
        link = Path(os.path.normpath(link.parent / os.readlink(link)))
        folders.add(link.parent.parent if link.parent.name == "bin" else link)
    return sorted(folder for folder in folders if folder.exists() and folder != Path("/"))


def _libraries() -> Iterator[Path]:
    """Installed packages elsewhere, to which a .pth file leads; a user's own are switched off in a worker."""
    for entry in sys.path:
        if Path(entry).name in ("site-packages", "dist-packages") and entry != site.getusersitepackages():
            yield Path(entry)


def private_folders() -> list[Path]:
    """What is to be hidden where it lies below a folder that is shown: the grader and its repository."""
    repository = PACKAGE.parent
    return [PACKAGE, *([repository] if (repository / "solutions").is_dir() else [])]


def telltale_files() -> list[Path]:
    """Files in site-packages by which an editable install names its repository."""
    found: set[Path] = set()
    for folder in {*map(Path, site.getsitepackages()), Path(sysconfig.get_path("purelib")), *_libraries()}:
        found |= set(folder.glob("__editable__*ddpm_lab*"))
        for file in [*folder.glob("__editable__*"), *folder.glob("*.pth")]:
            if file.is_file() and str(PACKAGE.parent) in file.read_text(encoding="utf-8", errors="replace"):
                found.add(file)
    return sorted(file for file in found if file.is_file())


def lacking(printed: str) -> str:
    """What to say where a worker would not find some of NEEDED, by what LACKING printed; empty where it would."""
    last = printed.splitlines()[-1:]  # warnings of Python's may stand above it
    names = [name for line in last if line.startswith("lacks ") for name in line.split()[1:]]
    if not names:
        return ""
    spec = importlib.util.find_spec(names[0])
    if spec is None or spec.origin is None:
        return f"{names[0]} is not installed in {sys.prefix}, and the grader needs it"
    home = Path(spec.origin).parents[1]
    if any(home.is_relative_to(folder) for folder in interpreter_folders()):
        return (
            f"submissions run as another user, who cannot read {names[0]} in {home}: "
            f"`chmod -R go+rX {shlex.quote(sys.prefix)}` opens this Python's folder to others"
        )
    return (
        f"submissions would not find {names[0]}, which this Python imports from {home}: "
        "what is on PYTHONPATH or was installed with --user is hidden from them; install the grader's "
        "requirements in a virtual environment"
    )
