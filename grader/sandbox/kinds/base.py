"""The one interface of the kinds of sandbox."""

from __future__ import annotations

import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from grader.worker.leftovers import remove_tree

from ..base import SandboxKind
from ..copies import copy, gather
from ..launch import Launch


class Kind(ABC):
    """One way to keep a submission apart. Made for one submission, it starts one worker after the other.

    `launch` is what it was made for, with its probes in one folder and copies of what the worker could not read.
    """

    name: ClassVar[SandboxKind]
    bounded = True  # whether its workers get a control group where one can be had
    masks = False  # whether packages that hold answers are out of sight, so that a row that needs one is given it

    @classmethod
    @abstractmethod
    def require(cls, gpu: bool = False, private: Iterable[Path] = ()) -> None:
        """Raise SandboxUnavailable, saying what to do, where this kind does not work.

        `private`: what no submission may read, besides the grader and the answers.
        """

    def __init__(self, launch: Launch, folder: Path | None = None) -> None:
        self.folder = folder or Path(tempfile.mkdtemp(prefix="ddpm-grader-"))
        try:
            if folder is None:
                self.folder.chmod(0o711)
            copies = {"probes": gather(launch.material.probes, self.folder / "probes")}
            for name, path in {"submission": launch.submission, "worker": launch.worker}.items():
                if self.must_copy(path):
                    copies[name] = copy(path, self.folder / name)
            self.launch = replace(launch, **copies)  # type: ignore[arg-type]
        except BaseException:
            self.close()
            raise

    @property
    def scratch(self) -> Path:
        """Where a worker writes, unless it has a mount of its own for that."""
        return self.folder / "scratch"

    def must_copy(self, path: Path) -> bool:
        """Whether the worker could not read a folder where it lies."""
        return False

    @abstractmethod
    def start(self, fd: int, output: int) -> subprocess.Popen[bytes]:
        """Start a worker that inherits the socket `fd` and prints to `output`."""

    def about(self) -> dict[str, str]:
        """What a result's environment says about a worker's walls, beside the kind."""
        return {}

    def overfull(self, pids: list[int]) -> str:
        """What is wrong with the room on the disk that a worker's processes take; empty where it is fine."""
        return ""

    def sweep(self) -> None:
        """Remove what a worker that has ended left behind. Raises SandboxFault where that fails."""
        remove_tree(str(self.scratch))

    def close(self) -> None:
        """Remove whatever was made for the submission. May be called again."""
        remove_tree(str(self.folder))


def spawn(argv: list[str], fds: tuple[int, ...], output: int, **how: Any) -> subprocess.Popen[bytes]:
    """Start a process that inherits `fds`, reads nothing and prints to `output`."""
    # A session of its own: Ctrl-C at the terminal must not look like a crash of the submission.
    return subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, pass_fds=fds, start_new_session=True, **how
    )
