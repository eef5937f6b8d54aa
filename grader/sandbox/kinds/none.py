"""No sandbox: the worker is a plain process with resource limits, for code that one trusts."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from ..base import SandboxKind
from ..launch import config, environment
from ..proc import threads_of_this_user
from .base import Kind, spawn


class NoWalls(Kind):
    """A process of this user's, with a folder for scratch."""

    name = SandboxKind.NONE
    bounded = False

    @classmethod
    def require(cls, gpu: bool = False, private: Iterable[Path] = ()) -> None:
        """It works everywhere."""

    def start(self, fd: int, output: int) -> subprocess.Popen[bytes]:
        self.scratch.mkdir(mode=0o700)
        root = os.geteuid() == 0  # then the worker gets a real uid of its own, as no limit binds root
        limits = self.launch.limits.model_dump()
        if not root:
            limits["processes"] += threads_of_this_user()
        scratch = str(self.scratch)
        argument = config(self.launch, fd, scratch, namespaced=False, drop_uid=root, limits=limits)
        argv = [sys.executable, "-B", str(self.launch.worker / "main.py"), argument]
        return spawn(argv, (fd,), output, env=environment(scratch), cwd=scratch)
