"""Frames between the grader and its worker: a header, a JSON object, tensors as safetensors.

Both sides use this module, the grader as `grader.worker.wire`. What a worker sends is hostile: whatever
deviates from the format is a WireError, and nothing is unpickled.
"""

from __future__ import annotations

import json
import math
import os
import socket
import struct
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np
import safetensors.numpy

MAGIC = b"DPM1"
HEADER = struct.Struct(">4sIQ")  # magic, bytes of JSON, bytes of tensors
MIB = 1 << 20  # bytes
JSON_CAP = 4 * MIB
DEPTH_CAP = 16  # levels of nesting
VALUES_CAP = 100_000  # values of one object, at every depth together
STRING_CAP = 1 << 17  # characters of a string
TEXT_CAP = 4096  # characters of a message or a traceback that anybody is to read
KEY_CAP = 512  # characters of a key, and of a tensor's name
STRUCTURE_CAP = 1 << 20  # commas and brackets, those in strings as well: what is parsed at all
ARRAYS_CAP = 1024  # tensors in one frame
HEADER_CAP = MIB  # bytes of the header of the tensors
DIMENSIONS_CAP = 16
SIZE_CAP = 1 << 40  # of one dimension; an empty tensor may have any shape otherwise
DTYPES = frozenset({"float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool"})
# Names in safetensors.
STORED = {
    **{f"F{bits}": np.dtype(f"<f{bits // 8}") for bits in (16, 32, 64)},
    **{f"I{bits}": np.dtype(f"<i{bits // 8}") for bits in (8, 16, 32, 64)},
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("u1"),
}


class WireError(Exception):
    """What arrived is not a frame, or is larger than allowed."""


def encode(message: dict[str, Any], arrays: dict[str, np.ndarray] | None = None) -> bytes:
    """One frame. Arrays of any dtype in DTYPES; the order of their memory does not matter.

    Raises ValueError for NaN and infinite numbers in the message, which JSON does not have.
    """
    text = json.dumps(message, allow_nan=False).encode()
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
    """A JSON object in plain values, bounded in every direction.

    Strings have no lone surrogates, integers 64 bits, numbers are finite, keys occur once. Raises WireError.
    """
    if sum(map(data.count, (b",", b"[", b"{"))) > STRUCTURE_CAP:
        raise WireError("JSON of too many parts")
    try:
        value = json.loads(data.decode("utf-8"), parse_constant=_not_finite, object_pairs_hook=_object)
    except (ValueError, RecursionError, MemoryError) as error:
        raise WireError(f"not JSON: {error}"[:500]) from error
    if not isinstance(value, dict):
        raise WireError("not a JSON object")
    plain: dict[str, Any] = _Plain().value(value, 0)
    return plain


def _not_finite(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON's")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key occurs twice in one object")
    return found


class _Plain:
    """Walks what was parsed, and counts it."""

    def __init__(self) -> None:
        self.left = VALUES_CAP

    def value(self, value: Any, depth: int) -> Any:
        self.left -= 1
        if self.left < 0:
            raise WireError(f"JSON of more than {VALUES_CAP} values")
        if depth > DEPTH_CAP:
            raise WireError(f"JSON nested deeper than {DEPTH_CAP}")
        if isinstance(value, dict):
            found = {_text(key, KEY_CAP): self.value(item, depth + 1) for key, item in value.items()}
            if len(found) != len(value):
                raise WireError("a key occurs twice in one object")
            return found
        if isinstance(value, list):
            return [self.value(item, depth + 1) for item in value]
        if isinstance(value, str):
            return _text(value, STRING_CAP)
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise WireError("an integer of more than 64 bits")
        if isinstance(value, float) and not math.isfinite(value):
            raise WireError("a number that is not finite")
        return value


def _text(text: str, cap: int) -> str:
    if len(text) > cap:
        raise WireError(f"a text of {len(text)} characters, where {cap} are allowed")
    return text.encode("utf-8", "replace").decode("utf-8")  # a lone surrogate cannot be written out


def decode_arrays(blob: bytes) -> dict[str, np.ndarray]:
    """The tensors of a frame, by a reader of our own, as what is here is hostile.

    They lie one after the other and fill the frame, so that they take as much memory as was sent. Raises WireError
    for anything but safetensors of the dtypes in DTYPES.
    """
    if not blob:
        return {}
    if len(blob) < 8:
        raise WireError("not safetensors: too short")
    length = int.from_bytes(blob[:8], "little")
    if length > min(HEADER_CAP, len(blob) - 8):
        raise WireError(f"not safetensors: a header of {length} bytes")
    header = parse_json(blob[8 : 8 + length])
    header.pop("__metadata__", None)
    if len(header) > ARRAYS_CAP:
        raise WireError(f"{len(header)} tensors in one frame")
    data = memoryview(blob)[8 + length :]
    places = sorted((*_span(entry), name) for name, entry in header.items())
    arrays, at = {}, 0
    for begin, end, name in places:
        if begin != at:
            raise WireError("not safetensors: tensors that overlap or leave gaps")
        arrays[name] = _array(header[name], data[begin:end])
        at = end
    if at != len(data):
        raise WireError("not safetensors: bytes that belong to no tensor")
    return arrays


def _span(entry: Any) -> tuple[int, int]:
    span = entry.get("data_offsets") if isinstance(entry, dict) else None
    if not isinstance(span, list) or len(span) != 2 or not all(map(_is_size, span)) or span[0] > span[1]:
        raise WireError("not safetensors: a tensor without its place")
    return span[0], span[1]


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value <= SIZE_CAP


def _array(entry: dict[str, Any], data: memoryview) -> np.ndarray:
    name, shape = entry.get("dtype"), entry.get("shape")
    if not isinstance(name, str) or name not in STORED:
        raise WireError(f"a tensor of dtype {str(name)[:40]}")
    if not isinstance(shape, list) or len(shape) > DIMENSIONS_CAP or not all(map(_is_size, shape)):
        raise WireError("a tensor of no shape that is allowed")
    dtype = STORED[name]
    if math.prod(shape) * dtype.itemsize != len(data) or math.prod(size or 1 for size in shape) > SIZE_CAP:
        raise WireError("a tensor whose shape is not that of its data")
    array = np.frombuffer(data, dtype).reshape(shape)
    # A byte that is neither 0 nor 1 would be a third truth value.
    return np.asarray(array != 0) if name == "BOOL" else array.copy()


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
