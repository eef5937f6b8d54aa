"""The process of one mount: answers requests one after the other."""

from __future__ import annotations

import math
import os
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
import wire
from loading import Lab, Mount, describe
from registry import PROBES
from wire import MIB

REQUEST_CAP = 256 * MIB
NUMPY_DTYPES = {getattr(torch, name) for name in wire.DTYPES}


def serve(sock: socket.socket, config: dict[str, Any], order: dict[str, Any], blob: bytes = b"") -> None:
    """Say `{"up": mount}`, then answer requests for `order["mount"]` until the grader ends this process."""
    name = order["mount"]
    os.setpgid(0, 0)
    process = os.getpid()
    sys.stdout.reconfigure(line_buffering=True)
    current = {"id": 0}
    give_libraries(blob, Path(config["work"], "libraries.zip"))
    cap = config["limits"]["answer_mib"] * MIB

    def ask(question: dict[str, Any], tensors: dict[str, Any]) -> dict[str, torch.Tensor]:
        sock.sendall(wire.encode(current | {"asks": plain(question)}, _as_numpy(tensors, cap)))
        _, blob = wire.receive(sock, REQUEST_CAP)
        return safetensors.torch.load(blob) if blob else {}

    mount = Mount(
        name,
        Path(config["mounts"][name]),
        Path(config["work"], name),
        lambda note: sock.sendall(wire.encode(current | note)),
        frozenset(order["blocked"]),
        Lab(tuple(config["modules"]), frozenset(config["files"]), frozenset(config["hidden"])),
        frozenset(order["libraries"]),
        ask,
    )
    sock.sendall(wire.encode({"up": name}))
    while True:
        request, blob = wire.receive(sock, REQUEST_CAP)
        current["id"] = request["id"]
        frame = answer(mount, request, blob, cap)
        if os.getpid() != process:  # a copy that the student's code forked and did not end
            os._exit(0)
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):  # closed or replaced by the student
                stream.flush()
        sock.sendall(frame)


def give_libraries(blob: bytes, file: Path) -> None:
    """Have what is in a ZIP found after what is installed; without room for it nothing is."""
    if blob:
        with suppress(OSError):
            file.write_bytes(wire.decode_arrays(blob)["libraries"].tobytes())
            sys.path.append(str(file))


def answer(mount: Mount, request: dict[str, Any], blob: bytes, cap: int) -> bytes:
    """The frame that answers a request, whatever the probe does short of ending the process."""
    head = {"id": request["id"]}
    try:
        mount.seed(int(request["params"].get("seed", 0)))
        arrays = safetensors.torch.load(blob) if blob else {}
        data, tensors = PROBES[request["probe"]](mount, request["params"], arrays)
        return wire.encode(head | {"ok": True, "data": plain(data)}, _as_numpy(tensors, cap))
    except BaseException as error:  # the border: SystemExit and KeyboardInterrupt are the student's as well
        return wire.encode(head | describe(error, mount))


def _as_numpy(tensors: dict[str, Any], cap: int) -> dict[str, np.ndarray]:
    arrays = {}
    for name, value in tensors.items():
        arrays[name] = array_of(name, value)
        cap -= arrays[name].nbytes
        if cap < 0:
            shape = tuple(arrays[name].shape)
            raise ValueError(f"the answer is larger than allowed: '{name}' has shape {shape}")
    return arrays


def array_of(name: str, value: Any) -> np.ndarray:
    """A tensor or an array as numpy; what numpy cannot hold (bfloat16, float8) comes as float32."""
    tensor = value.detach() if isinstance(value, torch.Tensor) else torch.as_tensor(value)
    if tensor.is_complex():
        raise TypeError(f"'{name}' is complex")
    if tensor.layout is not torch.strided:
        tensor = tensor.to_dense()
    tensor = tensor.cpu()
    return (tensor if tensor.dtype in NUMPY_DTYPES else tensor.float()).resolve_neg().numpy()


def plain(value: Any) -> Any:
    """Probe data as JSON: numbers of numpy and torch become Python's, tuples lists."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, torch.Tensor | np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"a number that is looked at is {value}")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a probe returned {type(value).__name__} as data")
