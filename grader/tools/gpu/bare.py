"""Stands in for pydantic where that is not installed, for `make gpu` alone: values are read and not checked."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import sys
import types
import typing
from collections.abc import Callable
from enum import Enum
from typing import Any, Self


class ValidationError(Exception):
    """Never raised here."""


class BaseModel:
    """Holds what it is given: nested sections as such, and numbers and enums as the annotations have them."""

    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)

    @classmethod
    def model_validate(cls, values: dict[str, Any]) -> Self:
        hints = _fields(cls)
        given = {name: values[name] if name in values else getattr(cls, name) for name in hints}
        return cls(**{name: _taken(hints[name], value) for name, value in given.items()})

    def model_copy(self, *, update: dict[str, Any] | None = None) -> Self:
        return type(self)(**{**self.__dict__, **(update or {})})

    def model_dump(self) -> dict[str, Any]:
        return {name: _dumped(getattr(self, name)) for name in _fields(type(self))}

    def model_dump_json(self) -> str:
        return json.dumps(self.model_dump(), separators=(",", ":"), ensure_ascii=False)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash(self.model_dump_json())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.__dict__.items())})"


def _fields(kind: type[BaseModel]) -> dict[str, Any]:
    """Names and types of a section's values, those of its base classes first."""
    return {name: hint for name, hint in typing.get_type_hints(kind).items() if name != "model_config"}


def _taken(hint: Any, value: Any) -> Any:
    """A value of the TOML file, or of what a probe says, as pydantic would hold it."""
    if typing.get_origin(hint) is list:
        return [_taken(typing.get_args(hint)[0], item) for item in value]
    if typing.get_origin(hint) is dict:
        return {name: _taken(typing.get_args(hint)[1], item) for name, item in value.items()}
    if typing.get_origin(hint) is tuple:
        kinds = typing.get_args(hint)
        kinds = kinds[:1] * len(value) if kinds[-1] is Ellipsis else kinds
        return tuple(map(_taken, kinds, value))
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        return hint.model_validate(value)
    if isinstance(hint, type) and issubclass(hint, float | Enum):
        return hint(value)
    return value


def _dumped(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_dumped, value))
    return value.model_dump() if isinstance(value, BaseModel) else value


def _field(default_factory: Callable[[], Any] | None = None, **how: Any) -> Any:
    """The default of a field that has one; its limits are nothing to it."""
    return default_factory() if default_factory else None


def _unchecked(*fields: str, **how: Any) -> Callable[[Any], Any]:
    """As a decorator it leaves the function as it is; a field's limits are nothing to it."""
    return lambda function: function


def install_where_missing() -> bool:
    """Have `import pydantic` find this where it would find nothing; returns whether this was needed."""
    known = sys.modules.get("pydantic")
    if known is not None:
        return bool(getattr(known, "bare", False))
    if importlib.util.find_spec("pydantic") is not None:
        return False
    module = types.ModuleType("pydantic", __doc__)
    module.__spec__ = importlib.machinery.ModuleSpec(
        "pydantic", None
    )  # else who looks whether it is there gets an error
    names = {"BaseModel": BaseModel, "ValidationError": ValidationError, "ConfigDict": dict, "bare": True}
    names |= dict.fromkeys(("StringConstraints", "field_validator", "model_validator"), _unchecked)
    names |= {"Field": _field}
    for name, value in names.items():
        setattr(module, name, value)
    sys.modules["pydantic"] = module
    return True
