"""Files that the worker's uid can read: where the grader is root, the worker is somebody else."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .base import SandboxKind
from .launch import Launch
from .user import Account


@dataclass
class Staged:
    """A launch whose files the worker can read, and the folder of the copies made for that."""

    launch: Launch
    folder: Path | None = None
    account: Account | None = None  # whose uid the worker has in the sandbox USER

    def close(self) -> None:
        if self.account is not None:
            self.account.close()
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


def stage(launch: Launch, kind: SandboxKind) -> Staged:
    """`launch` with its probes in one folder, and a copy of each folder that the worker's user could not read."""
    account = Account() if kind is SandboxKind.USER else None
    folder = account.folder if account else Path(tempfile.mkdtemp(prefix="ddpm-grader-"))
    staged = Staged(launch, folder if account is None else None, account)
    try:
        if account is None:
            folder.chmod(0o711)
        copies: dict[str, Any] = {"probes": _gather(launch.material.probes, folder / "probes")}
        for name, path in {"submission": launch.submission, "worker": launch.worker}.items():
            if account or (kind is SandboxKind.BUBBLEWRAP and os.geteuid() == 0 and not readable(path)):
                copies[name] = copy(path, folder / name)
        staged.launch = replace(launch, **copies)
    except BaseException:
        staged.close()
        raise
    return staged


def _gather(files: Mapping[str, Path], target: Path) -> Path:
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
