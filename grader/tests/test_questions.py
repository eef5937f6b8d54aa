"""Questions that a probe asks the grader in the middle of a call: what arrives is hostile, and may not get far."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import safetensors.numpy

from grader.lab import LAB
from grader.records import Verdict
from grader.sandbox import Answer, ProbeFailure, Questions, Sandbox, SandboxFault, SandboxKind
from grader.sandbox.session import Exchange
from grader.worker import wire

ROWS = 8
LIMITS = LAB.policy().limits
PROBES = """
import torch
from loading import probe

@probe("ask")
def ask(half, params, arrays):
    total = torch.zeros(())
    for k in range(params["times"]):
        total += half.ask({"form": params["form"]}, {"x": torch.full((params["rows"], 2), float(k)),
                                                     "t": torch.zeros(params["rows"])})["out"].sum()
    return {"total": float(total)}, {}
"""


def questions(answer=lambda question, tables: {"out": tables["x"]}, most=5):
    return Questions(answer, {"x": (2,), "t": ()}, ROWS, most, {"form": frozenset({"a", "b", 1})})


def good():
    return {"x": np.ones((3, 2), np.float32), "t": np.ones(3, np.float32)}


def test_what_fits_is_answered():
    reply = questions().reply({"form": "a"}, safetensors.numpy.save(good()))
    np.testing.assert_array_equal(reply["out"], np.ones((3, 2)))


@pytest.mark.parametrize(
    ("question", "tables"),
    [
        ({}, good()),
        ({"form": "c"}, good()),
        ({"form": True}, good()),
        ({"form": 1.0}, good()),
        ({"form": ["a"]}, good()),
        ({"form": "a", "more": 1}, good()),
        (["form"], good()),
        ({"form": "a"}, {}),
        ({"form": "a"}, good() | {"z": np.ones(3, np.float32)}),
        ({"form": "a"}, good() | {"x": np.ones((3, 2))}),
        ({"form": "a"}, good() | {"x": np.ones((3, 2), np.int64)}),
        ({"form": "a"}, good() | {"x": np.ones((3, 3), np.float32)}),
        ({"form": "a"}, good() | {"x": np.ones(6, np.float32)}),
        ({"form": "a"}, good() | {"x": np.ones((4, 2), np.float32)}),
        ({"form": "a"}, {"x": np.ones((0, 2), np.float32), "t": np.ones(0, np.float32)}),
        ({"form": "a"}, {"x": np.ones((ROWS + 1, 2), np.float32), "t": np.ones(ROWS + 1, np.float32)}),
        ({"form": "a"}, good() | {"x": np.full((3, 2), np.nan, np.float32)}),
        ({"form": "a"}, good() | {"t": np.full(3, np.inf, np.float32)}),
        ({"form": "a"}, good() | {"x": np.ones((1 << 20, 2), np.float32)}),
    ],
)
def test_what_does_not_fit_is_the_submissions_failure(question, tables):
    asked = questions(answer=lambda *_: pytest.fail("an unchecked question was answered"))
    with pytest.raises((ProbeFailure, wire.WireError)):
        asked.reply(question, safetensors.numpy.save(tables) if tables else b"")


def test_a_fault_of_whoever_answers_is_ours():
    with pytest.raises(SandboxFault, match="KeyError"):
        questions(answer=lambda *_: {}["nothing"]).reply({"form": "a"}, safetensors.numpy.save(good()))


class Frames:
    """A worker that sends these frames, bytes as read, and takes whatever comes back."""

    mount, probes = "task1", frozenset()

    def __init__(self, frames):
        self.frames, self.sent = iter(frames), 0
        self.output = SimpleNamespace(kept={}, begin=lambda: None)

    def allow(self, seconds):
        return 1e9

    def excused(self):
        return 0.0

    def running(self):
        return 0, 0

    def send(self, message, arrays, deadline):
        self.sent += 1
        wire.encode(message, arrays)

    def receive(self, deadline):
        try:
            text, blob = next(self.frames)
        except StopIteration:
            raise TimeoutError from None
        return wire.parse_json(text), blob


def answered(frames, asks):
    """The outcome of one request to a worker that sends these frames."""
    worker = Frames(frames)
    try:
        return Exchange(worker, LIMITS, {}, 1e9, asks).run({"id": 7}, None, 1.0), worker
    except ProbeFailure as failure:
        return failure, worker


def ask(question, tables):
    return json.dumps({"id": 7, "asks": question}).encode(), safetensors.numpy.save(tables)


DONE = json.dumps({"id": 7, "ok": True, "data": {}}).encode(), b""


def test_only_so_many_questions_are_answered():
    outcome, worker = answered([ask({"form": "a"}, good())] * 5 + [DONE], questions())
    assert isinstance(outcome, Answer)
    assert worker.sent == 6
    outcome, worker = answered([ask({"form": "a"}, good())] * 6 + [DONE], questions())
    assert "too many questions" in outcome.message
    outcome, worker = answered([ask({"form": "a"}, good()), DONE], None)
    assert "a question that nobody answers" in outcome.message
    assert worker.sent == 1


def hostile(rng):
    """A frame that is a question, or was one before bytes, keys, shapes or types were changed."""
    question, tables = {"form": "a"}, good()
    for _ in range(rng.integers(3)):
        name = str(rng.choice(["x", "t", "", "x\x00", "é" * 9]))
        dtype = str(rng.choice(["float16", "float32", "float64", "int8", "int64", "bool"]))
        shape = tuple(rng.integers(0, 5, rng.integers(0, 5)))
        values = [None, True, 1, 1.0, "b", -1, 2**63 - 1, [], {}, "a" * 5000, [[[[]]]], float("nan")]
        change = rng.integers(4)
        if change == 0:
            tables[name] = np.full(shape, rng.choice([0.0, np.nan, np.inf, 3e38]), np.float64).astype(dtype)
        elif change == 1 and isinstance(question, dict):
            question[str(rng.choice(["form", "more", ""]))] = values[rng.integers(len(values))]
        elif change == 2:
            tables.pop(name, None)
        else:
            question = values[rng.integers(len(values))]
    message = {"id": 7, "asks": question}
    if rng.random() < 0.1:
        message[str(rng.choice(["id", "ok", "data", "importing", "reply"]))] = [7, "7", None, True, 8][rng.integers(5)]
    text, blob = bytearray(json.dumps(message).encode()), bytearray(safetensors.numpy.save(tables) if tables else b"")
    for data in (text, blob):
        if data and rng.random() < 0.3:
            for _ in range(rng.integers(1, 4)):
                data[rng.integers(len(data))] = rng.integers(256)
        if data and rng.random() < 0.1:
            del data[rng.integers(len(data)) :]
    return bytes(text), bytes(blob)


def fuzz(seed, count):
    """Send hostile frames, one an exchange; how many got an answer."""
    rng, seen = np.random.default_rng(seed), []

    def answer(question, tables):
        assert question.keys() == {"form"}
        assert question["form"] in ("a", "b", 1)
        assert {name: (table.dtype, table.shape[1:]) for name, table in tables.items()} == {
            "x": (np.float32, (2,)),
            "t": (np.float32, ()),
        }
        assert len({len(table) for table in tables.values()} - set(range(1, ROWS + 1))) == 0
        assert all(np.isfinite(table).all() for table in tables.values())
        seen.append(question)
        return {"out": tables["x"]}

    with np.errstate(all="ignore"):
        for _ in range(count):
            outcome, _ = answered([hostile(rng), DONE], questions(answer))
            assert isinstance(outcome, Answer | ProbeFailure)
    return len(seen)


def test_hostile_questions_end_in_words():
    assert 200 < fuzz(1, 3000) < 2800


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_many_hostile_questions_end_in_words(seed):
    assert fuzz(100 + seed, 60_000)


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory):
    folder: Path = tmp_path_factory.mktemp("asking")
    (folder / "half").mkdir()
    probes = folder / "asking.py"
    probes.write_text(PROBES)
    with Sandbox(folder, {"half": "half"}, LIMITS, LAB.material.with_probes(probes), SandboxKind.NONE) as opened:
        yield opened


def test_a_probe_asks_and_goes_on_with_the_answer(sandbox):
    asks = questions(lambda question, tables: {"out": 2 * tables["x"]})
    how = {"form": "a", "rows": 3, "times": 4}
    assert sandbox.call("half", "ask", how, asks=asks).data == {"total": 2 * 6 * (0 + 1 + 2 + 3)}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"form": "c"}, "a question whose form is 'c'"),
        ({"rows": ROWS + 1}, "asked with x of shape"),
        ({"times": 6}, "too many questions"),
    ],
)
def test_a_question_that_does_not_fit_ends_the_call_and_not_the_next(sandbox, change, said):
    how = {"form": "a", "rows": 3, "times": 1}
    with pytest.raises(ProbeFailure, match=said) as failure:
        sandbox.call("half", "ask", how | change, asks=questions())
    assert failure.value.verdict is Verdict.CRASHED
    assert sandbox.call("half", "ask", how, asks=questions()).data == {"total": 0}


def test_whoever_answers_may_end_the_call(sandbox):
    def refuse(question, tables):
        raise ProbeFailure(Verdict.TIMEOUT, "the network hangs")

    how = {"form": "a", "rows": 3, "times": 1}
    with pytest.raises(ProbeFailure, match="the network hangs"):
        sandbox.call("half", "ask", how, asks=questions(refuse))
    with pytest.raises(ProbeFailure, match="a question that nobody answers"):
        sandbox.call("half", "ask", how)


def test_a_sandbox_beside_another_answers_for_it(sandbox):
    """What training needs: one process asks, the grader asks another sandbox of the same submission in turn."""
    how = {"form": "a", "rows": 2, "times": 2}
    with sandbox.beside() as other:

        def relay(question, tables):
            inner = sandbox.call("half", "ask", how, asks=questions())
            return {"out": np.full((1, 1), inner.data["total"], np.float32)}

        assert other.call("half", "ask", how, asks=questions(relay)).data == {"total": 2 * 4.0}
