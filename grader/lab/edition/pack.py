"""Makes and checks the ZIP to hand in: `python -m grader pack ID` writes {ID}_lab1.zip."""

from __future__ import annotations

import argparse
import ast
import os
import re
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

from grader.files import replacing

REPORT = "report.pdf"
LEFT_OUT_FOLDERS = {
    "data",
    "results",
    "samples",
    "outputs",
    "runs",
    "wandb",
    "logs",
    "checkpoints",
    "venv",
    "__pycache__",
    "__MACOSX",
    "node_modules",
}
LEFT_OUT_SUFFIXES = {".ckpt", ".pt", ".pth", ".safetensors", ".pyc", ".zip", ".tmp"}
IMAGES = {".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".webp"}
MAX_IMAGE = 1_000_000  # bytes; figures belong into the report
MAX_FILE = 10_000_000  # bytes


def main(argv: Sequence[str], halves: tuple[str, ...]) -> int:
    """Pack the current folder. Returns 0, 1 if something is missing or broken, 2 for an impossible ID."""
    parser = argparse.ArgumentParser(
        prog="python -m grader pack",
        description="Make and check {ID}_lab1.zip in the current folder.",
        epilog="example: python -m grader pack 412551014",
    )
    parser.add_argument("id", metavar="ID", help="your student ID: letters, digits, - and _")
    student = parser.parse_args(argv).id
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}", student):
        print(f"'{student}' cannot be an ID: up to 40 letters, digits, - and _", file=sys.stderr)
        return 2
    problems = missing_parts(Path(), halves)
    if problems:
        print("\n".join(problems), file=sys.stderr)
        return 1
    files, left_out = choose(Path(), halves)
    for warning in warnings(files):
        print(f"warning: {warning}", file=sys.stderr)
    target = Path(f"{student}_lab1.zip")
    try:
        write(target, files)
    except (OSError, zipfile.BadZipFile, ValueError) as error:
        print(f"{target} was not written: {error}", file=sys.stderr)
        return 1
    for path, why in left_out:
        print(f"left out {path.as_posix()}: {why}")
    print(f"wrote {target}: {len(files)} files, {size_text(target.stat().st_size)}")
    return 0


def missing_parts(folder: Path, halves: tuple[str, ...]) -> list[str]:
    """What keeps the ZIP from being made, in words; an empty list if nothing does."""
    problems = [
        f"{half} is missing here: change to the folder that holds both halves and {REPORT}"
        for half in halves
        if not (folder / half).is_dir()
    ]
    report = folder / REPORT
    if not report.is_file():
        problems.append(f"{REPORT} is missing: put your report here under this name")
    elif not report.read_bytes()[:1024].lstrip().startswith(b"%PDF-"):
        problems.append(f"{REPORT} is not a PDF: export it as PDF, renaming a file does not make it one")
    return problems


def choose(folder: Path, halves: tuple[str, ...]) -> tuple[list[Path], list[tuple[Path, str]]]:
    """Files that go into the ZIP, and those left out with the reason; a folder stands for all in it."""
    files, left_out = [folder / REPORT], []
    for half in halves:
        for place, folders, names in os.walk(folder / half):
            for name in sorted(folders):
                if name in LEFT_OUT_FOLDERS or name.startswith(".") or (Path(place) / name).is_symlink():
                    folders.remove(name)
                    left_out.append((Path(place) / name, "data, results and caches stay with you"))
            folders.sort()
            for path in (Path(place) / name for name in sorted(names)):
                why = why_left_out(path)
                left_out.append((path, why)) if why else files.append(path)
    return files, left_out


def why_left_out(path: Path) -> str:
    """Why a file stays out of the ZIP, '' if it does not."""
    if path.is_symlink() or not path.is_file():
        return "a link or special file"
    suffix, size = path.suffix.lower(), path.stat().st_size
    if suffix in LEFT_OUT_SUFFIXES or ("inception" in path.name.lower() and suffix not in (".py", ".ipynb")):
        return f"checkpoints and archives stay with you ({size_text(size)})"
    if path.name.startswith("."):
        return "a hidden file"
    if suffix in IMAGES and size > MAX_IMAGE:
        return f"a large image ({size_text(size)}); figures belong into the report"
    return f"too large ({size_text(size)})" if size > MAX_FILE else ""


def warnings(files: list[Path]) -> list[str]:
    """Source that does not parse, and TODOs with points that still raise NotImplementedError."""
    found = []
    for path in files:
        if path.suffix != ".py":
            continue
        try:
            tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError) as error:
            found.append(f"{path.as_posix()} does not parse, line {getattr(error, 'lineno', '?')}: {error}")
            continue
        found += [
            f"{path.as_posix()}:{node.lineno} is not done yet ({todo})"
            for node in ast.walk(tree)
            if isinstance(node, ast.Raise) and (todo := todo_of(node)) and "TODO extra." not in todo
        ]
    return found


def todo_of(node: ast.Raise) -> str:
    """The text of a `raise NotImplementedError(...)`, '' for any other raise."""
    text = ast.unparse(node.exc) if node.exc else ""
    return text if text.startswith("NotImplementedError") else ""


def write(target: Path, files: list[Path]) -> None:
    """Write the ZIP under another name, read all of it back, and only then give it its name."""
    with replacing(target) as draft:
        with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False) as archive:
            for path in files:
                archive.write(path, path.as_posix())
        with zipfile.ZipFile(draft) as archive:
            damaged = archive.testzip()
            if damaged or archive.namelist() != [path.as_posix() for path in files]:
                raise zipfile.BadZipFile(f"it could not be read back ({damaged or 'other names'})")


def size_text(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 100_000 else f"{size / 1e3:.1f} kB"
