"""Files that are written whole or not at all, and a stranger's files, which are read as plain files or not at all."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

# What is wrong with the machine and not with a file: a full disk, a quota, a drive that is gone.
MACHINE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.EROFS})


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


# --- what a stranger wrote


class NotPlain(OSError):
    """What is not read, as it is no plain file or a larger one than is wanted; `strerror` says which."""

    def __init__(self, why: str, path: Path) -> None:
        super().__init__(errno.EINVAL, why, path.name)


def of_the_machine(error: BaseException) -> bool:
    """Whether an error would meet every other submission as well."""
    return isinstance(error, OSError) and error.errno in MACHINE


@contextmanager
def opened(path: Path, most: int | None = None, links: bool = False) -> Iterator[BufferedReader]:
    """A stranger's file for reading: a plain one of at most `most` bytes, and nothing that one would wait for.

    A link as the last part of the path is followed only where `links` are asked for. Hard links cannot be told from
    files: whoever unpacks what strangers sent must not let them make any. Raises OSError, such as NotPlain.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | (0 if links else os.O_NOFOLLOW)
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # a link; a socket
            raise NotPlain("not a plain file", path) from error
        raise
    status = os.fstat(descriptor)  # of what was opened: whatever the name stands for by now
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise NotPlain("not a plain file", path)
    with os.fdopen(descriptor, "rb") as file:
        if most is not None and status.st_size > most:
            raise NotPlain(f"larger than {most:,} bytes", path)
        yield file


def read_plain(path: Path, most: int, links: bool = False) -> bytes:
    """The content of a stranger's plain file of at most `most` bytes. Raises OSError, such as NotPlain."""
    with opened(path, most, links) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise NotPlain(f"larger than {most:,} bytes", path)
    return data


def is_plain(path: Path) -> bool:
    """Whether this is a file of its own: no link, no pipe, no folder."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except (OSError, ValueError):
        return False
