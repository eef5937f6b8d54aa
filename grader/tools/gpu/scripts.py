"""Starts the lab's own scripts, as a student does, with the cache of decoded images elsewhere than in the checkout."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from grader.lab import LAB
from grader.sandbox.proc import end_descendants

FOLDER = LAB.solutions / "image_diffusion_todo"
START = """
import pathlib, runpy, sys
sys.path.insert(0, "")
import dataset
sys.argv[:] = sys.argv[1:]
dataset.CACHE = pathlib.Path(sys.argv.pop(0))
runpy.run_path(sys.argv[0], run_name="__main__")
"""


class ScriptFailed(Exception):
    """A script of the lab ended with an error; the text ends with what it said."""


def run_script(cache: Path, script: str, options: Mapping[str, Any], timeout_s: float = 1e6) -> str:
    """What the script said on stderr, which is shown as it comes.

    An option's value of True is none, a list's several. Raises ScriptFailed, for a script that took longer as well.
    """
    command = [sys.executable, "-c", START, str(cache), script]
    for name, value in options.items():
        command += [f"--{name}", *map(str, value if isinstance(value, list) else [] if value is True else [value])]
    said, late = bytearray(), threading.Event()
    with subprocess.Popen(command, cwd=FOLDER, stderr=subprocess.PIPE) as process:

        def stop() -> None:
            late.set()
            end(process)

        timer = threading.Timer(timeout_s, stop)
        timer.start()
        try:
            assert process.stderr
            while chunk := process.stderr.read1(1 << 16):  # type: ignore[attr-defined]  # typeshed has plain IO here
                said += chunk
                os.write(2, chunk)
        finally:
            timer.cancel()
            if sys.exception():
                end(process)
    lines = [line.rpartition("\r")[2] for line in said.decode(errors="replace").splitlines()]  # of a bar its last state
    if process.returncode:
        how = f"was stopped after {timeout_s:.0f} s" if late.is_set() else f"ended with {process.returncode}"
        raise ScriptFailed(f"{script} {how}: " + "; ".join(lines[-3:]))
    return "\n".join(lines)


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill a process with all that it started, which would keep its stderr open."""
    end_descendants(process.pid)
    with suppress(OSError):  # it leads no group of its own
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()
