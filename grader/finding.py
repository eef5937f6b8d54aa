"""What is found wrong with a value. Students are given this file: their own check says it in the same order."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Finding:
    """What is wrong with a computed value, in the order in which a student reads it."""

    checked: str
    expected: str
    got: str
    where: str = ""
    equation: str = ""

    def __str__(self) -> str:
        return "\n".join(f"{name}: {text}" for name, text in asdict(self).items() if text)
