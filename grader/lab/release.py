"""The student edition, made from `solutions/` by nbgrader's own preprocessors, notebook and `.py` alike."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import tempfile
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from grader.errors import UsageError
from grader.submission import todo

ROOT = Path(__file__).resolve().parents[2]
HALVES = ("2d_plot_diffusion_todo", "image_diffusion_todo")
MANIFEST = ".ddpm-lab-edition.json"  # in an edition's folder: the files that it was released with
KEPT_OUT = ("BEGIN SOLUTION", "END SOLUTION", "HIDDEN TESTS", "MARK SCHEME")
MADE_HERE = {"results", "samples", "figures"}  # by someone who ran the lab's scripts in the folder
TRIVIAL = 10  # characters without white space; shorter lines, such as `return x`, give nothing away

Files = dict[str, bytes]  # relative path with forward slashes -> contents


@dataclass(frozen=True)
class Edition:
    """A released edition. `set_aside` is where `force` moved what had stood in its place, else None."""

    path: Path
    files: tuple[str, ...]
    set_aside: Path | None = None


def release(destination: Path, force: bool = False) -> Edition:
    """Writes the student edition to `destination`, all of it or nothing.

    An edition that was released there before and not edited since is replaced. Any other folder with a file
    in it is refused, or with `force` renamed to `NAME.before-1` and so on. Raises UsageError.
    """
    destination = destination.expanduser().resolve()
    _refuse_own_folders(destination)
    occupied = _is_occupied(destination)
    if occupied and not force and not _is_untouched_edition(destination):
        raise UsageError(
            f"{destination} is not empty, and not an unchanged edition of this lab: name another"
            " folder, or use --force, which keeps what is there under another name"
        )
    files = edition_files()
    check_for_leaks(files)
    destination.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{destination.name}-", dir=destination.parent) as scratch:
        fresh = Path(scratch) / "edition"
        _write(fresh, {**files, MANIFEST: _manifest(files)})
        set_aside = None
        if occupied and not _is_untouched_edition(destination):
            set_aside = _free_name(destination)
            destination.rename(set_aside)
        elif destination.exists():
            destination.rename(Path(scratch) / "old")
        fresh.rename(destination)
    return Edition(destination, tuple(sorted(files)), set_aside)


def release_halves(root: Path = ROOT) -> tuple[str, ...]:
    """Writes the two student halves into `root`, in place of what stands there. Returns the files' names."""
    files = halves_files()
    check_for_leaks(files)
    for half in HALVES:
        if not (root / half).is_dir():
            continue
        for path in sorted((root / half).rglob("*")):
            ours = path.is_file() and _is_source(path) and not MADE_HERE & set(path.relative_to(root).parts)
            if ours and path.relative_to(root).as_posix() not in files:
                path.unlink()  # of an earlier release, and no longer in solutions/
    _write(root, files)
    return tuple(sorted(files))


def edition_files() -> Files:
    """Everything that students get."""
    files = halves_files()
    ours = Path(__file__).parent / "edition"
    for path in _sources(ours):
        name = path.relative_to(ours).as_posix()
        files[name if name in ("README.md", "requirements.txt") else f"grader/{name}"] = path.read_bytes()
    for name in ("LICENSE", *_page_with_pictures("data/README.md")):
        if (ROOT / name).is_file():
            files[name] = (ROOT / name).read_bytes()
    return files


def _page_with_pictures(page: str) -> list[str]:
    """A Markdown page of the repository, and the pictures that it shows."""
    folder = Path(page).parent
    shown = re.findall(r"!\[[^\]]*\]\((pictures/[^)]+)\)", (ROOT / page).read_text(encoding="utf-8"))
    return [page, *((folder / picture).as_posix() for picture in shown)]


def halves_files() -> Files:
    """The two student halves. Raises UsageError where there is no `solutions/`, as in an installed wheel."""
    files: Files = {}
    for half in HALVES:
        folder = ROOT / "solutions" / half
        if not folder.is_dir():
            raise UsageError(f"a release needs the repository's solutions/: {folder} is not there")
        for path in _sources(folder, MADE_HERE):
            files[path.relative_to(ROOT / "solutions").as_posix()] = student_version(path)
    return files


def student_version(path: Path) -> bytes:
    """A file of `solutions/` without its solutions."""
    if path.suffix == ".py":
        return clear_source(path.read_text(encoding="utf-8")).encode()
    if path.suffix == ".ipynb":
        return clear_notebook(path.read_text(encoding="utf-8")).encode()
    return path.read_bytes()


def clear_source(text: str) -> str:
    """A `.py` file with each solution replaced by a `raise NotImplementedError` that names the TODO's id."""
    pieces = []
    for segment in todo.split(text):
        if isinstance(segment, todo.Block):
            stub = f'raise NotImplementedError("TODO {segment.name}")'
            body = _clear_chunk(segment.body.rstrip("\n"), stub)
            pieces += [segment.begin_marker, body, "\n", segment.end_marker]
        else:
            pieces.append(segment.text)
    return "".join(pieces)


def _clear_chunk(chunk: str, stub: str) -> str:
    """nbgrader's ClearSolutions on a piece of source, taken for a code cell."""
    from nbformat.v4 import new_code_cell
    from nbgrader.preprocessors import ClearHiddenTests, ClearSolutions

    cell = new_code_cell(chunk)
    resources = {"language": "python"}
    clear = ClearSolutions(enforce_metadata=False, code_stub={"python": stub}, log=_quiet())
    cell, resources = clear.preprocess_cell(cell, resources, 0)
    cell, _ = ClearHiddenTests(enforce_metadata=False, log=_quiet()).preprocess_cell(cell, resources, 0)
    return str(cell.source)


def clear_notebook(text: str) -> str:
    """A notebook through the steps of nbgrader's generate_assignment that need no database."""
    import nbformat
    from nbgrader import preprocessors as steps

    notebook = nbformat.reads(text, as_version=4)
    stub = {"python": 'raise NotImplementedError("TODO: replace this line with your code")'}
    resources: dict[str, object] = {}
    for step in (
        steps.LockCells(log=_quiet()),
        steps.ClearSolutions(code_stub=stub, log=_quiet()),
        steps.ClearOutput(log=_quiet()),
        steps.CheckCellMetadata(log=_quiet()),
        steps.ComputeChecksums(log=_quiet()),
        steps.ClearHiddenTests(log=_quiet()),
        steps.ClearMarkScheme(log=_quiet()),
        steps.ComputeChecksums(log=_quiet()),
        steps.CheckCellMetadata(log=_quiet()),
    ):
        notebook, resources = step.preprocess(notebook, resources)
    for index, cell in enumerate(notebook.cells):
        cell["id"] = cell.metadata.get("nbgrader", {}).get("grade_id") or f"cell-{index:02d}"
    nbformat.validate(notebook)
    return nbformat.writes(notebook).rstrip("\n") + "\n"


def check_for_leaks(files: Files) -> None:
    """Raises UsageError where a line of a solution, or one of nbgrader's markers, stands in `files`."""
    texts = {name: _source_text(name, data) for name, data in files.items()}
    for name, text in texts.items():
        for marker in KEPT_OUT:
            if name.startswith(HALVES) and marker in text:
                raise UsageError(f"the release would leak: {name} contains the marker '{marker}'")
    squeezed = {name: _squeeze(text) for name, text in texts.items()}
    for line in solution_lines():
        for name, text in squeezed.items():
            if _squeeze(line) in text:
                raise UsageError(f"the release would leak: {name} has the solution line '{line.strip()}'")


def solution_lines() -> list[str]:
    """Every line of every solution region and hidden test that is long enough to give something away."""
    found: list[str] = []
    for half in HALVES:
        for path in _sources(ROOT / "solutions" / half, MADE_HERE):
            if path.suffix in (".py", ".ipynb"):
                found += _hidden_lines(_source_text(path.name, path.read_bytes()))
    return [line for line in found if len(_squeeze(line)) >= TRIVIAL]


def _hidden_lines(text: str) -> Iterable[str]:
    hidden = False
    for line in text.splitlines():
        if re.search(r"### BEGIN (SOLUTION|HIDDEN TESTS|MARK SCHEME)", line):
            hidden = True
        elif re.search(r"### END (SOLUTION|HIDDEN TESTS|MARK SCHEME)", line):
            hidden = False
        elif hidden:
            yield re.sub(r"\s+#\s.*$", "", line)  # the comment may well stand in the task's text


def _source_text(name: str, data: bytes) -> str:
    """The text of a file; of a notebook, that of its cells."""
    text = data.decode("utf-8", errors="replace")
    if not name.endswith(".ipynb"):
        return text
    return "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"])


def _squeeze(text: str) -> str:
    return re.sub(r"\s+", "", text)


def _sources(folder: Path, left_out: Collection[str] = ()) -> list[Path]:
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and _is_source(path) and not set(left_out) & set(path.relative_to(folder).parts)
    ]


def _is_source(path: Path) -> bool:
    return not {"__pycache__", ".ipynb_checkpoints"} & set(path.parts) and path.suffix != ".pyc"


def _refuse_own_folders(destination: Path) -> None:
    """The repository itself, its parents and the folders that git tracks are no place for an edition."""
    tracked = [ROOT / name for name in ("solutions", "grader", "data", ".git", ".ci", *HALVES)]
    if ROOT.is_relative_to(destination) or any(destination.is_relative_to(folder) for folder in tracked):
        raise UsageError(f"{destination} belongs to the repository: name a folder outside it, or in build/")


def _is_occupied(destination: Path) -> bool:
    if destination.is_dir():
        return any(destination.iterdir())
    if destination.exists():
        raise UsageError(f"{destination} is a file, not a folder")
    return False


def _is_untouched_edition(folder: Path) -> bool:
    """Whether `folder` holds exactly what its manifest lists; Python's own caches aside."""
    try:
        listed = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["sha256"]
        there = {
            path.relative_to(folder).as_posix(): _digest(path.read_bytes())
            for path in _sources(folder)
            if path.name != MANIFEST
        }
        return bool(there == listed)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _manifest(files: Files) -> bytes:
    digests = {name: _digest(data) for name, data in sorted(files.items())}
    return (json.dumps({"sha256": digests}, indent=1) + "\n").encode()


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _free_name(destination: Path) -> Path:
    number = 1
    while (name := destination.with_name(f"{destination.name}.before-{number}")).exists():
        number += 1
    return name


def _write(folder: Path, files: Files) -> None:
    """Each file through a temporary one, so that a reader sees the old or the new one whole."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file() and path.read_bytes() == data:
            continue
        partial = path.with_name(path.name + ".partial")
        partial.write_bytes(data)
        os.replace(partial, path)


def _quiet() -> logging.Logger:
    """nbgrader logs errors that it also raises; here the exception alone counts."""
    logger = logging.getLogger("grader.lab.release")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    return logger
