"""Finds a lab's halves and the report in the files of a submission."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from grader.labs import Half


@dataclass(frozen=True)
class Candidate:
    """A folder that may be a half; `folder` is relative to the staged root."""

    folder: PurePosixPath
    exact: bool
    named: bool
    present: int  # how many of the files with TODOs it has
    placeholders: int  # how many of its TODOs still raise NotImplementedError
    files: int

    @property
    def rank(self) -> tuple[object, ...]:
        """The best has the smallest: most complete first, then best named, then nearest to the top."""
        return (
            -self.present,
            self.placeholders,
            not self.exact,
            not self.named,
            -self.files,
            len(self.folder.parts),
            str(self.folder),
        )


def find_halves(root: Path, kinds: tuple[Half, ...]) -> tuple[dict[str, str], list[str]]:
    """Folders of a lab's halves below `root`, by their keys, and remarks on anything unusual."""
    folders = _folders(root)
    halves: dict[str, str] = {}
    remarks: list[str] = []
    for kind in kinds:
        found = sorted(_candidates(folders, kind, kinds), key=lambda candidate: candidate.rank)
        if not found:
            remarks.append(f"{kind.folder} is missing")
            continue
        best = found[0]
        halves[kind.key] = str(best.folder)
        if not best.exact:
            where = f"the folder '{best.folder}'" if best.folder.parts else "the top of the submission"
            remarks.append(f"{where} was taken for {kind.folder}")
        rivals = [other for other in found[1:] if other.present and best.folder not in other.folder.parents]
        if rivals:
            unread = ", ".join(f"'{other.folder}'" for other in rivals[:3])
            remarks.append(
                f"{kind.folder} was handed in {len(rivals) + 1} times: graded '{best.folder}', "
                f"the most complete; not read: {unread}"
            )
    return halves, remarks


def find_report(root: Path, near: list[str]) -> tuple[Path | None, list[str]]:
    """report.pdf, or the PDF that most likely is the report, and remarks. `near`: folders of the halves."""
    pdfs = [path for path in sorted(root.rglob("*")) if path.is_file() and path.suffix.lower() == ".pdf"]
    if not pdfs:
        return None, ["report.pdf is missing"]

    def rank(path: Path) -> tuple[object, ...]:
        place = path.relative_to(root)
        inside = any(half != "." and PurePosixPath(half) in PurePosixPath(place).parents for half in near)
        name = path.name.lower()
        return name != "report.pdf", inside, "report" not in name, len(place.parts), str(place)

    best = min(pdfs, key=rank)
    remarks = []
    if best.name != "report.pdf":
        remarks.append(f"no report.pdf: '{best.relative_to(root)}' was taken for the report")
    with best.open("rb") as file:
        if b"%PDF-" not in file.read(1024):
            remarks.append(f"'{best.relative_to(root)}' is not a PDF file")
    return best, remarks


def _folders(root: Path) -> dict[PurePosixPath, dict[str, Path]]:
    """The files of each folder, by their name in lower case."""
    folders: dict[PurePosixPath, dict[str, Path]] = {}
    for path in sorted(root.rglob("*")):
        if path.is_file():
            folder = PurePosixPath(path.relative_to(root).parent)
            folders.setdefault(folder, {})[path.name.lower()] = path
    return folders


def _candidates(folders: dict[PurePosixPath, dict[str, Path]], kind: Half, kinds: tuple[Half, ...]) -> list[Candidate]:
    others = [other for other in kinds if other is not kind]
    found = []
    for folder, files in folders.items():
        named = _named(folder.name, kind)
        recognised = kind.telling in files and not any(_named(folder.name, other) for other in others)
        if not named and not recognised:
            continue
        todo_files = [files[name] for name in kind.todo_files if name in files]
        placeholders = sum(path.read_bytes().count(b"NotImplementedError") for path in todo_files)
        exact = folder.name == kind.folder
        found.append(Candidate(folder, exact, named, len(todo_files), placeholders, len(files)))
    return found


def _named(name: str, kind: Half) -> bool:
    """Whether a folder's name is the half's, but for signs between the words and what students put around it."""
    stem = _letters(kind.folder.removesuffix("_todo"))
    return stem in _letters(name)


def _letters(name: str) -> str:
    return "".join(char for char in name.lower() if char.isalnum())
