"""Files that the worker's uid can read: where the grader is root, the worker is somebody else."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .base import SandboxKind
from .launch import Launch
from .user import Account


@dataclass
class Staged:
    """A launch whose files can be read by everyone, and the folder of the copies made for that."""

    launch: Launch
    folder: Path | None = None
    account: Account | None = None  # whose uid the worker has in the sandbox USER

    def close(self) -> None:
        if self.account is not None:
            self.account.close()
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


def stage(launch: Launch, kind: SandboxKind) -> Staged:
    """`launch` with a copy of each folder that others cannot read, where the worker will be another user."""
    if kind is SandboxKind.USER:
        return _stage_for_user(launch)
    if kind is not SandboxKind.BUBBLEWRAP or os.geteuid() != 0:
        return Staged(launch)
    sources = {"submission": launch.submission, "worker": launch.worker, "extra_probes": launch.extra_probes}
    closed = {name: path for name, path in sources.items() if path is not None and not readable(path)}
    if not closed:
        return Staged(launch)
    folder = Path(tempfile.mkdtemp(prefix="ddpm-grader-"))
    try:
        copies: dict[str, Any] = {name: copy(path, folder / name) for name, path in closed.items()}
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return Staged(replace(launch, **copies), folder)


def _stage_for_user(launch: Launch) -> Staged:
    """Copies of everything, in a folder of the account's: what lies around the sources may be closed to it."""
    account = Account()
    try:
        sources = {"submission": launch.submission, "worker": launch.worker, "extra_probes": launch.extra_probes}
        copies: dict[str, Any] = {
            name: copy(path, account.folder / name) for name, path in sources.items() if path is not None
        }
    except BaseException:
        account.close()
        raise
    return Staged(replace(launch, **copies), account=account)


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
