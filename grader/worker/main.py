"""The worker's first process: limits itself, imports torch once, and forks a process for a mount on request.

Run as a script, with one argument, a JSON object:
    fd                   the socket to the grader
    mounts               name to folder
    probes               a folder of modules that register probes
    modules, files       names of the lab's, see loading.Lab
    hidden               packages that hold answers, not to be found
    work, sweep          the scratch folder of the mounts, and folders to empty between their processes
    limits, gpu          what a mount may take
    namespaced           whether there is a PID namespace of its own
    drop_uid             whether to become another user first
    user                 only where this process is a user of its own: its `uid`, the `filter` of system calls,
                         `shared` (folders in which others have files as well), `landlock` (its version, 0 without),
                         `writable` (folders that it then writes to)
A frame `{"mount": name, "blocked": [modules], "libraries": [packages]}` forks the mount's process, which says
`{"up": mount}` and answers requests; it finds these of the hidden packages, in a ZIP where one came with the frame.
When it is gone, however that came, `{"exit": code}` goes back. `{"sync": text}` comes back as it is.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import platform
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from leftovers import sweep
from rights import become_harmless, end_with_parent, show_own_folder

HERE = Path(__file__).resolve().parent


def main(config: dict[str, Any]) -> None:
    """Serve until the grader closes the socket."""
    become_harmless(config)
    sock = socket.socket(fileno=config["fd"])
    sock.set_inheritable(False)
    sock.setblocking(True)
    import torch

    torch.set_num_threads(1)
    import wire
    from registry import PROBES
    from serving import REQUEST_CAP, serve

    load_probes(config["probes"])
    gc.collect()
    gc.freeze()  # the collector of a forked process leaves these pages shared
    # The name of the GPU would start CUDA, which a forked process cannot use then.
    device = "cuda" if config["gpu"] and torch.cuda.is_available() else "cpu"
    about = {
        "probes": sorted(PROBES),
        "device": device,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
    }
    sock.sendall(wire.encode({"ready": about}))
    while True:
        order, blob = wire.receive(sock, REQUEST_CAP)
        if "mount" in order:
            code = run_mount(lambda order=order, blob=blob: serve(sock, config, order, blob), config)
            sock.sendall(wire.encode({"exit": code}))
        elif "sync" in order:  # anything else is a request that the mount's process did not live to read
            sock.sendall(wire.encode(order))


def load_probes(probes: str) -> None:
    """Import the modules that register probes: this folder's own, and those of the folder `probes`.

    Afterwards both folders and the names of their modules are hidden: a student may have a loading.py, too.
    """
    folders = (HERE, Path(probes).resolve())
    sys.path.insert(0, probes)
    for name in ("loading", "report_pages", *sorted(file.stem for file in folders[1].glob("*.py"))):
        importlib.import_module(name)
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() not in folders]
    for name, module in list(sys.modules.items()):
        file = Path(str(getattr(module, "__file__", None) or "/"))
        if file.parent in folders and name != "__main__":
            del sys.modules[name]


def run_mount(serve: Callable[[], None], config: dict[str, Any]) -> int:
    """Fork a mount's process, wait for its end, end what it left. Its exit code, or minus its signal."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        try:
            end_with_parent()
            show_own_folder(True)  # else /proc/self would be closed
            with suppress(OSError):
                Path("/proc/self/oom_score_adj").write_text("1000")  # where memory is short, this one goes first
            serve()
        finally:
            os._exit(70)
    while True:
        pid, status = os.wait()
        if pid == child:
            break
    sweep(config)
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
