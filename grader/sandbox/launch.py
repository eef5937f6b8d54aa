"""What a worker is told when it is started: its environment, and its one argument."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from grader.labs import Material
from grader.policy import Limits

from .installation import PACKAGE

WORKER = PACKAGE / "worker"


@dataclass(frozen=True)
class Launch:
    """A worker to start: for which submission, with which limits."""

    submission: Path
    mounts: dict[str, str]  # name of the mount -> folder below the submission
    limits: Limits
    gpu: bool = False
    material: Material = field(default_factory=Material)
    probes: Path = Path()  # a folder with the material's probes, once they are gathered
    worker: Path = WORKER


def config(launch: Launch, fd: int, scratch: str, **rest: Any) -> str:
    """The worker's one argument (see worker/main.py); `rest` adds to it."""
    mounts = {name: os.path.join(launch.submission, folder) for name, folder in launch.mounts.items()}
    return json.dumps(
        {
            "fd": fd,
            "limits": launch.limits.model_dump(),
            "mounts": mounts,
            "gpu": launch.gpu,
            "work": f"{scratch}/work",
            "sweep": [scratch],
            "probes": str(launch.probes),
            "modules": launch.material.modules,
            "files": sorted(launch.material.files),
            "hidden": launch.material.answers,
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
