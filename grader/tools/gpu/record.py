"""gpu.json, and gpu.md beside it: what the parts found, each with when, on which commit, and how it ended."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import Any

from grader.errors import UsageError
from grader.files import write_atomically

SCHEMA = 1


class Outcome(StrEnum):
    """How a part ended."""

    DONE = "done"
    FAILED = "failed"  # it raised, or a check of its own was not met
    LATE = "out of time"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class Part:
    """A part of the command: a module with `run(session)` and `table(values)`, lines of Markdown."""

    name: str
    about: str
    module: str
    private: bool = False  # runs submissions: where the sandbox `user` does it, from a copy closed to other users

    def table(self, values: dict[str, Any]) -> list[str]:
        lines: list[str] = import_module(self.module).table(values)
        return lines


def read(path: Path, machine: dict[str, Any]) -> dict[str, Any]:
    """The record at `path`, or a new one. Raises UsageError where it is damaged or of another card."""
    if not path.exists():
        return {"schema": SCHEMA, "machine": machine, "parts": {}}
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        card = record["machine"]["card"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} is no record of this command ({error!r}): name another file with --out") from error
    if card != machine["card"]:
        raise UsageError(f"{path} is of another card ({card}; here is {machine['card']}): name another file with --out")
    return record | {"machine": machine}


def merged(record: dict[str, Any], name: str, entry: dict[str, Any]) -> dict[str, Any]:
    """The record with a part's new results, the others as they were; what was interrupted replaces nothing."""
    if entry["outcome"] == Outcome.INTERRUPTED and name in record["parts"]:
        return record
    return record | {"parts": record["parts"] | {name: entry}}


def write(path: Path, record: dict[str, Any], parts: list[Part]) -> None:
    """Both files, each in one step."""
    write_atomically(path, json.dumps(record, indent=1, default=str) + "\n")
    write_atomically(path.with_suffix(".md"), markdown(record, parts))


def markdown(record: dict[str, Any], parts: list[Part]) -> str:
    """The record as a page: the machine, a line a part, and each part's own table."""
    machine, found = record["machine"], record["parts"]
    told = [f"{name} {value}" for name, value in machine.items() if name != "card" and value is not None]
    lines = [f"# {machine['card']}", "", ", ".join(told) + ".", ""]
    lines += rows(["part", "outcome", "seconds", "date", "commit"])
    known = [part for part in parts if part.name in found]
    for part in known:
        entry = found[part.name]
        lines += rows(
            [part.name, entry["outcome"], entry["seconds"], entry["date"], entry["commit"] or "?"], head=False
        )
    for part in known:
        lines += ["", f"## {part.name}: {part.about}", "", *_body(part, found[part.name])]
    return "\n".join(lines) + "\n"


def _body(part: Part, entry: dict[str, Any]) -> list[str]:
    try:
        lines = part.table(entry["values"])
    except Exception as error:  # of a part that was stopped early, or of an older form: the JSON has it all
        lines = [f"(no table: {error!r})"]
    checks = [
        f"- {'met' if check['met'] else '**not met**'}: {check['what']}: {check['got']}" for check in entry["checks"]
    ]
    failed = [f"- {entry['error'].splitlines()[-1]}"] if entry["error"] else []
    return [*lines, *([""] if checks or failed else []), *checks, *failed]


def rows(cells: list[Any], head: bool = True) -> list[str]:
    """A line of a Markdown table; with `head` the line below that makes it one."""
    line = "| " + " | ".join(_cell(cell) for cell in cells) + " |"
    return [line, "|" + " --- |" * len(cells)] if head else [line]


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value).replace("|", "\\|")
