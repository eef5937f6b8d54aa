"""Frames between the grader and its worker: a header, a JSON object, tensors as safetensors.

Both sides use this module, the grader as `grader.worker.wire`. What a worker sends is hostile: whatever
deviates from the format is a WireError, and nothing is unpickled.
"""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import safetensors.numpy

MAGIC = b"DPM1"
HEADER = struct.Struct(">4sIQ")  # magic, bytes of JSON, bytes of tensors
MIB = 1 << 20  # bytes
JSON_CAP = 4 * MIB
DEPTH_CAP = 16  # levels of nesting
ARRAYS_CAP = 1024  # tensors in one frame
DTYPES = frozenset({"float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool"})


class WireError(Exception):
    """What arrived is not a frame, or is larger than allowed."""


def encode(message: dict[str, Any], arrays: dict[str, np.ndarray] | None = None) -> bytes:
    """One frame. Arrays of any dtype in DTYPES; the order of their memory does not matter."""
    text = json.dumps(message).encode()
    tensors = {name: np.array(array, order="C") for name, array in (arrays or {}).items()}
    blob = safetensors.numpy.save(tensors) if tensors else b""
    return HEADER.pack(MAGIC, len(text), len(blob)) + text + blob


Frame = tuple[dict[str, Any], bytes]  # message, tensors as read


def read_frame(read: Callable[[int], bytes], blob_cap: int, json_cap: int = JSON_CAP) -> Frame:
    """The next frame, by `read(n)`, which returns exactly n bytes or raises. Caps in bytes."""
    magic, json_length, blob_length = HEADER.unpack(read(HEADER.size))
    if magic != MAGIC:
        raise WireError("not a frame of the worker")
    if json_length > json_cap or blob_length > blob_cap:
        raise WireError(f"a frame of {json_length} + {blob_length} bytes is over {json_cap} + {blob_cap}")
    message = parse_json(read(json_length))
    return message, read(blob_length) if blob_length else b""


def parse_json(data: bytes) -> dict[str, Any]:
    """A JSON object in plain values: strings without lone surrogates, integers of 64 bits, bounded depth."""
    try:
        value = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise WireError(f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise WireError("not a JSON object")
    return _plain(value, 0)


def _plain(value: Any, depth: int) -> Any:
    if depth > DEPTH_CAP:
        raise WireError(f"JSON nested deeper than {DEPTH_CAP}")
    if isinstance(value, dict):
        return {_text(key): _plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item, depth + 1) for item in value]
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise WireError("an integer of more than 64 bits")
    return value


def _text(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")  # a lone surrogate cannot be written out


def decode_arrays(blob: bytes) -> dict[str, np.ndarray]:
    """The tensors of a frame. Raises WireError for anything but safetensors of the dtypes in DTYPES."""
    if not blob:
        return {}
    try:
        arrays = safetensors.numpy.load(blob)
    except Exception as error:  # the parser's own errors are of many types
        raise WireError(f"not safetensors: {error!r}"[:500]) from error
    if len(arrays) > ARRAYS_CAP:
        raise WireError(f"{len(arrays)} tensors in one frame")
    for array in arrays.values():
        if array.dtype.name not in DTYPES:
            raise WireError(f"a tensor of dtype {array.dtype.name}")
    return {_text(name): array for name, array in arrays.items()}


def receive(sock: socket.socket, blob_cap: int) -> Frame:
    """The next frame from the grader, in the worker; ends this process where the grader hung up."""

    def read(count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            part = sock.recv(min(count - len(data), MIB))
            if not part:
                os._exit(0)
            data += part
        return bytes(data)

    return read_frame(read, blob_cap)
