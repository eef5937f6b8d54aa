"""Frames read as hostile: whatever deviates from the format is a WireError."""

from __future__ import annotations

import io
import json
import struct

import numpy as np
import pytest

from grader.worker import wire


def reader(data: bytes):
    stream = io.BytesIO(data)

    def read(count: int) -> bytes:
        part = stream.read(count)
        if len(part) < count:
            raise EOFError
        return part

    return read


def frame(text: bytes, blob: bytes = b"", magic: bytes = b"DPM1") -> bytes:
    return magic + struct.pack(">IQ", len(text), len(blob)) + text + blob


def test_message_and_arrays_come_back_as_they_were():
    arrays = {name: np.array([[1, 0], [2, 3]], dtype=name) for name in wire.DTYPES}
    arrays |= {"scalar": np.float64(np.nan), "empty": np.zeros((0, 3)), "fortran": np.arange(6.0).reshape(2, 3).T}
    data = wire.encode({"id": 1, "text": "é\n", "nan": float("nan")}, arrays)
    message, blob = wire.read_frame(reader(data), 1 << 20)
    back = wire.decode_arrays(blob)
    assert message["id"] == 1
    assert message["text"] == "é\n"
    assert np.isnan(message["nan"])
    assert back.keys() == arrays.keys()
    for name, array in arrays.items():
        assert back[name].dtype == array.dtype
        np.testing.assert_array_equal(back[name], array)


def test_no_arrays_make_an_empty_blob():
    assert wire.read_frame(reader(wire.encode({})), 0) == ({}, b"")
    assert wire.decode_arrays(b"") == {}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (frame(b"{}", magic=b"GET "), "not a frame"),
        (frame(b"[]"), "not a JSON object"),
        (frame(b"nonsense"), "not JSON"),
        (frame(b"\xff\xfe"), "not JSON"),
        (frame(b'{"a": 1' + b"0" * 5000 + b"}"), "not JSON"),
        (frame(b'{"a": 99999999999999999999}'), "more than 64 bits"),
        (frame(b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"), "not JSON|nested deeper"),
        (frame(b'{"a": ' + b"[" * 20 + b"]" * 20 + b"}"), "nested deeper than 16"),
        (frame(b"{}", b"x" * 101), r"2 \+ 101 bytes is over"),
        (b"DPM1" + struct.pack(">IQ", 2**32 - 1, 0), "is over"),
        (b"DPM1" + struct.pack(">IQ", 2, 2**63), "is over"),
    ],
)
def test_frames_that_deviate(data, message):
    with pytest.raises(wire.WireError, match=message):
        wire.read_frame(reader(data), 100)


def test_lone_surrogates_are_replaced():
    message = wire.parse_json(b'{"a\\ud800": ["\\udfff"]}')
    json.dumps(message, ensure_ascii=False).encode()
    assert message == {"a?": ["?"]}


def tensors(**entries: dict) -> bytes:
    header = json.dumps(entries).encode()
    return struct.pack("<Q", len(header)) + header


@pytest.mark.parametrize(
    "blob",
    [
        b"x",
        b"\x80\x04K\x01.",
        struct.pack("<Q", 2**62) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        tensors(x={"dtype": "F32", "shape": [2**40], "data_offsets": [0, 8]}) + b"x" * 8,
        tensors(x={"dtype": "F32", "shape": [2], "data_offsets": [0, 800]}) + b"x" * 8,
        tensors(x={"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}) + b"x" * 8,
        tensors(x={"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}) + b"x" * 4,
        tensors(x={"dtype": "U64", "shape": [1], "data_offsets": [0, 8]}) + b"x" * 8,
        tensors(x={"dtype": "O", "shape": [1], "data_offsets": [0, 8]}) + b"x" * 8,
        tensors(x={"dtype": "F32", "shape": [1] * 200, "data_offsets": [0, 4]}) + b"x" * 4,
    ],
)
def test_blobs_that_are_no_tensors(blob):
    with pytest.raises(wire.WireError):
        wire.decode_arrays(blob)


def test_too_many_tensors():
    blob = tensors(**{str(i): {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]} for i in range(2000)})
    with pytest.raises(wire.WireError, match="2000 tensors"):
        wire.decode_arrays(blob)
