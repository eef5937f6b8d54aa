"""The conversation with a hostile worker: whatever it sends, there is an answer or a failure of the submission's."""

from __future__ import annotations

import json
import random
import resource
import struct
import time
from typing import Any

import numpy as np
import pytest

from grader.lab import LAB
from grader.records import Verdict
from grader.sandbox.base import Answer, ProbeFailure
from grader.sandbox.output import Output
from grader.sandbox.process import Lost, Worker
from grader.sandbox.session import NOTES_CAP, Exchange, printable
from grader.tests.test_wire import SEEDS, mutant
from grader.worker import wire

LIMITS = LAB.policy().limits
GONE = Lost(Verdict.CRASHED, "the sandbox ended")


class FakeOutput(Output):
    def __init__(self) -> None:
        self.kept = {}

    def begin(self) -> None:
        pass


class FakeWorker(Worker):
    """Reads what a test has it say."""

    def __init__(self, said: bytes) -> None:
        self.said, self.at, self.asked = said, 0, []
        self.output, self.mount, self.end = FakeOutput(), "half", float("inf")
        self._blob_cap, self._group, self._killed = 1 << 20, None, 0

    def _read(self, count: int, deadline: float, most: int = 0) -> bytes:
        if time.monotonic() > deadline:
            raise TimeoutError
        data = self.said[self.at : self.at + count]
        if len(data) < count:
            raise GONE
        self.at += count
        return data

    def send(self, message: dict[str, Any], arrays: Any, deadline: float) -> None:
        self.asked.append(message)

    def allow(self, seconds: float) -> float:
        return time.monotonic() + seconds

    def excused(self) -> float:
        return 0.0

    def running(self) -> tuple[int, int]:
        return 0, 0


def asked(*frames: bytes) -> tuple[Answer, Exchange]:
    exchange = Exchange(FakeWorker(b"".join(frames)), LIMITS, {}, time.monotonic() + 100)
    return exchange.run({"id": 7, "probe": "p", "params": {}}, None, 20.0), exchange


def raw(text: str) -> bytes:
    data = text.encode()
    return wire.HEADER.pack(wire.MAGIC, len(data), 0) + data


def refused(*frames: bytes) -> ProbeFailure:
    with pytest.raises(ProbeFailure) as caught:
        asked(*frames)
    shown = (caught.value.message, caught.value.where, caught.value.traceback)
    assert all(len(text) <= wire.TEXT_CAP and text == printable(text) for text in shown)
    return caught.value


def error(**fields: Any) -> bytes:
    frame = {"id": 7, "ok": False, "kind": "crashed", "message": "m", "where": "w", "traceback": "t"}
    return raw(json.dumps(frame | fields))


def test_an_answer_after_imports():
    note = wire.encode({"id": 7, "importing": "ddpm"}) + wire.encode({"id": 7, "imported": "ddpm"})
    answer, exchange = asked(note, wire.encode({"id": 7, "ok": True, "data": {"a": 1}}, {"x": np.ones(2)}))
    assert answer.data == {"a": 1}
    assert answer.arrays["x"].tolist() == [1, 1]
    assert exchange.imported == {"ddpm"}
    assert not exchange.broken


@pytest.mark.parametrize(
    "frame",
    [
        raw('{"id": 8, "ok": true, "data": {}}'),
        raw('{"id": true, "ok": true, "data": {}}'),
        raw('{"id": 7.0, "ok": true, "data": {}}'),
        raw('{"id": 7, "ok": true, "data": []}'),
        raw('{"id": 7, "ok": 1, "data": {}}'),
        raw('{"id": 7, "ok": true}'),
        raw('{"id": 7, "ok": true, "data": {"loss": Infinity}}'),
        raw('{"id": 7}'),
        raw("{}"),
        raw('{"id": 7, "importing": ["ddpm"]}'),
        raw('{"id": 7, "importing": "' + "d" * 300 + '"}'),
        raw('{"exit": "0"}'),
        raw('{"exit": true}'),
        raw('{"exit": {"a": 1}}'),
        error(kind=1),
        error(kind="k" * 1000),
        error(kind="timeout"),
        error(message=["m"]),
        error(kind="blocked", module=["m"]),
        error(kind="blocked", module={"m": 1}),
    ],
)
def test_frames_out_of_turn_and_odd_ones(frame):
    failure = refused(frame)
    assert failure.verdict is Verdict.CRASHED
    assert "the answer was not in the grader's format" in failure.message


def test_imports_without_end():
    assert "too many frames" in refused(*[raw('{"id": 7, "importing": "a"}')] * (NOTES_CAP + 1)).message


def test_texts_are_cut_and_printable():
    failure = refused(error(message="\x1b[31mred\u202e" + "x" * 100_000, where="\0", traceback="a\n\tb" * 30_000))
    assert failure.message.startswith("\\x1b[31mred\\u202exxx")
    assert failure.where == "\\x00"
    assert failure.traceback.startswith("a\n\tba")


def test_announcing_imports_gains_no_time(monkeypatch):
    """Each announcement would have begun the limit of the probe anew."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    class Slow(FakeWorker):
        def _read(self, count: int, deadline: float, most: int = 0) -> bytes:
            now[0] += 1.0
            return super()._read(count, deadline, most)

    notes = [raw('{"id": 7, "importing": "a"}'), raw('{"id": 7, "imported": "a"}')]
    exchange = Exchange(Slow(b"".join(notes * 90)), LIMITS, {}, 1000.0)
    with pytest.raises(ProbeFailure) as caught:
        exchange.run({"id": 7, "probe": "p", "params": {}}, None, 20.0)
    assert caught.value.verdict is Verdict.TIMEOUT
    assert now[0] < 20 + 2 * LIMITS.import_s + 10


def fuzzed(count: int, seed: int) -> int:
    """How many conversations of up to four frames end with an answer; whatever is raised but ProbeFailure is raised."""
    rng, taken = random.Random(seed), 0
    verdicts = set()
    for _ in range(count):
        frames = [mutant(rng) if rng.random() < 0.7 else rng.choice(SEEDS) for _ in range(rng.randrange(1, 5))]
        try:
            answer, _ = asked(*frames)
            taken += 1
            assert isinstance(answer.data, dict)
            json.dumps(answer.data, allow_nan=False)
        except ProbeFailure as failure:
            shown = (failure.message, failure.where, failure.traceback)
            assert all(len(text) <= wire.TEXT_CAP for text in shown)
            verdicts.add(failure.verdict)
    assert Verdict.GRADER_ERROR not in verdicts
    return taken


def test_fuzz_of_conversations():
    assert fuzzed(1500, 1) > 100


@pytest.mark.slow
def test_fuzz_of_a_million_frames():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert fuzzed(400_000, 2) > 10_000  # of two frames and a half
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10  # kilobytes


def test_headers_that_promise_too_much():
    for text, blob in ((2**32 - 1, 0), (2, 2**63)):
        assert refused(wire.MAGIC + struct.pack(">IQ", text, blob)).verdict is Verdict.CRASHED
