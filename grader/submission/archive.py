"""Lists and reads a submission, ZIP or folder, as regular files with safe names.

Nothing here trusts the archive: names are made relative, sizes are counted while they are read, and only the
two ordinary compressions are read, because zipfile inflates the others without a bound.
"""

from __future__ import annotations

import itertools
import os
import re
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

from grader.files import of_the_machine, opened
from grader.submission.encodings import guess

MIB = 1024 * 1024
MAX_ENTRIES = 10_000
MAX_FILE = 200 * MIB
MAX_TOTAL = 1024 * MIB
MAX_DIRECTORY = 16 * MIB  # a ZIP's central directory; 10,000 entries with long names need less
MAX_RATIO = 200  # deflate's limit is 1032:1, which only constant bytes reach
RATIO_FROM = 10 * MIB  # smaller files may shrink as much as they like
MAX_NAME = 255  # bytes of one part of a name, the limit of common file systems
MAX_PATH = 1000  # bytes
MAX_DEPTH = 60  # parts of a name; what walks through folders does so by recursion
CODE = frozenset({".py", ".ipynb"})

JUNK = frozenset(
    {
        "__macosx",
        ".ds_store",
        "thumbs.db",
        "desktop.ini",
        "__pycache__",
        ".git",
        ".ipynb_checkpoints",
        ".venv",
        "venv",
        "site-packages",
        ".idea",
        ".vscode",
        ".mypy_cache",
        ".pytest_cache",
        ".ruff_cache",
        "node_modules",
    }
)

OTHER_FORMATS = {
    b"Rar!": "a RAR archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"\x1f\x8b": "a gzip or tar.gz file",
    b"%PDF": "a PDF",
    b"\xfd7zXZ": "an xz file",
    b"<": "a web page",
}

READ_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    NotImplementedError,
    RuntimeError,
    EOFError,
    OSError,
    struct.error,
    ValueError,
    OverflowError,
)
CHUNK = MIB


class Unreadable(Exception):
    """The submission as a whole cannot be graded; the message says what, where and what to do next."""


@dataclass(frozen=True)
class Entry:
    """A regular file of the submission: safe relative name, size as declared, and where it is read from."""

    name: str
    size: int
    source: zipfile.ZipInfo | Path

    @property
    def is_code(self) -> bool:
        return Path(self.name).suffix.lower() in CODE

    @property
    def is_source(self) -> bool:
        return self.name.lower().endswith(".py")


class Archive:
    """The files of one ZIP or folder, as a context manager. Raises Unreadable for the broken and hostile."""

    def __init__(self, path: Path):
        self.path = path
        self.remarks: list[str] = []
        self._zip: zipfile.ZipFile | None = None
        self._open_files = ExitStack()
        if not path.is_dir():
            try:
                self._zip = self._opened_zip()
            except BaseException:
                self._open_files.close()
                raise

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *exc: object) -> None:
        self._open_files.close()

    def _opened_zip(self) -> zipfile.ZipFile:
        try:
            file = self._open_files.enter_context(opened(self.path, links=True))
        except OSError as error:
            raise unreadable(f"cannot read {printable(self.path.name)}: {reason(error)}", error) from error
        check_is_zip(file, self.path)
        try:
            return self._open_files.enter_context(zipfile.ZipFile(file))
        except READ_ERRORS as error:
            text = f"{self.path.name} is a damaged ZIP ({reason(error)}): make the ZIP anew"
            raise unreadable(text, error) from error

    def entries(self) -> list[Entry]:
        """All regular files except junk, sorted by name; no name is twice there, or the folder of another."""
        what = "ZIP" if self._zip else "folder"
        found = without_junk(self._zip_entries(self._zip) if self._zip else self._folder_entries())
        names: set[str] = set()
        for entry in found:
            if entry.name in names:
                raise Unreadable(
                    f"the {what} holds two different files named '{entry.name}': leave one of them out and make "
                    "the ZIP anew"
                )
            names.add(entry.name)
        for name in names:
            for parent in Path(name).parents:
                if str(parent) in names:
                    raise Unreadable(f"the {what} holds '{parent}' both as a file and as a folder: make the ZIP anew")
        return sorted(found, key=lambda entry: entry.name)

    def chunks(self, entry: Entry) -> Iterator[bytes]:
        """The content of an entry, piece by piece. Raises Unreadable where the archive is damaged."""
        try:
            with self._open(entry) as source:
                while chunk := source.read(CHUNK):
                    yield chunk
        except READ_ERRORS as error:
            raise unreadable(
                f"'{entry.name}' cannot be read from {self.path.name} ({reason(error)}): "
                "check that it opens, make the ZIP anew and hand in again",
                error,
            ) from error

    def _open(self, entry: Entry) -> AbstractContextManager[IO[bytes]]:
        if isinstance(entry.source, Path):
            return opened(entry.source)
        assert self._zip
        return self._zip.open(entry.source)

    def _zip_entries(self, archive: zipfile.ZipFile) -> list[Entry]:
        infos = archive.infolist()
        if len(infos) > MAX_ENTRIES:
            raise too_many(self.path, len(infos))
        check_overlap(infos, self.path)
        files: dict[str, Entry] = {}
        for info, raw in zip(infos, decoded_names(infos), strict=True):
            name = safe_name(raw)
            if info.is_dir() or raw.endswith(("/", "\\")) or not name or is_junk(name):
                continue
            check_info(info, name)
            entry = Entry(name, info.file_size, info)
            if name in files and not same(files[name].source, info):
                raise Unreadable(
                    f"the ZIP holds two different files named '{name}': leave one of them out and make the ZIP anew"
                )
            files[name] = entry
        return list(files.values())

    def _folder_entries(self) -> list[Entry]:
        return list(self._walk(self.path, "", [0]))

    def _walk(self, folder: Path, prefix: str, seen: list[int]) -> Iterator[Entry]:
        try:
            with os.scandir(folder) as scan:
                items = sorted(scan, key=lambda item: item.name)
        except OSError as error:
            shown = printable(folder.name)
            raise unreadable(f"the folder '{shown}' cannot be read ({reason(error)})", error) from error
        if prefix.count("/") > MAX_DEPTH:
            raise too_deep(prefix)
        for item in items:
            name = prefix + item.name
            if is_junk(item.name):
                continue
            seen[0] += 1
            if seen[0] > MAX_ENTRIES:
                raise too_many(self.path, seen[0])
            try:
                status = item.stat(follow_symlinks=False)
            except OSError as error:
                raise unreadable(f"'{printable(name)}' cannot be read ({reason(error)})", error) from error
            mode = status.st_mode
            if stat.S_ISDIR(mode):
                yield from self._walk(Path(item.path), name + "/", seen)
            elif stat.S_ISREG(mode):
                yield Entry(safe_name(name), status.st_size, Path(item.path))
            else:
                kind = "a link" if stat.S_ISLNK(mode) else "not a regular file"
                self.remarks.append(f"left out '{printable(name)}', which is {kind}")


def check_is_zip(file: BinaryIO, path: Path) -> None:
    """Refuse, before anything is parsed, what is no ZIP or has too many entries."""
    try:
        size = os.fstat(file.fileno()).st_size
        head = file.read(8)
        file.seek(max(0, size - 65_557))  # the end record, 22 bytes, and the longest comment after it
        tail = file.read(65_557)
        file.seek(0)
    except OSError as error:
        raise unreadable(f"cannot read {path.name}: {error.strerror}", error) from error
    end = tail.rfind(b"PK\5\6")
    if end < 0 or len(tail) - end < 22:
        raise Unreadable(f"{path.name} {what_else(head, size)}: hand in a complete ZIP")
    count, directory = struct.unpack("<HL", tail[end + 10 : end + 16])
    if count > MAX_ENTRIES:
        raise too_many(path, count)
    if directory > MAX_DIRECTORY:
        raise Unreadable(
            f"{path.name} has a table of contents of {directory / MIB:.0f} MiB, which no real "
            "submission has: make the ZIP anew"
        )


def unreadable(text: str, error: BaseException) -> Unreadable:
    """What a submission that met `error` is refused with; a fault of the machine is raised instead, as it is."""
    if of_the_machine(error):
        raise error
    return Unreadable(text)


def what_else(head: bytes, size: int) -> str:
    if not size:
        return "is an empty file, not a ZIP"
    if head.startswith(b"PK"):
        return "is a ZIP that breaks off before its end (an interrupted upload?)"
    kind = next((name for magic, name in OTHER_FORMATS.items() if head.startswith(magic)), "")
    return f"is {kind}, not a ZIP" if kind else "is not a ZIP"


def too_many(path: Path, count: int) -> Unreadable:
    at_least = "65,535 or more" if count >= 0xFFFF else f"{count:,}"
    return Unreadable(
        f"{path.name} has {at_least} entries, at most {MAX_ENTRIES:,} are read: leave out "
        "data, results and virtual environments, and hand in again"
    )


def too_deep(name: str) -> Unreadable:
    return Unreadable(
        f"'{printable(name)[:80]}...' lies below more than {MAX_DEPTH} folders: move it up, and hand in again"
    )


def check_overlap(infos: list[zipfile.ZipInfo], path: Path) -> None:
    """Entries that share compressed bytes are how a small ZIP holds petabytes."""
    ordered = sorted(infos, key=lambda info: info.header_offset)
    for first, second in itertools.pairwise(ordered):
        if first.header_offset + 30 + first.compress_size > second.header_offset:
            raise Unreadable(
                f"in {path.name} the entries '{printable(first.filename)}' and "
                f"'{printable(second.filename)}' overlap, as in a ZIP bomb: make the ZIP anew"
            )


def check_info(info: zipfile.ZipInfo, name: str) -> None:
    """Refuse links, special files, encryption, rare compressions and bombs."""
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        what = "a symbolic link" if kind == stat.S_IFLNK else "a special file"
        raise Unreadable(f"'{name}' is {what}: put the file itself into the ZIP")
    if info.flag_bits & 0x2041:  # encrypted, strongly encrypted, masked headers
        raise Unreadable(f"'{name}' is encrypted: make the ZIP without a password")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise Unreadable(
            f"'{name}' uses a rare compression (method {info.compress_type}): make the ZIP "
            "with the ordinary one, Deflate"
        )
    if info.file_size > RATIO_FROM and info.file_size > MAX_RATIO * max(1, info.compress_size):
        raise Unreadable(
            f"'{name}' would unpack to {info.file_size / MIB:,.0f} MiB, more than {MAX_RATIO} "
            "times its packed size, as in a ZIP bomb: leave it out"
        )


def reason(error: BaseException) -> str:
    """Python's text for a damaged file, without paths of this machine."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return printable(str(error))[:150] or type(error).__name__


def same(first: zipfile.ZipInfo | Path, second: zipfile.ZipInfo) -> bool:
    if isinstance(first, Path):
        return False
    return (first.CRC, first.file_size) == (second.CRC, second.file_size)


def decoded_names(infos: list[zipfile.ZipInfo]) -> list[str]:
    """Names as their writer meant them: without the UTF-8 flag, zipfile has read every byte as cp437."""
    unflagged = [
        info
        for info in infos
        if not info.flag_bits & 0x800 and not info.orig_filename.isascii() and "\0" not in info.orig_filename
    ]
    # all names together are more evidence than one of them
    encoding = guess(b"\n".join(info.orig_filename.encode("cp437") for info in unflagged)) or "cp437"
    meant = {id(info): info.orig_filename.encode("cp437").decode(encoding) for info in unflagged}
    return [meant.get(id(info), info.orig_filename) for info in infos]


def safe_name(name: str) -> str:
    """A relative name with '/' between parts, without control characters. Raises Unreadable for traversal."""
    shown = printable(name)[:200]
    if "\0" in name:
        raise Unreadable(f"the name '{shown}' holds a NUL character, as in an attack: make the ZIP anew")
    parts = name.replace("\\", "/").split("/")  # ZIPs from old .NET programs have backslashes
    if ".." in parts or re.match(r"[A-Za-z]:", parts[0]) or (parts[0] == "" and len(parts) > 1):
        raise Unreadable(f"the name '{shown}' points outside of the submission: use relative names without '..'")
    clean = "/".join(printable(unicodedata.normalize("NFC", part)) for part in parts if part not in ("", "."))
    if len(clean.encode()) > MAX_PATH or any(len(part.encode()) > MAX_NAME for part in clean.split("/")):
        raise Unreadable(
            f"the name '{shown[:80]}...' is too long (at most {MAX_NAME} bytes a part and "
            f"{MAX_PATH} in all): shorten it"
        )
    if clean.count("/") > MAX_DEPTH:
        raise too_deep(clean)
    return clean


def printable(text: str) -> str:
    """`text` with control, direction and unpaired surrogate characters replaced, for names and messages."""
    return "".join("_" if unicodedata.category(char) in ("Cc", "Cf", "Cs") else char for char in text)


def is_junk(name: str) -> bool:
    """What operating systems, editors and environments leave behind."""
    return any(part.lower() in JUNK or part.startswith("._") for part in name.split("/"))


def without_junk(entries: list[Entry]) -> list[Entry]:
    """Drop virtual environments of any name, which their pyvenv.cfg gives away."""
    environments = tuple(
        entry.name.removesuffix("pyvenv.cfg") for entry in entries if entry.name.endswith("/pyvenv.cfg")
    )
    if not environments:
        return entries
    return [entry for entry in entries if not entry.name.startswith(environments)]
