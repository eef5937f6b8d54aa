"""The border between sandbox and judges: what does not fit is a failure in words; the rest makes no judge stumble."""

from __future__ import annotations

import math
import types
import typing
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from grader.judging.bench import Bench
from grader.judging.border import FLOATING, WHOLE, Answer, Expects, Line, Said, Tensor, Unfit, held
from grader.judging.diagnosis import diagnose
from grader.lab import LAB
from grader.labs import RowKind
from grader.records import Row, Verdict
from grader.sandbox import Answer as RawAnswer
from grader.sandbox import ProbeFailure

ROWS = [row.id for row in LAB.rubric if row.kind in (RowKind.CODE, RowKind.COMPANION, RowKind.RUN)]


class Spoken(Said):
    form: Line
    calls: list[int]


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (np.zeros((3, 2), np.float32), Unfit.SHAPE),
        (np.zeros((2, 3), np.int64), Unfit.DTYPE),
        (np.full((2, 3), np.nan), Unfit.NOT_FINITE),
        (np.full((2, 3), np.inf, np.float16), Unfit.NOT_FINITE),
        (np.full((2, 3), 1.7e308), Unfit.TOO_LARGE),
        (np.full((2, 3), -1.7e308), Unfit.TOO_LARGE),
    ],
)
def test_a_tensor_that_does_not_fit_never_reaches_a_judge(value, kind):
    answer = held(RawAnswer({}, {"y": value}), Expects({"y": Tensor((2, 3))}))
    assert "y" not in answer.arrays
    assert answer.misfits["y"].kind is kind
    with pytest.raises(ProbeFailure, match="'y' is ") as failure:
        answer.arrays["y"]
    assert failure.value.verdict is Verdict.FAILED
    assert answer.shape("y") == value.shape


def test_a_tensor_of_open_shape_is_bounded():
    answer = held(RawAnswer({}, {"x": np.zeros(11), "y": np.zeros((1,) * 20)}), Expects.alike("xy", Tensor(most=10)))
    assert {misfit.kind for misfit in answer.misfits.values()} == {Unfit.SHAPE}


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (RawAnswer({"form": "int", "calls": [1]}, {"x": np.zeros(1), "z": np.zeros(1)}), "'z'"),
        (RawAnswer({"form": "int", "calls": [1], "more": 1}), "more"),
        (RawAnswer({"form": "int"}), "calls"),
        (RawAnswer({"form": 3, "calls": []}), "form"),
        (RawAnswer({"form": "x" * 5000, "calls": []}), "form"),
        (RawAnswer({"form": "int", "calls": [1, "2"]}), "calls.1"),
        (RawAnswer({"form": "int", "calls": {"0": 1}}), "calls"),
    ],
)
def test_an_answer_that_says_something_else_is_the_submissions_failure(raw, said):
    with pytest.raises(ProbeFailure, match=said) as failure:
        held(raw, Expects({"x": Tensor()}, Spoken))
    assert failure.value.verdict is Verdict.FAILED
    assert len(failure.value.message) < 500


# --- fuzz: whatever comes back, a judge hands over a row


class HostileBench(Bench):
    """Answers every question itself, within what is declared and beyond it."""

    fuzz: np.random.Generator

    def ask(
        self, probe: Any, params: Any, arrays: Any = None, timeout_s: Any = None, asks: Any = None, *, expects: Any
    ) -> Answer:
        kind = self.fuzz.random()
        if kind < 0.05:
            verdict = self.fuzz.choice([Verdict.CRASHED, Verdict.TIMEOUT, Verdict.MISSING, Verdict.NOT_IMPLEMENTED])
            raise ProbeFailure(Verdict(verdict), "no answer")
        mood = self.fuzz.choice(["tame", "wild"])
        tensors = {
            name: self._tensor(tensor, mood) for name, tensor in expects.tensors.items() if self.fuzz.random() < 0.9
        }
        return held(RawAnswer(self._said(expects.said), tensors), expects)

    @contextmanager
    def beside(self) -> Iterator[HostileBench]:
        yield self

    def _tensor(self, tensor: Tensor, mood: str) -> np.ndarray:
        fuzz = self.fuzz
        odd = mood == "wild" and fuzz.random() < 0.3
        shapes: list[tuple[int, ...]] = [(), (0,), (1,), (4,), (2, 2), (4, 2), (3, 1, 2), (1024, 2), (4, 3, 6, 6)]
        shape = tensor.shape if tensor.shape is not None and not odd else shapes[fuzz.integers(len(shapes))]
        if tensor.dtypes <= WHOLE:
            return fuzz.integers(-3, 12, shape)
        scale = float(fuzz.choice([0.0, 1e-8, 0.3, 1.0, 50.0, 1e5] if mood == "tame" else [1.0, 1e6, 1e30, 1e300]))
        value = scale * fuzz.standard_normal(shape)
        if fuzz.random() < 0.3:
            value = np.full(shape, scale)
        if odd and value.size:
            value.flat[fuzz.integers(value.size)] = fuzz.choice([np.nan, np.inf, -np.inf, 1.7e308])
        return value.astype(fuzz.choice(sorted(tensor.dtypes & FLOATING))) if scale < 1e4 else np.asarray(value)

    def _said(self, cls: type[Said]) -> dict[str, Any]:
        kinds = typing.get_type_hints(cls, include_extras=True)
        return {name: self._value(kinds[name], name) for name in cls.model_fields}

    def _value(self, kind: Any, name: str = "") -> Any:
        fuzz, origin = self.fuzz, typing.get_origin(kind)
        if origin is typing.Annotated:
            return self._value(typing.get_args(kind)[0], name)
        if origin in (types.UnionType, typing.Union):
            return self._value(typing.get_args(kind)[fuzz.integers(len(typing.get_args(kind)))])
        if origin is list:
            lengths = [60, 3] if name == "trials" else [0, 1, 2, 2, 9, 10, 300]
            return [self._value(typing.get_args(kind)[0]) for _ in range(fuzz.choice(lengths))]
        if origin is dict:
            keys = ["0", "1", "3", "4", "betas", "a.weight", "12", "x"]
            return {key: self._value(typing.get_args(kind)[1]) for key in fuzz.choice(keys, 5)}
        if isinstance(kind, type) and issubclass(kind, Said):
            return self._said(kind)
        if kind is bool:
            return bool(fuzz.random() < 0.5)
        if kind is int:
            return int(fuzz.choice([0, 1, 2, 9, 10, 1000, 10**9, 2**62]))
        if kind is float:
            return float(fuzz.choice([0.0, 1.0, 2.5, 9.0, -1.0, 1e6, 1e300]))
        assert kind is str
        return str(fuzz.choice(["", "int", "[B]", "x" * 5000, "torch.float32", "torch.int64"]))


class Silent:
    """A sandbox that is never asked."""

    def renew(self) -> None:
        pass


def judged(row_id: str, seed: int) -> Row:
    bench = HostileBench(Silent(), "", np.random.default_rng(seed), LAB.policy())
    bench.fuzz = np.random.default_rng([seed, 1])
    row = LAB.row(row_id)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is divided by zero is found wrong all the same
        try:
            judgement = LAB.judge(row_id)(bench)
        except ProbeFailure:
            return Row(row_id, row.points, Verdict.FAILED)
        diagnose(LAB.misconceptions(row_id), judgement.observations)
    return Row.from_checks(row_id, row.points, judgement.checks)


@pytest.mark.parametrize("row_id", ROWS)
def test_no_judge_stumbles_over_what_comes_back(row_id):
    assert_bounded(row_id, range(8))


@pytest.mark.slow
@pytest.mark.parametrize("row_id", ROWS)
def test_no_judge_stumbles_over_what_comes_back_a_thousand_times(row_id):
    assert_bounded(row_id, range(1000, 2000))


def assert_bounded(row_id: str, seeds: range) -> None:
    """Noise earns nothing to speak of: a check that looks at one property alone may be passed by chance."""
    for seed in seeds:
        row = judged(row_id, seed)
        assert row.verdict is not Verdict.GRADER_ERROR, (row_id, seed)
        assert math.isfinite(row.points)
        assert row.points <= row.max / 2, (row_id, seed, [(check.id, check.points) for check in row.checks])
