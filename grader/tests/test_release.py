"""The student edition: made from solutions/, the same every time, importable, without any solution."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from grader.errors import UsageError
from grader.lab import LAB
from grader.lab import release as release_module
from grader.lab.clearing import check_for_leaks, clear_source
from grader.lab.publishing import MANIFEST
from grader.lab.release import HALVES, HELPERS, ROOT, release, release_halves
from grader.submission import todo

CODE_ROWS = {row.id for row in LAB.rubric if row.is_code}
TODO_ROWS = CODE_ROWS | {row.id for row in LAB.rubric if row.kind == "companion"}
TRIVIAL = {"returnx", "returnloss", "returnxt", "else:", "try:"}


@pytest.fixture(scope="module")
def edition(tmp_path_factory):
    destination = tmp_path_factory.mktemp("release") / "edition"
    return release(destination)


def all_files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_committed_halves_are_what_the_solutions_give(tmp_path):
    release_halves(tmp_path)
    for half in HALVES:
        assert all_files(tmp_path / half) == all_files(ROOT / half), (
            "run `python -m grader release --halves .` and commit the result"
        )


def test_two_releases_are_the_same_to_the_byte(edition, tmp_path):
    again = release(tmp_path / "again")
    assert all_files(again.path) == all_files(edition.path)
    assert all(b"\r" not in data for name, data in all_files(again.path).items() if not name.endswith((".npz", ".png")))


def test_the_edition_holds_what_a_student_needs(edition):
    assert {
        "README.md",
        "requirements.txt",
        "2d_plot_diffusion_todo/ddpm_tutorial.ipynb",
        "image_diffusion_todo/scheduler.py",
        "image_diffusion_todo/engine/__init__.py",
    } <= set(edition.files)
    assert set(all_files(edition.path)) == {*edition.files, MANIFEST}
    assert edition.set_aside is None


def test_the_pictures_of_its_pages_are_in_the_edition(edition):
    for page in ("README.md", "data/README.md"):
        shown = re.findall(r"!\[.+?\]\((.+?)\)", (edition.path / page).read_text(encoding="utf-8"))
        assert all((edition.path / page).parent.joinpath(picture).is_file() for picture in shown)
    assert "data/pictures/guidance.png" in edition.files


def text_of(name, data):
    if name.endswith(".ipynb"):
        return "\n".join("".join(cell["source"]) for cell in json.loads(data)["cells"])
    return data.decode(errors="replace")


def solution_regions():
    """Written apart from grader/release.py: the lines between nbgrader's markers, comments left out."""
    for path in sorted((ROOT / "solutions").rglob("*")):
        if path.suffix in (".py", ".ipynb"):
            text = text_of(path.name, path.read_bytes())
            for kind in ("SOLUTION", "HIDDEN TESTS"):
                yield from re.findall(rf"BEGIN {kind}[^\n]*\n(.*?)\n[^\n]*END {kind}", text, re.DOTALL)


def test_no_line_of_any_solution_is_in_the_edition(edition):
    regions = list(solution_regions())
    assert len(regions) >= len(CODE_ROWS) + 6  # simplenet has two blocks, the notebook some more
    texts = {name: re.sub(r"\s+", "", text_of(name, data)) for name, data in all_files(edition.path).items()}
    for region in regions:
        for line in region.splitlines():
            needle = re.sub(r"\s+", "", line.split("  #")[0])
            if len(needle) >= 9 and needle not in TRIVIAL:
                assert [name for name, text in texts.items() if needle in text] == [], line


def test_no_marker_is_left_in_the_halves(edition):
    for name, data in all_files(edition.path).items():
        if name.startswith(HALVES):
            for marker in (b"BEGIN SOLUTION", b"END SOLUTION", b"HIDDEN TESTS", b"MARK SCHEME"):
                assert marker not in data, name


def test_nothing_of_the_judge_is_in_the_edition(edition):
    """What is shipped is listed here once more: whatever else is in grader/ may hold an answer."""
    given = {"README.md", "requirements.txt", "__init__.py", "__main__.py"}
    own = {f"grader/lab/edition/{path.name}" for path in (ROOT / "grader/lab/edition").iterdir() if path.is_file()}
    public = {f"grader/lab/rows/{row.replace('.', '/')}/public.py" for row in TODO_ROWS}
    assert {name for name in edition.files if name.startswith("grader/")} == {
        *(own - {f"grader/lab/edition/{name}" for name in given}),
        *("grader/__init__.py", "grader/__main__.py", "grader/lab/edition/rows.json"),
        *("grader/files.py", "grader/finding.py", "grader/judging/comparison.py", "grader/lab/probes/stand_ins.py"),
        *public,
    }


def test_checks_and_helpers_are_the_repositorys_own_to_the_byte(edition):
    names = [*HELPERS, *(name for name in edition.files if name.endswith("/public.py"))]
    assert len(names) == len(HELPERS) + len(TODO_ROWS)
    for name in names:
        assert (edition.path / name).read_bytes() == (ROOT / name).read_bytes(), name


def test_the_edition_imports_nothing_of_the_grader_that_it_lacks(edition):
    for name in edition.files:
        if name.startswith("grader/") and name.endswith(".py"):
            for module in modules_of_the_grader(edition.path / name):
                file = f"{module.replace('.', '/')}.py"
                assert file in edition.files, f"{name} imports {module}, which students do not get"


def modules_of_the_grader(path):
    """The modules of `grader` that a file imports, those for annotations alone left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node not in for_types:
            assert node.level == 0, f"{path.name}: write the whole name of a module, which both places know"
            if (node.module or "").split(".")[0] == "grader":
                packages = node.module in ("grader", "grader.lab", "grader.lab.edition")
                yield from (f"{node.module}.{alias.name}" for alias in node.names) if packages else [node.module]
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "grader")


USE_ALL = """
import importlib, importlib.util, json, pathlib, sys
sys.path.insert(0, str(pathlib.Path.cwd()))
sys.meta_path[:] = [finder for finder in sys.meta_path if "editable" not in repr(finder)]  # this repository, installed
for path in pathlib.Path("grader").rglob("*.py"):
    importlib.import_module(".".join(path.with_suffix("").parts).removesuffix(".__init__"))
theirs = [module.__file__ for name, module in sys.modules.items() if name.split(".")[0] == "grader" and module.__file__]
assert all(pathlib.Path(file).is_relative_to(pathlib.Path.cwd()) for file in theirs), theirs
for row in json.loads(pathlib.Path("grader/lab/edition/rows.json").read_text()):
    public = importlib.import_module(f"grader.lab.rows.{row['id']}.public")
    assert callable(public.check) and isinstance(public.EQUATION, str) and pathlib.Path(row["folder"]).is_dir()
hidden = ["labs", "cli", "lab.reference", "lab.rows.task1.q_sample.judge", "lab.rows.task1.q_sample.probe"]
print(len(theirs), [name for name in hidden if importlib.util.find_spec(f"grader.{name}")])
"""


def test_a_clean_process_finds_all_that_it_needs_in_the_edition(edition):
    ran = subprocess.run(
        [sys.executable, "-c", USE_ALL],
        cwd=edition.path,
        env={"PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    number, hidden = ran.stdout.split(maxsplit=1)
    assert hidden == "[]\n"
    assert int(number) == len([name for name in edition.files if name.startswith("grader/") and name.endswith(".py")])


def test_every_code_row_has_its_todo_and_each_stub_names_it(edition):
    found = []
    for half in HALVES:
        for path in sorted((edition.path / half).rglob("*.py")):
            for block in todo.blocks(path.read_text(encoding="utf-8")):
                found.append(block.id)
                code = [line.strip() for line in block.body.splitlines() if not line.strip().startswith("#")]
                assert code == [f'raise NotImplementedError("TODO {block.name}")']
    assert set(found) == TODO_ROWS
    assert sorted(row for row in found if row in CODE_ROWS) == sorted([*CODE_ROWS, "task1.simplenet"])


def test_solutions_take_fifteen_lines_at_most():
    for path in (ROOT / "solutions").rglob("*.py"):
        for block in todo.blocks(path.read_text(encoding="utf-8")):
            answer = block.body.split("### BEGIN SOLUTION")[1].split("### END SOLUTION")[0]
            assert sum(bool(line.strip()) for line in answer.splitlines()) <= 15, block.name


IMPORT_ALL = """
import importlib, pathlib, sys, warnings
warnings.simplefilter("error")
packages = [path for package in pathlib.Path(".").glob("*/__init__.py") for path in package.parent.glob("[!_]*.py")]
for path in sorted([*pathlib.Path(".").glob("*.py"), *packages]):
    importlib.import_module(".".join(path.with_suffix("").parts))
"""

CALL_STUBS = {
    "2d_plot_diffusion_todo": """
import torch
from network import SimpleNet
from ddpm import BaseScheduler, DiffusionModule
from warmup import sample, train_step
x, t = torch.zeros(4, 2), torch.zeros(4, dtype=torch.long)
d = DiffusionModule(torch.nn.Identity(), BaseScheduler(10))
bare = SimpleNet.__new__(SimpleNet)
torch.nn.Module.__init__(bare)
calls = [("task1.simplenet", lambda: SimpleNet(2, 2, [4], 10)), ("task1.simplenet", lambda: bare(x, t)),
         ("task1.q_sample", lambda: d.q_sample(x, t)), ("task1.p_sample", lambda: d.p_sample(x, 3)),
         ("task1.p_sample_loop", lambda: d.p_sample_loop((4, 2))),
         ("task1.compute_loss", lambda: d.compute_loss(x)), ("extra.forward_step", lambda: d.forward_step(x, 3)),
         ("extra.naive_skip", lambda: d.naive_skip((4, 2), 2)),
         ("extra.train_step", lambda: train_step(x, x, x, x, 0.1, 0)),
         ("extra.sampler_loop", lambda: sample(x, torch.tensor([4.0, 2.0]), x, x, 0))]
""",
    "image_diffusion_todo": """
import torch
from scheduler import DDPMScheduler
from model import DiffusionModule
from network import UNet
UNet(8, 32, [1, 2], [1], 1)
x, s = torch.zeros(4, 3, 8, 8), DDPMScheduler(10, 1e-4, 0.02)
d = DiffusionModule(torch.nn.Identity(), s)
calls = [("task2.cosine", lambda: DDPMScheduler(10, 1e-4, 0.02, "cosine")),
         ("task2.add_noise", lambda: s.add_noise(x, 3)),
         ("task2.step_noise", lambda: s.step(x, 3, x, "noise")),
         ("task2.step_x0", lambda: s.step(x, 3, x, "x0")),
         ("task2.step_mean", lambda: s.step(x, 3, x, "mean")),
         ("task2.loss_noise", lambda: d.get_loss_noise(x)), ("task2.loss_x0", lambda: d.get_loss_x0(x)),
         ("task2.loss_mean", lambda: d.get_loss_mean(x))]
""",
}

SEE_STUBS = """
for id, call in calls:
    try:
        call()
    except NotImplementedError as error:
        assert id in str(error), (id, error)
    else:
        raise SystemExit(f"{id} has run")
print(len(calls))
"""


@pytest.mark.parametrize("half", HALVES)
def test_everything_imports_and_every_stub_names_its_id(edition, half):
    script = IMPORT_ALL + CALL_STUBS[half] + SEE_STUBS
    environment = {"PATH": "/usr/bin:/bin", "CUDA_VISIBLE_DEVICES": ""}
    ran = subprocess.run(
        [sys.executable, "-c", script],
        cwd=edition.path / half,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) == {"2d_plot_diffusion_todo": 10, "image_diffusion_todo": 8}[half]


TEXT = (
    "a = 1\n    ##### TODO task1.q_sample #####\n    # a hint\n\n"
    "    ### BEGIN SOLUTION\n    secret = 2\n    ### END SOLUTION\n"
    "    ##### END TODO task1.q_sample #####\nb = 3\n"
)


def test_the_text_around_a_solution_is_unchanged():
    assert clear_source(TEXT) == (
        "a = 1\n    ##### TODO task1.q_sample #####\n    # a hint\n\n"
        '    raise NotImplementedError("TODO task1.q_sample")\n'
        "    ##### END TODO task1.q_sample #####\nb = 3\n"
    )


def test_released_files_are_valid_python(edition):
    for path in edition.path.rglob("*.py"):
        ast.parse(path.read_text(encoding="utf-8"))


def test_hidden_tests_go_and_what_is_not_paired_is_no_release():
    hidden = "    ### BEGIN HIDDEN TESTS\n    assert answer == 42\n    ### END HIDDEN TESTS\n"
    text = TEXT.replace("    ##### END", hidden + "    ##### END")
    assert clear_source(text) == clear_source(TEXT)
    with pytest.raises(UsageError, match=r"ddpm.py contains the marker 'BEGIN SOLUTION'"):
        check(f"{HALVES[0]}/ddpm.py", clear_source(TEXT.replace("    ### END SOLUTION\n", "")).encode())


def check(name, content):
    check_for_leaks({name: content}, HALVES, sorted((ROOT / "solutions").rglob("*.py")))


def test_a_leak_is_found():
    leak = b"def f(x):\n    xt = alpha_bar_t.sqrt() * x0 + (1 - alpha_bar_t).sqrt()  *  noise\n"
    with pytest.raises(UsageError, match=r"would leak: grader/check.py has the solution line 'xt = "):
        check("grader/check.py", leak)
    with pytest.raises(UsageError, match=r"network.py contains the marker 'BEGIN SOLUTION'"):
        check("2d_plot_diffusion_todo/network.py", b"### BEGIN SOLUTION\n")


def test_files_in_folders_of_a_half_are_cleared_and_those_that_have_gone_are_removed(tmp_path, monkeypatch):
    half = tmp_path / "solutions" / HALVES[1]
    for name, content in (("engine/deep/fast.py", TEXT), ("engine/page.md", "about\n")):
        (half / name).parent.mkdir(parents=True, exist_ok=True)
        (half / name).write_text(content)
    (tmp_path / "solutions" / HALVES[0]).mkdir()
    monkeypatch.setattr(release_module, "ROOT", tmp_path)
    old = tmp_path / HALVES[1] / "engine" / "old.py"
    old.parent.mkdir(parents=True)
    old.write_text("x = 1\n")
    kept = tmp_path / HALVES[1] / "results" / "mine.py"
    kept.parent.mkdir()
    kept.write_text("x = 1\n")
    assert release_halves(tmp_path) == (f"{HALVES[1]}/engine/deep/fast.py", f"{HALVES[1]}/engine/page.md")
    assert (tmp_path / HALVES[1] / "engine/deep/fast.py").read_text() == clear_source(TEXT)
    assert (old.exists(), kept.exists()) == (False, True)


def test_an_untouched_edition_is_replaced_and_an_edited_one_is_not(tmp_path):
    destination = tmp_path / "edition"
    release(destination)
    release(destination)
    (destination / "README.md").write_text("mine\n")
    with pytest.raises(UsageError, match="is not empty, and not an unchanged edition of this lab"):
        release(destination)
    assert (destination / "README.md").read_text() == "mine\n"
    forced = release(destination, force=True)
    assert forced.set_aside == tmp_path / "edition.before-1"
    assert (forced.set_aside / "README.md").read_text() == "mine\n"
    assert (destination / "README.md").read_text() != "mine\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["edition", "edition.before-1"]


def test_somebody_elses_folder_and_a_file_are_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work\n")
    with pytest.raises(UsageError, match="is not empty"):
        release(tmp_path)
    with pytest.raises(UsageError, match="is a file, not a folder"):
        release(tmp_path / "thesis.tex", force=True)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    "place", [".", "..", "solutions", "solutions/new", "grader/new", "2d_plot_diffusion_todo", ".git/x"]
)
@pytest.mark.parametrize("force", [False, True])
def test_the_repository_is_never_a_destination(place, force):
    with pytest.raises(UsageError, match="belongs to the repository"):
        release(ROOT / place, force=force)


def test_without_solutions_the_error_says_what_is_needed(tmp_path, monkeypatch):
    monkeypatch.setattr(release_module, "ROOT", tmp_path)
    with pytest.raises(UsageError, match="a release needs the repository's solutions/"):
        release(Path(tmp_path / "x" / "edition"))
