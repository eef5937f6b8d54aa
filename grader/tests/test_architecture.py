"""Imports point one way, the worker knows nothing of the grader, and the command line starts without torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

GRADER = Path(__file__).resolve().parent.parent

# From the bottom to the top: a module may import what stands in an earlier layer, or in its own.
LAYERS = [
    ("records", "rubric"),
    ("todo", "encodings", "archive", "summary", "figures", "plane", "reference", "torch_draws", "worker"),
    ("halves", "edits", "golden_public", "golden_companions_plane", "release", "sandbox", "student_edition", "fid"),
    ("intake",),
    ("checks", "artifacts"),
    ("diagnosis",),
    ("report",),
    ("pipeline",),
    ("run",),
    ("live", "handed_in", "cluster"),
    ("export", "desk", "similarity", "classpage"),
    ("cli",),
    ("classroom", "__main__"),
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def modules() -> list[Path]:
    return [path for path in GRADER.rglob("*.py") if "tests" not in path.relative_to(GRADER).parts]


def component(path: Path) -> str:
    first = path.relative_to(GRADER).parts[0]
    return first.removesuffix(".py")


def imported(path: Path) -> set[str]:
    """Names below `grader` that a file imports, relative imports within a package left out."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and (node.module or "").split(".")[0] == "grader":
            parts = (node.module or "").split(".")
            found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("grader.")}
    return found - {"__version__"}


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(GRADER)))
def test_imports_point_downwards(path):
    name = component(path)
    if name == "__init__":
        return
    assert name in LEVEL, f"{path.name} has no layer: add it to LAYERS"
    for other in imported(path):
        assert other in LEVEL, f"{path.name} imports grader.{other}, which has no layer"
        assert LEVEL[other] <= LEVEL[name], f"wrong arrow: {name} imports {other}, which stands above it"


@pytest.mark.parametrize("path", sorted((GRADER / "worker").glob("*.py")), ids=lambda path: path.name)
def test_what_runs_in_the_sandbox_imports_nothing_of_the_grader(path):
    assert imported(path) == set()


@pytest.mark.parametrize("path", sorted((GRADER / "student_edition").glob("*.py")), ids=lambda path: path.name)
def test_what_students_get_imports_nothing_of_the_grader(path):
    assert imported(path) == set()


# Features of images need a network, and no student code comes near it; these are imported late, by the verb `fid`.
FID_WITH_TORCH = {
    GRADER / "fid" / f"{name}.py" for name in ("extractor", "inception", "small", "weights", "train_small", "benchmark")
}

# Its maker draws with torch's own generators, imported late; who reads the file does not.
GOLDEN_WITH_TORCH = {GRADER / "golden_companions_plane.py"}


def test_only_the_worker_the_students_own_check_and_the_fid_networks_import_torch():
    users = {
        component(path)
        for path in modules()
        if path not in FID_WITH_TORCH | GOLDEN_WITH_TORCH
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if (isinstance(node, ast.Import) and any(a.name.split(".")[0] == "torch" for a in node.names))
        or (isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "torch")
    }
    assert users <= {"worker", "student_edition"}


def test_help_and_report_rendering_import_neither_torch_nor_matplotlib():
    code = (
        "import sys; from grader.cli import main; import grader.output.report; main(['--help']); main(['--version']); "
        "print([name for name in ('torch', 'matplotlib', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
