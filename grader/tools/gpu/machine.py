"""What this machine is: `python -m grader.tools.gpu.machine` prints it as JSON, `card` null where there is none.

In a process of its own, so that the command's does not hold a card's memory.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[3]


def ask() -> dict[str, Any]:
    """Card and versions; without a card, `problem` says what kept torch from looking, if anything did."""
    done = subprocess.run(
        [sys.executable, "-m", "grader.tools.gpu.machine"], capture_output=True, text=True, cwd=REPOSITORY
    )
    try:
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        return {"card": None, "problem": (done.stderr.strip().splitlines() or ["torch did not start"])[-1]}
    return found


def commit() -> str | None:
    """The checkout's commit, with a + where files differ from it; None without git."""
    try:
        head = _output("git", "rev-parse", "--short", "HEAD")
        changed = _output("git", "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + ("+" if changed else "")


def _output(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=REPOSITORY, timeout=60)
    return done.stdout.strip()


def _look() -> dict[str, Any]:
    import torch

    about: dict[str, Any] = {"card": None, "python": platform.python_version()}
    about |= {"torch": str(torch.__version__), "cuda": torch.version.cuda}
    about |= {"cores": len(os.sched_getaffinity(0)), "kernel": platform.release()}
    if torch.cuda.is_available():
        card = torch.cuda.get_device_properties(0)
        about |= {"card": card.name, "memory": f"{card.total_memory / 2**30:.0f} GiB", "driver": _driver()}
        about |= {"capability": f"{card.major}.{card.minor}", "cards": torch.cuda.device_count()}
    return about


def _driver() -> str | None:
    if shutil.which("nvidia-smi") is None:
        return None
    try:
        return _output("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader").splitlines()[0]
    except (OSError, IndexError, subprocess.SubprocessError):
        return None


if __name__ == "__main__":
    print(json.dumps(_look()))
