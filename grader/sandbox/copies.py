"""Copies of files that a worker's uid can read: where the grader is root, the worker is somebody else."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path


def gather(files: Mapping[str, Path], target: Path) -> Path:
    """A folder with a copy of each file under the name of its module."""
    target.mkdir()
    target.chmod(0o755)
    for name, path in files.items():
        copy(path, target / f"{name}.py")
    return target


def readable(path: Path) -> bool:
    """Whether others may read a file, or a folder and everything in it."""
    if not path.is_dir():
        return bool(path.stat().st_mode & stat.S_IROTH)
    for folder, _, files in os.walk(path):
        if os.stat(folder).st_mode & 0o005 != 0o005:
            return False
        if not all(os.lstat(os.path.join(folder, file)).st_mode & stat.S_IROTH for file in files):
            return False
    return True


def copy(source: Path, target: Path) -> Path:
    """A copy that everyone may read; links stay links."""
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True)
    else:
        shutil.copyfile(source, target)
    for folder, _, files in os.walk(target):
        os.chmod(folder, 0o755)
        for file in files:
            if not os.path.islink(os.path.join(folder, file)):
                os.chmod(os.path.join(folder, file), 0o644)
    if target.is_file():
        target.chmod(0o644)
    return target
