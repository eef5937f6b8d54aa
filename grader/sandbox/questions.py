"""Questions that a probe asks the grader in the middle of a call: what may arrive, and who answers.

What arrives is hostile, and whoever answers never sees anything that deviates from what was declared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grader.records import Verdict
from grader.worker import wire

from .base import ProbeFailure, SandboxFault

Tables = dict[str, NDArray[np.float32]]
HEAD = 1 << 16  # bytes that the names and shapes of a frame's tensors may take
LONGEST = 40  # characters of what a submission sent that are shown


@dataclass(frozen=True)
class Questions:
    """What one call of a probe may ask, at most `most` times; `answer(question, tensors)` gives the reply's tensors.

    choices: {key: its values} of the question's JSON object, which has exactly these keys.
    tensors: {name: shape of a row}; float32, finite, all with the same number of rows, 1 to `rows`.
    A ProbeFailure of `answer` ends the call with it; any other exception is a fault of ours.
    The time that `answer` takes is not the submission's.
    """

    answer: Callable[[dict[str, Any], Tables], Mapping[str, NDArray[Any]]]
    tensors: Mapping[str, tuple[int, ...]]
    rows: int
    most: int
    choices: Mapping[str, frozenset[Any]]

    def reply(self, question: Any, blob: bytes) -> Mapping[str, NDArray[Any]]:
        """Check what arrived, and answer it. Raises ProbeFailure, WireError or SandboxFault."""
        self._accept(question)
        tables = self._taken(blob)
        try:
            return self.answer(question, tables)
        except (ProbeFailure, SandboxFault):
            raise
        except Exception as error:
            raise SandboxFault(f"a question was not answered: {error!r}") from error

    def _accept(self, question: Any) -> None:
        if not isinstance(question, dict) or question.keys() != self.choices.keys():
            raise wire.WireError(f"a question of another form: {_short(question)}")
        for key, values in self.choices.items():
            value = question[key]
            if isinstance(value, list | dict) or not any(type(value) is type(one) and value == one for one in values):
                raise wire.WireError(f"a question whose {key} is {_short(value)}")

    def _taken(self, blob: bytes) -> Tables:
        most = 4 * self.rows * sum(int(np.prod(shape, dtype=int)) for shape in self.tensors.values())
        if len(blob) > most + HEAD:
            raise wire.WireError(f"a question of {len(blob)} bytes is over {most + HEAD}")
        arrays = wire.decode_arrays(blob)
        if arrays.keys() != self.tensors.keys():
            raise wire.WireError(f"a question with the tensors {_short(sorted(arrays))}")
        counts = set()
        for name, shape in self.tensors.items():
            array = arrays[name]
            if array.dtype != np.float32:
                raise wire.WireError(f"a question with '{_short(name)}' of dtype {array.dtype}")
            if array.ndim != 1 + len(shape) or array.shape[1:] != shape or not 1 <= len(array) <= self.rows:
                expected = f"(n, {', '.join(map(str, shape))})".replace(", )", ",)")
                text = (
                    f"asked with {name} of shape {_short(array.shape)} where {expected} with n of at most {self.rows:,}"
                )
                raise ProbeFailure(Verdict.CRASHED, f"{text} is expected")
            if not np.isfinite(array).all():
                raise ProbeFailure(Verdict.FAILED, f"asked with {name} that is NaN or infinite")
            counts.add(len(array))
        if len(counts) > 1:
            raise wire.WireError(f"a question whose tensors have {sorted(counts)} rows")
        return {name: arrays[name] for name in self.tensors}


def _short(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
