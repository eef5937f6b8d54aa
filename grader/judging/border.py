"""The border between a sandbox and the judges: what may come back from a probe, and what is said of the rest.

A judge declares what it asks for as an `Expects`, and is handed an `Answer` that holds nothing else. What came back and
does not fit is the submission's failure, in words; no judge ever reads it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from grader.judging.comparison import not_finite
from grader.records import Verdict
from grader.sandbox import Answer as RawAnswer
from grader.sandbox import ProbeFailure

FLOATING = frozenset({"float16", "float32", "float64"})
WHOLE = frozenset({"int8", "int16", "int32", "int64", "uint8"})
NUMBERS = FLOATING | WHOLE | {"bool"}
LARGEST = 1e6  # a number beyond it has nothing to do with unit noise and data in [-1, 1]
MOST = 1 << 21  # numbers of a tensor whose shape is left open
MOST_AXES = 8

Line = Annotated[str, StringConstraints(max_length=4096)]
Count = Annotated[int, Field(ge=0, le=10**9)]  # of things in the sandbox: nothing is ever walked up to it


class Unfit(Enum):
    """In which way a tensor is not what was asked for."""

    SHAPE = auto()
    DTYPE = auto()
    NOT_FINITE = auto()
    TOO_LARGE = auto()


@dataclass(frozen=True)
class Misfit:
    """A tensor that came back and does not fit, in words; `shape` is what it has, in any case."""

    kind: Unfit
    expected: str
    got: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Tensor:
    """What one tensor may be. `shape` None: any of at most `most` numbers.

    `largest` bounds the absolute values. `finite` False lets NaN and infinity through, for a judge that names them.
    """

    shape: tuple[int, ...] | None = None
    dtypes: frozenset[str] = FLOATING
    largest: float = LARGEST
    finite: bool = True
    most: int = MOST

    def misfit(self, value: NDArray[Any]) -> Misfit | None:
        """What is wrong with a value: its form first, then its numbers."""
        if self.shape is None:
            if value.size > self.most or value.ndim > MOST_AXES:
                return Misfit(Unfit.SHAPE, f"at most {self.most} numbers", f"shape {value.shape}", value.shape)
        elif value.shape != self.shape:
            return Misfit(Unfit.SHAPE, f"shape {self.shape}", f"shape {value.shape}", value.shape)
        if value.dtype.name not in self.dtypes:
            kind = "a floating-point tensor" if self.dtypes <= FLOATING else "a tensor of whole numbers"
            return Misfit(Unfit.DTYPE, kind, f"dtype {value.dtype}", value.shape)
        if value.dtype.name not in FLOATING:
            return None
        if self.finite and (bad := not_finite(value)):
            return Misfit(Unfit.NOT_FINITE, "finite numbers", bad, value.shape)
        finite = np.isfinite(value)
        size = float(np.abs(value, where=finite, out=np.zeros(value.shape, value.dtype)).max(initial=0))
        if size > self.largest:
            return Misfit(Unfit.TOO_LARGE, f"numbers within ±{self.largest:g}", f"up to {size:.3g}", value.shape)
        return None


class Said(BaseModel):
    """What a probe says besides tensors: a subclass names every value, its type and its bounds. Nothing by default."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


@dataclass(frozen=True)
class Expects:
    """What one request may be answered with. A tensor may also be left out: its judge says what that means.

    `families`: tensors by how their names begin, where a submission gives the rest of them, as a network's do.
    """

    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    said: type[Said] = Said
    families: Mapping[str, Tensor] = field(default_factory=dict)

    @classmethod
    def alike(cls, names: Iterable[str], tensor: Tensor, said: type[Said] = Said) -> Expects:
        """Several tensors of one kind."""
        return cls(dict.fromkeys(names, tensor), said)

    def __or__(self, tensors: Mapping[str, Tensor]) -> Expects:
        """The same with more tensors."""
        return Expects({**self.tensors, **tensors}, self.said, self.families)

    def of(self, name: str) -> Tensor | None:
        """What a tensor of this name may be; None for one that was not asked for."""
        family = (tensor for start, tensor in self.families.items() if name.startswith(start))
        return self.tensors[name] if name in self.tensors else next(family, None)


class Tensors(dict[str, NDArray[Any]]):
    """The tensors that fit. One that does not, or did not come, is a failure of whose code was to give it."""

    def __init__(self, fitting: Mapping[str, NDArray[Any]], misfits: Mapping[str, Misfit]) -> None:
        super().__init__(fitting)
        self._misfits = misfits

    def __missing__(self, name: str) -> NDArray[Any]:
        wrong = self._misfits.get(name)
        got = f"{wrong.got} instead of {wrong.expected}" if wrong else "not there"
        raise ProbeFailure(Verdict.FAILED, f"what came back is not what was asked for: '{name}' is {got}")


@dataclass(frozen=True)
class Answer:
    """What a judge sees: `said` of the class that it declared, the tensors that fit, and what the others are."""

    said: Any
    arrays: Tensors
    misfits: Mapping[str, Misfit] = field(default_factory=dict)

    def shape(self, name: str) -> tuple[int, ...] | None:
        """The shape of a tensor, fitting or not; None where none came."""
        if name in self.arrays:
            return self.arrays[name].shape
        return self.misfits[name].shape if name in self.misfits else None


def held(raw: RawAnswer, expects: Expects) -> Answer:
    """An answer held to what was declared. Raises ProbeFailure for one that says something else."""
    asked = {name: tensor for name in raw.arrays if (tensor := expects.of(name))}
    strange = [name for name in raw.arrays if name not in asked]
    if strange:
        raise _not_asked(f"{len(strange)} tensors that were not asked for, such as '{strange[0][:80]}'")
    try:
        said = expects.said.model_validate(raw.data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"]))[:80]
        raise _not_asked(f"'{place}', which {first['msg'][:200]}") from error
    except RecursionError as error:
        raise _not_asked("values nested too deeply") from error
    fitting: dict[str, NDArray[Any]] = {}
    misfits: dict[str, Misfit] = {}
    for name, value in raw.arrays.items():
        wrong = asked[name].misfit(value)
        if wrong is None:
            fitting[name] = value
        else:
            misfits[name] = wrong
    return Answer(said, Tensors(fitting, misfits), misfits)


def _not_asked(what: str) -> ProbeFailure:
    return ProbeFailure(Verdict.FAILED, f"the answer is none of the probe's: it holds {what}")


def tamed(values: NDArray[Any]) -> NDArray[np.float64]:
    """In float64, with NaN for what is not finite or beyond LARGEST: what is computed with it neither matches anything
    nor overflows."""
    values = values.astype(np.float64)
    return np.where(np.abs(np.nan_to_num(values, nan=np.inf)) <= LARGEST, values, np.nan)
