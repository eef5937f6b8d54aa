"""The end of what a mount leaves behind: its processes, and its files in the folders where it could write."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def sweep(config: dict[str, Any]) -> None:
    """End the processes that a mount left behind, and empty the scratch folders."""
    user = config.get("user")  # then no other process has our uid
    if user or (config["namespaced"] and Path("/proc/1/comm").read_text().strip() == "bwrap"):
        _signal_everyone()
    else:
        _end_children()
    for folder in config["sweep"]:
        for entry in os.scandir(folder):
            if not os.path.ismount(entry.path):  # an interpreter below /tmp is shown there
                _remove(entry.path)
    for folder in user["shared"] if user else []:
        _remove_ours(folder)
    os.makedirs(os.environ["HOME"], exist_ok=True)
    os.makedirs(config["work"], exist_ok=True)


def _remove_ours(folder: str) -> None:
    """Remove what is this user's in a folder of everyone's."""
    with suppress(OSError):
        for entry in list(os.scandir(folder)):
            with suppress(OSError):
                if entry.stat(follow_symlinks=False).st_uid == os.getuid():
                    _remove(entry.path)


def _signal_everyone() -> None:
    try:
        os.kill(-1, signal.SIGKILL)  # everyone in this PID namespace but pid 1 and us
    except ProcessLookupError:
        return
    _reap()


def _end_children() -> None:
    for _ in range(200):
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        if not children:
            return
        for pid in children:
            try:
                os.kill(int(pid), signal.SIGKILL)
            except ProcessLookupError:
                continue
        _reap()
    raise SystemExit("processes were left behind that cannot be ended")


def _reap() -> None:
    """Wait for the dead, at most 2 s."""
    for _ in range(200):
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                time.sleep(0.01)
        except ChildProcessError:
            return


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        remove_tree(path)
    else:
        os.unlink(path)


def remove_tree(top: str) -> None:
    """Remove a folder in which somebody hostile wrote: of any depth, closed to its owner. Nothing may run there.

    It goes from folder to folder by their descriptors, so that no path gets long and no stack deep. What cannot be
    removed stays.
    """
    try:
        os.chmod(top, 0o700)
        here = os.open(top, FOLDER)
    except OSError:
        return
    trail: list[str] = []  # from the top to here
    left = [_clear(here)]  # folders to go to, at the top and at each place of the trail
    try:
        while left:
            if left[-1]:
                with suppress(OSError):
                    here = _go(here, name := left[-1].pop())
                    trail.append(name)
                    left.append(_clear(here))
                continue
            left.pop()
            if trail:
                here = _go(here, "..")
                with suppress(OSError):
                    os.rmdir(trail.pop(), dir_fd=here)
    finally:
        os.close(here)
    with suppress(OSError):
        os.rmdir(top)


def _go(here: int, name: str) -> int:
    there = os.open(name, FOLDER, dir_fd=here)
    os.close(here)
    return there


def _clear(folder: int) -> list[str]:
    """Remove what is in a folder; the names of the folders that are not empty, which are open afterwards."""
    names = []
    with suppress(OSError), os.scandir(folder) as found:
        for entry in list(found):
            with suppress(OSError):
                if not entry.is_dir(follow_symlinks=False):
                    os.unlink(entry.name, dir_fd=folder)
                    continue
                try:
                    os.rmdir(entry.name, dir_fd=folder)
                except OSError:
                    os.chmod(entry.name, 0o700, dir_fd=folder)
                    names.append(entry.name)
    return names
