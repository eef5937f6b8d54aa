"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A draft beside `path`, which takes its place in one step where the block ends well and is removed otherwise."""
    # The number is of this thread alone, and the same in a later run: what a killed one left is written over.
    draft = path.with_name(f".{path.name}.{threading.get_native_id()}.draft")
    try:
        yield draft
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Replace the file at `path` in one step, so that no reader and no interrupted run sees half of it."""
    with replacing(path) as draft:
        draft.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
