"""Frames read as hostile: whatever deviates from the format is a WireError."""

from __future__ import annotations

import io
import json
import random
import resource
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
    data = wire.encode({"id": 1, "text": "é\n", "third": 1 / 3}, arrays)
    message, blob = wire.read_frame(reader(data), 1 << 20)
    back = wire.decode_arrays(blob)
    assert message["id"] == 1
    assert message["text"] == "é\n"
    assert message["third"] == 1 / 3
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
        (frame(b'{"a": Infinity}'), "not JSON: Infinity"),
        (frame(b'{"a": [-Infinity]}'), "not JSON: -Infinity"),
        (frame(b'{"a": NaN}'), "not JSON: NaN"),
        (frame(b'{"a": 1e999}'), "not finite"),
        (frame(b'{"a": 1, "a": 2}'), "a key occurs twice"),
        (frame(b'{"a\\ud800": 1, "a?": 2}'), "a key occurs twice"),
        (frame(b'{"' + b"k" * 600 + b'": 1}'), "a text of 600 characters"),
        (frame(b'{"a": "' + b"x" * 200_000 + b'"}'), "a text of 200000 characters"),
        (frame(b'{"a": [' + b"0," * 200_000 + b"0]}"), "more than 100000 values"),
        (frame(b'{"a": [' + b"[]," * 900_000 + b"0]}"), "too many parts"),
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
        tensors(x={"dtype": "F32", "shape": [1] * 20, "data_offsets": [0, 4]}) + b"x" * 4,
        tensors(x={"dtype": "F32", "shape": [0, 2**62], "data_offsets": [0, 0]}),
        tensors(x={"dtype": "F32", "shape": [0, 2**30, 2**30], "data_offsets": [0, 0]}),
        tensors(x={"dtype": "F32", "shape": [True], "data_offsets": [0, 4]}) + b"x" * 4,
        tensors(x={"dtype": "F32", "shape": [1.0], "data_offsets": [0, 4]}) + b"x" * 4,
        tensors(x={"dtype": ["F32"], "shape": [1], "data_offsets": [0, 4]}) + b"x" * 4,
        tensors(x={"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}) + b"x" * 8,
        tensors(x={"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}) + b"x" * 8,
        tensors(x={"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}) + b"x" * 4,
        tensors(x={"dtype": "F32", "shape": [1]}) + b"x" * 4,
        tensors(x=[1]),
        tensors(**{"x" * 600: {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}}),
        tensors(**{name: {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]} for name in "xy"}) + b"x" * 4,
        struct.pack("<Q", 4 << 20) + b" " * (4 << 20),
    ],
)
def test_blobs_that_are_no_tensors(blob):
    with pytest.raises(wire.WireError):
        wire.decode_arrays(blob)


def test_truth_values_are_two():
    blob = tensors(x={"dtype": "BOOL", "shape": [4], "data_offsets": [0, 4]}) + bytes([0, 1, 2, 255])
    assert wire.decode_arrays(blob)["x"].view(np.uint8).tolist() == [0, 1, 1, 1]


def test_numbers_that_json_lacks_are_not_sent():
    with pytest.raises(ValueError, match="not JSON compliant"):
        wire.encode({"loss": float("inf")})


SEEDS = (
    wire.encode({"id": 7, "ok": True, "data": {"form": "int", "rejected": ["a", "b"], "steps": [[1.5, 2]]}}),
    wire.encode({"id": 7, "ok": True, "data": {}}, {"x": np.ones((2, 3), np.float32), "y": np.zeros((0, 4), bool)}),
    wire.encode({"id": 7, "ok": False, "kind": "crashed", "message": "é", "where": "", "traceback": "a\nb"}),
    wire.encode({"id": 7, "importing": "ddpm"}),
    wire.encode({"exit": -9}),
)
PIECES = (
    b"Infinity",
    b"NaN",
    b"1e999",
    b"[",
    b"]",
    b"{",
    b"}",
    b'"',
    b",",
    b"null",
    b"-1",
    b"9" * 30,
    b"\x00",
    b"DPM1",
)
SIZES = (b"\xff" * 4, b"\xff" * 8, struct.pack(">Q", 2**62), struct.pack("<Q", 2**62), struct.pack(">I", 1 << 22))


def mutant(rng: random.Random, seeds: tuple[bytes, ...] = SEEDS) -> bytes:
    """A frame that is nearly right."""
    data = bytearray(rng.choice(seeds))
    for _ in range(rng.choice((1, 1, 2, 4, 8))):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(5):
            case 0:
                data[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                data[at:at] = rng.choice(PIECES)
            case 2:
                size = rng.choice(SIZES)
                data[at : at + len(size)] = size
            case 3:
                del data[at : at + rng.randrange(1, 9)]
            case 4:
                other = rng.choice(seeds)
                data[at:at] = other[rng.randrange(len(other)) :]
    if rng.random() < 0.5 and len(data) >= wire.HEADER.size and data[:4] == b"DPM1":  # lengths that fit again
        text = min(struct.unpack(">I", data[4:8])[0], len(data) - wire.HEADER.size)
        data[4:16] = struct.pack(">IQ", text, len(data) - wire.HEADER.size - text)
    return bytes(data)


def fuzzed(count: int, seed: int) -> int:
    """How many of so many frames are taken for right ones; whatever is raised but WireError is raised here."""
    rng, taken = random.Random(seed), 0
    for _ in range(count):
        try:
            _, blob = wire.read_frame(reader(mutant(rng)), wire.MIB)
            wire.decode_arrays(blob)
            taken += 1
        except (wire.WireError, EOFError):
            pass
    return taken


def test_fuzz_of_frames():
    assert 100 < fuzzed(4000, 1) < 3900


@pytest.mark.slow
def test_fuzz_of_a_million_frames():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert fuzzed(1_000_000, 2) > 10_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10  # kilobytes


def test_too_many_tensors():
    blob = tensors(**{str(i): {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]} for i in range(2000)})
    with pytest.raises(wire.WireError, match="2000 tensors"):
        wire.decode_arrays(blob)
