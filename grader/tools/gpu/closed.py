"""Which sandbox the parts use that run submissions, and a place for them that the sandbox `user` takes for closed."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from grader.tools.gpu.machine import REPOSITORY

COPIED = ("grader", "solutions", "2d_plot_diffusion_todo", "image_diffusion_todo")
LEFT_OUT = ("__pycache__", "cache", "results", "samples", "figures")


def kind_here() -> tuple[str, str]:
    """The sandbox, and why it is not bubblewrap: `user` where we are root, else `none`."""
    from grader.sandbox import SandboxKind, SandboxUnavailable, resolve

    try:
        return str(resolve(SandboxKind.BUBBLEWRAP, gpu=True)), ""
    except SandboxUnavailable as error:
        return ("user" if os.geteuid() == 0 else "none"), str(error)


@contextmanager
def checkout(sandbox: str) -> Iterator[Path]:
    """The folder that a part runs in: the repository, or for `user` a copy that no other user can enter.

    A checkout's answers can usually be read by every user of a machine, which that sandbox refuses.
    """
    if sandbox != "user":
        yield REPOSITORY
        return
    with tempfile.TemporaryDirectory(prefix="ddpm-gpu-") as folder:  # of mode 0700
        for name in COPIED:
            shutil.copytree(REPOSITORY / name, Path(folder, name), ignore=shutil.ignore_patterns(*LEFT_OUT))
        yield Path(folder)
