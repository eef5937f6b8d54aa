"""How a worker is started: its environment, the files it may see, the command line."""

from __future__ import annotations

import json
import os
import site
import sys
import sysconfig
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from grader.labs import Material
from grader.policy import Limits

PACKAGE = Path(__file__).resolve().parents[1]
WORKER = PACKAGE / "worker"


@dataclass(frozen=True)
class Launch:
    """A worker to start: for which submission, with which limits."""

    submission: Path
    halves: dict[str, str]  # name of the half -> folder below the submission
    limits: Limits
    gpu: bool = False
    material: Material = field(default_factory=Material)
    probes: Path = Path()  # a folder with the material's probes, once it is staged
    worker: Path = WORKER


@dataclass
class Command:
    """What to execute: `argv` with `env`, and what is to be read from an inherited descriptor as `--args`."""

    argv: list[str]
    env: dict[str, str]
    sealed: list[str] = field(default_factory=list)  # bwrap's arguments, out of sight of /proc/1/cmdline


def config(launch: Launch, submission: str, scratch: str, fd: int, **rest: Any) -> str:
    """The worker's one argument (see worker/main.py)."""
    halves = {name: os.path.join(submission, folder) for name, folder in launch.halves.items()}
    return json.dumps(
        {
            "fd": fd,
            "limits": launch.limits.model_dump(),
            "halves": halves,
            "gpu": launch.gpu,
            "work": f"{scratch}/work",
            "modules": launch.material.modules,
            "files": sorted(launch.material.files),
            **rest,
        }
    )


def environment(scratch: str) -> dict[str, str]:
    """The whole environment of a worker; nothing of ours passes."""
    threads = ("OMP", "MKL", "OPENBLAS", "NUMEXPR")
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": f"{scratch}/home",
        "TMPDIR": scratch,
        "USER": "student",
        "LOGNAME": "student",
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        "PYTHONNOUSERSITE": "1",
        "PYTHONUTF8": "1",
        "MPLBACKEND": "Agg",
        "MPLCONFIGDIR": f"{scratch}/home/matplotlib",
        "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
        **{f"{name}_NUM_THREADS": "1" for name in threads},
    }


def plain_command(launch: Launch, scratch: str, fd: int, others: int) -> Command:
    """The worker as an ordinary process (--sandbox none); the user runs `others` threads beside it."""
    root = os.geteuid() == 0  # then the worker gets a real uid of its own, as no limit binds root
    limits = launch.limits.model_dump() | {"processes": launch.limits.processes + (0 if root else others)}
    argument = config(
        launch,
        str(launch.submission),
        scratch,
        fd,
        namespaced=False,
        drop_uid=root,
        sweep=[scratch],
        probes=str(launch.probes),
        limits=limits,
    )
    return Command([sys.executable, "-B", str(launch.worker / "main.py"), argument], environment(scratch))


def interpreter_folders() -> list[Path]:
    """Folders that this Python needs to start and to import what is installed."""
    folders = {Path(sys.prefix), Path(sys.base_prefix), Path(os.path.realpath(sys.base_prefix))}
    folders |= {Path(sysconfig.get_path(name)) for name in ("purelib", "platlib", "stdlib")}
    link = Path(sys.executable)
    while link.is_symlink():  # bin/python may lead through other names of the prefix
        link = Path(os.path.normpath(link.parent / os.readlink(link)))
        folders.add(link.parent.parent if link.parent.name == "bin" else link)
    return sorted(folder for folder in folders if folder.exists() and folder != Path("/"))


def private_folders() -> list[Path]:
    """What is to be hidden where it lies below a folder that is shown: the grader and its repository."""
    repository = PACKAGE.parent
    return [PACKAGE, *([repository] if (repository / "solutions").is_dir() else [])]


def telltale_files() -> Iterable[Path]:
    """Files in site-packages by which an editable install names its repository."""
    for folder in {*site.getsitepackages(), sysconfig.get_path("purelib")}:
        for file in [*Path(folder).glob("__editable__*"), *Path(folder).glob("*.pth")]:
            if file.is_file() and str(PACKAGE.parent) in file.read_text(encoding="utf-8", errors="replace"):
                yield file
                yield from Path(folder).glob("__editable__*ddpm_lab*")
