"""Decisions that are an instructor's, read from TOML and checked: limits here, whatever else in a lab's own class."""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from grader.errors import UsageError

Seconds = Annotated[float, Field(gt=0, le=1e6)]
Count = Annotated[int, Field(ge=1, le=10**9)]
Share = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """A table of the TOML file. Values have the types that they are declared with: "4" is no number."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class Limits(Section):
    """Limits of the worker that runs one submission; units are in the names."""

    import_s: Seconds
    probe_s: Seconds
    cpu_s: Count
    submission_s: Seconds
    wall_s: Seconds
    grader_mib: Annotated[int, Field(ge=512, le=10**7)]
    memory_mib: Annotated[int, Field(ge=512, le=10**7)]
    total_memory_mib: Annotated[int, Field(ge=512, le=10**7)]
    processes: Annotated[int, Field(ge=2, le=100_000)]
    file_mib: Count
    scratch_mib: Count
    output_mib: Count
    answer_mib: Count


class Policy(Section):
    """What every lab has; a lab's own class adds sections."""

    limits: Limits

    @property
    def digest(self) -> str:
        """Of all values: results under another policy are not taken up again."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]


Kind = TypeVar("Kind", bound=Policy)


def read_policy(kind: type[Kind], shipped: Path, path: Path | None = None) -> Kind:
    """The `shipped` policy, overridden by the file at `path`. Raises UsageError that names file, key and value."""
    data = tomllib.loads(shipped.read_text(encoding="utf-8"))
    if path is None:
        return kind.model_validate(_tuples(data))
    try:
        other = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"cannot read the policy {path}: {error}") from error
    _override(data, other, path)
    try:
        return kind.model_validate(_tuples(data))
    except ValidationError as error:
        raise UsageError("\n".join(f"{path}: {line}" for line in _in_words(error))) from error


def _override(base: dict[str, Any], other: dict[str, Any], where: Path) -> None:
    for section, values in other.items():
        if section not in base:
            raise UsageError(f"{where}: unknown section [{section}]; known are {', '.join(base)}")
        if not isinstance(values, dict):
            raise UsageError(
                f"{where}: {section} = {values!r}, but [{section}] is a section: {', '.join(base[section])}"
            )
        for key, value in values.items():
            if key not in base[section]:
                raise UsageError(f"{where}: unknown key {section}.{key}; known are {', '.join(base[section])}")
            base[section][key] = value


def _tuples(value: Any) -> Any:
    """TOML's lists as the tuples that frozen sections hold."""
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _in_words(error: ValidationError) -> list[str]:
    """A line for each value that is not allowed: key, value, what is allowed."""
    lines = []
    for problem in error.errors(include_url=False):
        key = ".".join(map(str, problem["loc"]))
        said = problem["msg"].removeprefix("Value error, ")
        value = (
            ""
            if problem["type"] == "value_error" and isinstance(problem["input"], dict)
            else f" = {_toml(problem['input'])}"
        )
        lines.append(f"{key}{value}: {said[0].lower()}{said[1:]}")
    return lines


def _toml(value: Any) -> str:
    """A value as it stands in the file, or nearly."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_toml, value))}]"
    return f'"{value}"' if isinstance(value, str) else repr(value)
