"""Imports point one way, only `grader/lab` knows the lab, the worker knows nothing, and start-up is light."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from grader.lab import LAB

GRADER = Path(__file__).resolve().parent.parent

# From the bottom to the top: a module may import what stands in an earlier layer, or in its own. `lab` is the lab that
# the command line grades; nothing but tools and the command line may know which one that is.
LAYERS = [
    ("alarm", "errors", "files", "finding", "records"),
    ("text", "commands", "labs", "policy", "results"),
    ("worker",),
    ("sandbox", "fid"),
    ("judging", "submission"),
    ("output",),
    ("running",),
    ("lab",),
    ("formats", "desk"),
    ("cli",),
    ("tools", "__main__"),
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
MAY_NAME_THE_LAB = {"lab", "tools", "__main__"}  # others get a Lab as an argument
SANDBOXED = [*(GRADER / "worker").glob("*.py"), *LAB.material.probes.values()]


def modules() -> list[Path]:
    return [path for path in GRADER.rglob("*.py") if "tests" not in path.relative_to(GRADER).parts]


def component(path: Path) -> str:
    """The part of a layer that a file belongs to; grader/output/formats is one of its own."""
    return part(["grader", *path.relative_to(GRADER).with_suffix("").parts])


def part(name: list[str]) -> str:
    return "formats" if name[1:3] == ["output", "formats"] else name[1]


def dotted(path: Path) -> list[str]:
    """The package of a file: ["grader", "sandbox"]."""
    return ["grader", *path.relative_to(GRADER).parts[:-1]]


def imported(path: Path) -> set[str]:
    """Names below `grader` that a file imports, absolutely or relatively, at its top or inside a function."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            base = dotted(path)[: len(dotted(path)) + 1 - node.level] if node.level else []
            module = [*base, *(node.module or "").split(".")] if node.module else base
            names = [module] if len(module) > 1 else [[*module, alias.name] for alias in node.names]
            found |= {part(name) for name in names if name[0] == "grader" and len(name) > 1}
        elif isinstance(node, ast.Import):
            found |= {part(alias.name.split(".")) for alias in node.names if alias.name.startswith("grader.")}
    return found - {"__version__"}


def only_for_types(path: Path) -> set[str]:
    """What a file imports for its annotations alone, which is no arrow."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            for inner in ast.walk(node):
                if isinstance(inner, ast.ImportFrom) and (inner.module or "").startswith("grader."):
                    found.add(part((inner.module or "").split(".")))
    return found


def test_relative_imports_are_seen(tmp_path):
    """The check itself: without this, an arrow written with dots is no arrow."""
    file = GRADER / "sandbox" / "session.py"
    source = file.read_text(encoding="utf-8")
    assert "from ." in source
    assert "sandbox" in imported(file)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(GRADER)))
def test_imports_point_downwards(path):
    name = component(path)
    if name == "__init__":
        return
    assert name in LEVEL, f"{path.name} has no layer: add it to LAYERS"
    for other in imported(path) - only_for_types(path):
        assert other in LEVEL, f"{path.name} imports grader.{other}, which has no layer"
        assert LEVEL[other] <= LEVEL[name], f"wrong arrow: {name} imports {other}, which stands above it"


@pytest.mark.parametrize(
    "path",
    [path for path in modules() if component(path) not in MAY_NAME_THE_LAB],
    ids=lambda path: str(path.relative_to(GRADER)),
)
def test_only_tools_know_which_lab_there_is(path):
    assert "lab" not in imported(path), "take a Lab as an argument"


@pytest.mark.parametrize("path", SANDBOXED, ids=lambda path: str(path.relative_to(GRADER)))
def test_what_runs_in_the_sandbox_imports_nothing_of_the_grader(path):
    assert imported(path) == set()


# --- words


# What only grader/lab may speak of: ids of rows, folders of halves, names of TODO functions and of observations.
TODO_NAMES = re.findall(
    r"\w+",
    """
    SimpleNet q_sample p_sample p_sample_loop compute_loss add_noise step_predict_noise step_predict_x0
    step_predict_mean get_loss get_loss_noise get_loss_x0 get_loss_mean DDPMScheduler alphas_cumprod
    forward_step train_step sampler_loop naive_skip fast_sample class_conditional diffusers_parity
    """,
)
WORDS = {row.id for row in LAB.rubric} | {half.folder for half in LAB.halves} | {*TODO_NAMES, "task1", "task2"}
GENERIC = [
    path
    for suffix in ("py", "html", "css", "js", "j2", "toml", "sh")
    for path in GRADER.rglob(f"*.{suffix}")
    if path.relative_to(GRADER).parts[0] not in ("lab", "tests", "tools")
]


def test_the_words_are_those_of_the_lab():
    known = "".join(path.read_text(encoding="utf-8") for path in (LAB.solutions).rglob("*.py"))
    assert [name for name in TODO_NAMES if name not in known and name not in str(WORDS)] == []
    assert len(GENERIC) > 80


@pytest.mark.parametrize("path", GENERIC, ids=lambda path: str(path.relative_to(GRADER)))
def test_nothing_outside_the_lab_speaks_of_it(path):
    text = path.read_text(encoding="utf-8")
    found = sorted(word for word in WORDS if re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", text))
    observations = re.findall(r"\b(?:[A-Z]\w+)Observation\b", text)
    assert (found, observations) == ([], [])


# --- weight


# Networks for features of images; no student code comes near them. The verb `fid` imports them late.
WITH_TORCH = {
    GRADER / "fid" / f"{name}.py" for name in ("extractor", "inception", "small", "weights", "train_small", "benchmark")
}


def test_only_what_runs_beside_student_code_imports_torch():
    users = {
        path
        for path in modules()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if (isinstance(node, ast.Import) and any(a.name.split(".")[0] == "torch" for a in node.names))
        or (isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "torch")
    }
    edition = {path for path in users if path.name == "public.py" or "edition" in path.parts}
    maker = {path for path in users if path.name.startswith("golden")}  # draws with torch's own generators
    card = {path for path in users if (GRADER / "tools" / "gpu") in path.parents}  # a graphics card's, for developers
    assert users - WITH_TORCH - set(SANDBOXED) - edition - maker - card == set()


def test_help_and_report_rendering_import_neither_torch_nor_matplotlib():
    code = (
        "import sys; from grader.cli import main; import grader.output.report; main(['--help']); main(['--version']); "
        "print([name for name in ('torch', 'matplotlib', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_no_tracked_file_is_large():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=GRADER.parent, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("no git checkout")
    files = [GRADER.parent / name for name in listed.stdout.split("\0") if name]
    large = [
        f"{path.name}: {path.stat().st_size:,} bytes"
        for path in files
        if path.is_file() and path.stat().st_size > 1_000_000
    ]
    assert large == []
