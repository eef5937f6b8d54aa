"""From a submission as handed in, ZIP or folder, to a folder of regular files that is safe to mount."""

from __future__ import annotations

import hashlib
import re
import shutil
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from grader.labs import Lab
from grader.submission.archive import (
    CHUNK,
    MAX_ENTRIES,
    MAX_FILE,
    MAX_NAME,
    MAX_TOTAL,
    MIB,
    Archive,
    Entry,
    Unreadable,
    printable,
    reason,
    too_many,
    unreadable,
)
from grader.submission.encodings import recode
from grader.submission.locate import find_halves, find_report

__all__ = ["Submission", "Unreadable", "stage", "submission_id"]

MAX_SOURCE = 5 * MIB  # of one .py file; what is larger nobody wrote
MAX_SOURCES = 32 * MIB  # of all .py files together: what is more is left out, the largest first
MAX_ID = 100  # characters
MAX_ID_BYTES = 240  # so that the id plus a suffix is still a file name
MAX_REMARKS = 20
MAX_NESTED = 4  # ZIPs inside the submission that are looked into


@dataclass
class Submission:
    """A staged submission. `halves`: those found, relative to `root`. `report` lies below `root`."""

    id: str
    sha256: str
    root: Path
    halves: dict[str, str]
    report: Path | None
    remarks: list[str] = field(default_factory=list)


@dataclass
class Staging:
    """What has been written so far, shared with a nested ZIP so that the limits hold for both together."""

    root: Path
    bytes_left: int = MAX_TOTAL
    sources_left: int = MAX_SOURCES
    files_left: int = MAX_ENTRIES
    remarks: list[str] = field(default_factory=list)


def stage(path: Path, into: Path, lab: Lab) -> Submission:
    """Copy the submission at `path` into the folder `into`, which is empty or not there yet.

    Source is recoded to UTF-8, junk and links of folders are left out, files get mode 0644 and folders 0755.
    Raises Unreadable for a submission that as a whole cannot be graded; what was written until then stays. Raises
    OSError for a fault of the machine alone, such as a full disk.
    """
    try:
        return _stage(path, into, lab)
    except (OSError, RecursionError) as error:  # a name that no disk takes, or whatever else nobody thought of
        raise unreadable(
            f"{printable(path.name)} cannot be unpacked ({reason(error)}): give its files short and plain names, "
            "make the ZIP anew and hand in again",
            error,
        ) from error


def _stage(path: Path, into: Path, lab: Lab) -> Submission:
    name = submission_id(path, lab.suffix)
    staging = Staging(into)
    _make_folder(into, into)
    _unpack(path, into, staging)
    halves, remarks = find_halves(into, lab.halves)
    if len(halves) < len(lab.halves):
        _unpack_nested(into, staging, lab)
        halves, remarks = find_halves(into, lab.halves)
    if not halves:
        raise Unreadable(_nothing_found(path, into, staging.remarks, lab))
    report, report_remarks = find_report(into, list(halves.values()))
    remarks = [*staging.remarks, *remarks, *report_remarks]
    return Submission(name, content_sha256(into, halves, report), into, halves, report, _at_most(remarks))


def submission_id(path: Path, suffix: str) -> str:
    """The ZIP's name without `suffix` and `.zip` (or `.zip` alone), or the folder's; fit to name a folder, never empty.

    What browsers and course systems add to a second file of the same name, as in `7_lab1 (1).zip` and `7_lab1-2.zip`,
    is no part of it.
    """
    name = path.resolve().name
    if not path.is_dir():
        name = re.sub(rf"(?i)({re.escape(suffix)}( ?\(\d+\)|-\d+)?)?\.zip$", "", name)
    name = printable(unicodedata.normalize("NFC", name))
    name = re.sub(r'[<>:"/\\|?*]', "_", name).strip().lstrip(".").strip()[:MAX_ID]
    name = name.encode()[:MAX_ID_BYTES].decode(errors="ignore").rstrip(" .")
    return name or "submission"


def content_sha256(root: Path, halves: dict[str, str], report: Path | None) -> str:
    """SHA-256 in hex of what is graded, whatever wraps it.

    It runs over the staged files of the halves (as "half/name") and the report (as "report.pdf"), sorted by name; each
    adds its name, its length and its content after recoding. ZIP metadata, top folders, junk and the line ends of
    source files do not change it.
    """
    files: dict[str, Path] = {"report.pdf": report} if report else {}
    for key, folder in halves.items():
        for path in sorted((root / folder).rglob("*")):
            if path.is_file():
                files[f"{key}/{path.relative_to(root / folder).as_posix()}"] = path
    digest = hashlib.sha256()
    for name, path in sorted(files.items()):
        digest.update(f"{name}\0{path.stat().st_size}\0".encode())
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
    return digest.hexdigest()


def _unpack(path: Path, target: Path, staging: Staging) -> None:
    with Archive(path) as archive:
        entries = archive.entries()
        staging.files_left -= len(entries)
        if staging.files_left < 0:
            raise too_many(path, MAX_ENTRIES - staging.files_left)
        staging.remarks += archive.remarks
        for entry in _affordable(entries, staging):
            _write(archive, entry, target / entry.name, staging)


def _affordable(entries: list[Entry], staging: Staging) -> list[Entry]:
    """Entries within the limits. What is too much is left out, largest first, with a remark."""
    total = sum(entry.size for entry in entries)
    kept = set(entries)
    sources = sum(entry.size for entry in entries if entry.is_source)
    for entry in sorted(filter(lambda entry: entry.is_source, entries), key=lambda entry: -entry.size):
        if entry.size <= MAX_SOURCE and sources <= staging.sources_left:
            break
        if entry.size > MAX_FILE:
            continue  # refused below
        kept.remove(entry)
        total, sources = total - entry.size, sources - entry.size
        staging.remarks.append(f"left out '{entry.name}' ({entry.size / MIB:,.1f} MiB of code): too large")
    staging.sources_left -= sources
    for entry in sorted(kept, key=lambda entry: (-entry.size, entry.name)):
        if entry.size <= MAX_FILE and total <= staging.bytes_left:
            break
        if entry.is_code and entry.size <= MAX_FILE:
            continue
        if entry.is_code:
            raise Unreadable(
                f"'{entry.name}' would unpack to {entry.size / MIB:,.0f} MiB of code, as in a ZIP bomb: leave it out"
            )
        kept.remove(entry)
        total -= entry.size
        staging.remarks.append(f"left out '{entry.name}' ({entry.size / MIB:,.0f} MiB): too large")
    if total > staging.bytes_left:
        raise Unreadable(f"the submission would unpack to {total / MIB:,.0f} MiB of code, as in a ZIP bomb")
    return [entry for entry in entries if entry in kept]


def _write(archive: Archive, entry: Entry, target: Path, staging: Staging) -> None:
    _make_folder(target.parent, staging.root)
    limit = min(MAX_FILE, staging.bytes_left)
    written = 0
    with target.open("xb") as out:
        for chunk in archive.chunks(entry):
            written += len(chunk)
            if written > limit:
                raise Unreadable(
                    f"'{entry.name}' unpacks to more than it declares and than the limit of "
                    f"{limit / MIB:,.0f} MiB: leave it out"
                )
            out.write(chunk)
    staging.bytes_left -= written
    if entry.is_source:
        _recode_file(target, entry.name, staging)
    target.chmod(0o644)


def _recode_file(target: Path, name: str, staging: Staging) -> None:
    raw = target.read_bytes()
    plain, was = recode(raw)
    if plain != raw:
        target.write_bytes(plain)
    if was:
        staging.remarks.append(f"'{name}' was in {was}; it was read as UTF-8 after conversion")


def _make_folder(folder: Path, root: Path) -> None:
    """Make `folder` and what it needs down from `root` with mode 0755, whatever the umask."""
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for path in reversed(missing):
        path.mkdir()
        if path == root or root in path.parents:
            path.chmod(0o755)


def _unpack_nested(root: Path, staging: Staging, lab: Lab) -> None:
    """Unpack, one level deep, each ZIP that holds a half; others stay files."""
    zips = [path for path in sorted(root.rglob("*")) if path.suffix.lower() == ".zip" and path.is_file()]
    for path in zips[:MAX_NESTED]:
        name = path.relative_to(root).as_posix()
        try:
            with Archive(path) as archive:
                names = [PurePosixPath(entry.name) for entry in archive.entries()]
            if not any(place.name in (kind.telling, *kind.todo_files) for place in names for kind in lab.halves):
                continue
            target = _free(path)
            try:
                _unpack(path, target, staging)
            except BaseException:
                shutil.rmtree(target, ignore_errors=True)  # half of a ZIP is nobody's work
                raise
        except (Unreadable, OSError) as error:
            problem = error if isinstance(error, Unreadable) else unreadable(reason(error), error)
            staging.remarks.append(f"the ZIP '{name}' inside the submission was not read: {problem}")
            continue
        path.unlink()
        staging.remarks.append(f"'{name}', a ZIP inside the submission, was unpacked")


def _free(path: Path) -> Path:
    """A name for the folder that a ZIP is unpacked to: beside it, and neither taken nor too long."""
    names = [f"{path.name}.unpacked", *(f"unpacked-{number}.zip" for number in range(MAX_ENTRIES + 1))]
    here = {item.name.casefold() for item in path.parent.iterdir()}
    return path.with_name(
        next(name for name in names if name.casefold() not in here and len(name.encode()) <= MAX_NAME)
    )


def _nothing_found(path: Path, root: Path, remarks: list[str], lab: Lab) -> str:
    items = sorted(item.name for item in root.iterdir())
    shown = ", ".join(f"'{name}'" for name in items[:8]) + (", ..." if len(items) > 8 else "")
    found = f"found {shown}" if items else "found no files"
    reasons = "".join(f"; {remark}" for remark in remarks[:3])
    wanted = " nor ".join(half.folder for half in lab.halves)
    return (
        f"{printable(path.name)} holds neither {wanted}: {found}{reasons}. Hand in a ZIP with both "
        "folders and report.pdf"
    )


def _at_most(remarks: list[str]) -> list[str]:
    if len(remarks) <= MAX_REMARKS:
        return remarks
    return [*remarks[: MAX_REMARKS - 1], f"... and {len(remarks) - MAX_REMARKS + 1} more remarks on the files"]
