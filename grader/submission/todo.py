"""TODO blocks of the lab's files: where they are, and the text around them.

A block is the lines from `##### TODO half.row #####` to `##### END TODO half.row #####`. A row of
the rubric may have several blocks, told apart by a part: `##### TODO half.row (part) #####`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_MARKER = re.compile(
    r"^[ \t]*#{3,}[ \t]*(?P<end>END[ \t]+)?TODO[ \t]+(?P<id>[a-z0-9_]+\.[a-z0-9_]+)"
    r"(?:[ \t]+\((?P<part>[^)]*)\))?[ \t]*#{3,}[ \t]*\r?$"
)


@dataclass(frozen=True)
class Given:
    """Text outside the blocks. Lines are counted from 1; `last` is included. `text` keeps its line ends."""

    first: int
    last: int
    text: str


@dataclass(frozen=True)
class Block:
    """A TODO block. `first` and `last` are the lines of its two markers, which `text` includes."""

    id: str
    part: str
    first: int
    last: int
    text: str

    @property
    def name(self) -> str:
        """The id as the markers have it, such as `half.row (part)`."""
        return f"{self.id} ({self.part})" if self.part else self.id

    @property
    def begin_marker(self) -> str:
        return self.text[: self.text.index("\n") + 1]

    @property
    def body(self) -> str:
        """The text between the two markers: comments of the task and the answer."""
        return self.text[self.text.index("\n") + 1 : len(self.text) - len(self.end_marker)]

    @property
    def end_marker(self) -> str:
        return self.text[self.text.rstrip("\n").rindex("\n") + 1 :]


Segment = Given | Block


def split(text: str) -> list[Segment]:
    """Cuts a file into given text and TODO blocks; joining the segments' `text` gives `text` back.

    Line ends (LF or CRLF) stay as they are. Raises ValueError, naming the line, where markers do not pair up.
    """
    segments: list[Segment] = []
    lines = re.findall(r"[^\n]*\n|[^\n]+", text)  # not splitlines(), which cuts at form feeds as well
    start = 0  # index of the first line that is in no segment yet
    open_name: tuple[str, str] | None = None
    for index, marker in _markers(lines):
        name = (marker["id"], marker["part"] or "")
        if marker["end"] is None:
            if open_name is not None:
                raise ValueError(
                    f"line {index + 1}: TODO {_show(name)} begins before the END marker of "
                    f"TODO {_show(open_name)}, which began in line {start + 1}"
                )
            if index > start:
                segments.append(Given(start + 1, index, "".join(lines[start:index])))
            start, open_name = index, name
        elif open_name != name:
            began = f"TODO {_show(open_name)} is open" if open_name else "no TODO is open"
            raise ValueError(f"line {index + 1}: END marker of TODO {_show(name)}, but {began}")
        else:
            segments.append(Block(*name, start + 1, index + 1, "".join(lines[start : index + 1])))
            start, open_name = index + 1, None
    if open_name is not None:
        raise ValueError(f"line {start + 1}: TODO {_show(open_name)} has no END marker")
    if start < len(lines):
        segments.append(Given(start + 1, len(lines), "".join(lines[start:])))
    _refuse_twins(segments)
    return segments


def blocks(text: str) -> list[Block]:
    """The TODO blocks of a file, in its order. Raises ValueError as split() does."""
    return [segment for segment in split(text) if isinstance(segment, Block)]


def _markers(lines: list[str]) -> Iterator[tuple[int, re.Match[str]]]:
    for index, line in enumerate(lines):
        if marker := _MARKER.match(line.rstrip("\n")):
            yield index, marker


def _show(name: tuple[str, str]) -> str:
    return f"{name[0]} ({name[1]})" if name[1] else name[0]


def _refuse_twins(segments: list[Segment]) -> None:
    seen: dict[str, int] = {}
    for segment in segments:
        if isinstance(segment, Block):
            if segment.name in seen:
                raise ValueError(
                    f"line {segment.first}: TODO {segment.name} stands in line {seen[segment.name]} already"
                )
            seen[segment.name] = segment.first
