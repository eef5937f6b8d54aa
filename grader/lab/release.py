"""The student edition: the halves of `solutions/` without their solutions, pages, and the student's own checks."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path

from grader.errors import UsageError
from grader.lab import LAB
from grader.lab.clearing import check_for_leaks, student_version
from grader.lab.edition.check import PublicRow
from grader.lab.publishing import Edition, Files, publish, refuse_occupied, sources, write_files
from grader.labs import REPOSITORY as ROOT
from grader.labs import RowKind

HALVES = tuple(half.folder for half in LAB.halves)
MADE_HERE = {"results", "samples", "figures"}  # by someone who ran the lab's scripts in the folder
AT_THE_TOP = {
    "README.md": "README.md",
    "requirements.txt": "requirements.txt",
    "__init__.py": "grader/__init__.py",
    "__main__.py": "grader/__main__.py",
}  # files of `edition/` that do not keep their place; the others stand where they stand in the repository
HELPERS = (
    "grader/files.py",
    "grader/finding.py",
    "grader/judging/comparison.py",
    "grader/lab/probes/stand_ins.py",
)  # what the public checks share with the grader: none of it holds an answer


def release(destination: Path, force: bool = False) -> Edition:
    """Writes the student edition to `destination`, all of it or nothing.

    An edition that was released there before and not edited since is replaced. Any other folder with a file
    in it is refused, or with `force` renamed to `NAME.before-1` and so on. Raises UsageError.
    """
    destination = destination.expanduser().resolve()
    _refuse_own_folders(destination)
    if not force:
        refuse_occupied(destination)
    files = edition_files()
    check_for_leaks(files, HALVES, _solved())
    return publish(destination, files)


def release_halves(root: Path = ROOT) -> tuple[str, ...]:
    """Writes the two student halves into `root`, in place of what stands there. Returns the files' names."""
    files = halves_files()
    check_for_leaks(files, HALVES, _solved())
    for half in HALVES:
        for path in sources(root / half, MADE_HERE):
            if path.relative_to(root).as_posix() not in files:
                path.unlink()  # of an earlier release, and no longer in solutions/
    write_files(root, files)
    return tuple(sorted(files))


def edition_files() -> Files:
    """Everything that students get."""
    files = halves_files()
    here, package = Path(__file__).parent, Path(__file__).parents[1]
    for path in sources(here / "edition"):
        name = path.relative_to(here / "edition").as_posix()
        files[AT_THE_TOP.get(name, f"grader/lab/edition/{name}")] = path.read_bytes()
    public = [here / "rows" / row.id.replace(".", "/") / "public.py" for row in public_rows()]
    for path in (*(package.parent / name for name in HELPERS), *public):
        files[path.relative_to(package.parent).as_posix()] = path.read_bytes()
    files["grader/lab/edition/rows.json"] = (
        json.dumps([asdict(row) for row in public_rows()], indent=1) + "\n"
    ).encode()
    for name in ("LICENSE", *_page_with_pictures("data/README.md")):
        if (ROOT / name).is_file():
            files[name] = (ROOT / name).read_bytes()
    return files


def public_rows() -> tuple[PublicRow, ...]:
    """The rows with a public check, in the order of the rubric."""
    return tuple(
        PublicRow(row.id, LAB.half(row.half).folder, row.kind is RowKind.COMPANION)
        for row in LAB.rubric
        if (LAB.folder / "rows" / row.id.replace(".", "/") / "public.py").is_file()
    )


def _page_with_pictures(page: str) -> list[str]:
    """A Markdown page of the repository, and the pictures that it shows."""
    folder = Path(page).parent
    shown = re.findall(r"!\[[^\]]*\]\((pictures/[^)]+)\)", (ROOT / page).read_text(encoding="utf-8"))
    return [page, *((folder / picture).as_posix() for picture in shown)]


def halves_files() -> Files:
    """The two student halves. Raises UsageError where there is no `solutions/`, as in an installed wheel."""
    return {path.relative_to(ROOT / "solutions").as_posix(): student_version(path) for path in _solved()}


def _solved() -> list[Path]:
    """The files of the solved halves. Raises UsageError."""
    found: list[Path] = []
    for half in HALVES:
        folder = ROOT / "solutions" / half
        if not folder.is_dir():
            raise UsageError(f"a release needs the repository's solutions/: {folder} is not there")
        found += sources(folder, MADE_HERE)
    return found


def _refuse_own_folders(destination: Path) -> None:
    """The repository itself, its parents and the folders that git tracks are no place for an edition."""
    tracked = [ROOT / name for name in ("solutions", "grader", "data", ".git", ".ci", *HALVES)]
    if ROOT.is_relative_to(destination) or any(destination.is_relative_to(folder) for folder in tracked):
        raise UsageError(f"{destination} belongs to the repository: name a folder outside it, or in build/")
