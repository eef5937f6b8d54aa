"""Landlock: a process gives up writing anywhere but below some folders, for itself and all that it starts."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable
from contextlib import suppress

CREATE, ADD, RESTRICT = 444, 445, 446  # system calls, the same on every machine
WRITE_FILE, REFER, TRUNCATE = 1 << 1, 1 << 13, 1 << 14
MAKE_AND_REMOVE = sum(1 << bit for bit in range(4, 13))


def version() -> int:
    """Of Landlock in this kernel; 0 where it is missing or switched off."""
    return max(0, _call(CREATE, None, 0, 1))


def write_only_below(folders: Iterable[str], files: Iterable[str], known: int) -> None:
    """Nothing outside of `folders` can be written, made or removed from here on; `files` can be written.

    `known` is the version; files that are missing are left out. Takes PR_SET_NO_NEW_PRIVS. Raises OSError.
    """
    of_files = WRITE_FILE | (TRUNCATE if known >= 3 else 0)
    handled = of_files | MAKE_AND_REMOVE | (REFER if known >= 2 else 0)
    rules = _checked(_call(CREATE, ctypes.byref(ctypes.c_uint64(handled)), 8, 0))
    try:
        for folder in folders:
            _allow(rules, folder, handled)
        for file in files:
            with suppress(FileNotFoundError):
                _allow(rules, file, of_files)
        _checked(_call(RESTRICT, rules, 0))
    finally:
        os.close(rules)


def _allow(rules: int, path: str, what: int) -> None:
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rule = what.to_bytes(8, "little") + place.to_bytes(4, "little")
        _checked(_call(ADD, rules, 1, ctypes.create_string_buffer(rule, len(rule)), 0))
    finally:
        os.close(place)


def _call(number: int, *arguments: object) -> int:
    return int(ctypes.CDLL(None, use_errno=True).syscall(number, *arguments))


def _checked(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), f"Landlock: {os.strerror(ctypes.get_errno())}")
    return result
