"""A checkout or a wheel works wherever it lies: below /tmp, under odd names, read-only, somebody else's."""

from __future__ import annotations

import csv
import json
import os
import runpy
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from fnmatch import fnmatch
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from grader.lab import LAB
from grader.sandbox import SandboxUnavailable, installation, mounts
from grader.sandbox.kinds import bubblewrap
from grader.sandbox.mounts import Mounts
from grader.tests.installations import REPOSITORY, build_wheel, checkout, environment
from grader.tests.test_sandbox import needs_bubblewrap

ODD = "ein Prüfstand 實驗 'x'"
SUFFIXES = {".py", ".toml", ".csv", ".md", ".json", ".npz", ".txt", ".html", ".css", ".js", ".j2", ".sh", ""}


def plan(monkeypatch: pytest.MonkeyPatch, *folders: str, private: tuple[str, ...] = ()) -> list[str]:
    """bwrap's mounts for an interpreter in some folders, a line each; without those of the system."""
    monkeypatch.setattr(mounts, "interpreter_folders", lambda: [Path(folder) for folder in folders])
    monkeypatch.setattr(mounts, "private_folders", lambda: [Path(folder) for folder in private])
    monkeypatch.setattr(mounts, "telltale_files", list)
    monkeypatch.setattr(mounts, "SYSTEM", ())
    monkeypatch.setattr(mounts, "CONFIGURATION", ())
    made = Mounts(48, gpu=False)
    made.show(Path("/real/worker"), "worker")
    made.show(Path("/real/submission"), "submission")
    return " ".join(made.arguments()).replace(" --", "\n--").splitlines()


class TestOrderOfMounts:
    def test_the_private_tmp_comes_before_an_interpreter_below_the_real_one(self, monkeypatch):
        lines = plan(monkeypatch, "/tmp/clone/.venv", "/tmp/python", private=("/tmp/clone",))
        steps = [
            "--size 50331648",
            "--tmpfs /tmp",
            "--ro-bind /tmp/python /tmp/python",
            "--tmpfs /tmp/clone",  # a mount of its own: a submission can neither rename it nor write into it
            "--ro-bind /tmp/clone/.venv /tmp/clone/.venv",
            "--remount-ro /tmp/clone",
            "--ro-bind /real/submission /submission",
            "--remount-ro /",
        ]
        assert [line for line in lines if line in steps] == steps

    def test_shared_memory_is_no_different(self, monkeypatch):
        lines = plan(monkeypatch, "/dev/shm/clone/.venv")
        order = ["--tmpfs /dev/shm", "--tmpfs /dev/shm/clone", "--ro-bind /dev/shm/clone/.venv /dev/shm/clone/.venv"]
        assert [line for line in lines if line in order] == order

    def test_a_mask_still_hides_the_grader_among_the_libraries(self, monkeypatch):
        lines = plan(monkeypatch, "/tmp/venv", private=("/tmp/venv/lib/grader",))
        order = ["--ro-bind /tmp/venv /tmp/venv", "--tmpfs /tmp/venv/lib/grader", "--remount-ro /tmp/venv/lib/grader"]
        assert [line for line in lines if line in order] == order

    def test_the_workers_folders_make_way_for_an_interpreter_of_the_same_name(self, monkeypatch):
        lines = plan(monkeypatch, "/grader/.venv", "/submission/.venv", "/tmp/scratch/.venv")
        assert "--ro-bind /real/worker /grader-/worker" in lines
        assert "--ro-bind /real/submission /submission-" in lines
        assert Mounts(48, gpu=False).scratch == "/tmp/scratch-"

    @pytest.mark.parametrize("folder", ["/tmp", "/dev"])
    def test_an_interpreter_that_is_all_of_tmp_is_refused(self, monkeypatch, folder):
        with pytest.raises(SandboxUnavailable, match=f"this Python's folder is {folder}, and submissions write into"):
            plan(monkeypatch, folder)


@pytest.fixture
def below_tmp():
    folder = Path(tempfile.mkdtemp(dir="/tmp", prefix=f"ddpm {ODD} "))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def inside(script: str) -> str:
    """What a shell prints in the sandbox."""
    with tempfile.TemporaryFile() as output:
        bubblewrap.wrap(Mounts(1, gpu=False), ["/bin/sh", "-c", script], (), output.fileno()).wait(60)
        output.seek(0)
        return os.fsdecode(output.read())


@needs_bubblewrap
def test_below_tmp_only_the_interpreter_is_shown_and_nothing_leads_around_the_limit(below_tmp, monkeypatch):
    """Names with spaces, letters beyond ASCII and bytes that are no UTF-8."""
    python = below_tmp / os.fsdecode(b"\xff env") / "lib"
    python.mkdir(parents=True)
    (python / "module.py").write_text("")
    (below_tmp / "solutions").mkdir()
    monkeypatch.setattr(mounts, "interpreter_folders", lambda: [python])
    for folder, _, _ in os.walk(below_tmp):
        os.chmod(folder, 0o777)  # what keeps a submission from writing is not the mode
    script = (
        "ls -A /tmp; cd /tmp/ddpm*; ls -A; ls -A */lib; mv /tmp/ddpm* /tmp/moved || echo stays; "
        "touch x || echo closed; touch */x || echo closed; touch */lib/x || echo closed; "
        "head -c 2000000 /dev/zero > /tmp/fill || echo full; echo $(wc -c < /tmp/fill)"
    )
    lines = [line for line in inside(script).splitlines() if ": " not in line]  # without what the tools complain of
    assert lines[0] == below_tmp.name
    assert lines[2:] == ["module.py", "stays", "closed", "closed", "closed", "full", "1048576"]
    assert lines[1] == python.parent.name


class TestWhatIsMissingIsNamed:
    def test_nothing_is_said_where_all_is_found(self):
        done = subprocess.run([sys.executable, "-c", installation.LACKING], capture_output=True, text=True, check=True)
        if os.geteuid() != 0:  # root's libraries may be closed to the user that this becomes
            assert done.stdout == "lacks\n"
        assert installation.lacking("a warning\nlacks\n") == ""
        assert installation.lacking("") == ""

    @pytest.mark.parametrize(
        ("origin", "message"),
        [
            (None, f"torch is not installed in {sys.prefix}, and the grader needs it"),
            (
                f"{sys.prefix}/lib/torch/__init__.py",
                f"submissions run as another user, who cannot read torch in {sys.prefix}/lib: `chmod -R go+rX",
            ),
            (
                "/home/somebody/.local/torch/__init__.py",
                "submissions would not find torch, which this Python imports from /home/somebody/.local: what is on "
                "PYTHONPATH or was installed with --user is hidden from them",
            ),
        ],
    )
    def test_a_package_that_a_worker_would_not_find(self, monkeypatch, origin, message):
        spec = origin and ModuleSpec("torch", None, origin=origin)
        monkeypatch.setattr(installation.importlib.util, "find_spec", lambda name: spec)
        assert installation.lacking("lacks torch safetensors\n").startswith(message)

    def test_a_python_that_does_not_start(self):
        text = bubblewrap.explain(f"bwrap: execvp {sys.executable}: No such file or directory")
        assert text.startswith("this Python does not start inside the sandbox (bwrap: execvp")
        assert sys.prefix in text


class TestPackage:
    def test_every_file_beside_the_code_is_packaged(self):
        data = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
        patterns = data["tool"]["setuptools"]["package-data"]["grader"]
        for name in shipped_files():
            here = name.removeprefix("grader/")
            assert here.endswith(".py") or any(
                fnmatch(f"/{here}", p.replace("**", "*", 1)) or here == p for p in patterns
            )

    def test_the_halves_that_are_packaged_are_the_labs(self):
        assert runpy.run_path(str(REPOSITORY / "setup.py"))["HALVES"] == tuple(half.folder for half in LAB.halves)


def shipped_files() -> list[str]:
    """Files below grader/ that belong to it, as they are named in a wheel."""
    return sorted(
        path.relative_to(REPOSITORY).as_posix()
        for path in (REPOSITORY / "grader").rglob("*")
        if path.is_file()
        and path.suffix in SUFFIXES
        and not {"tests", "__pycache__", ".ipynb_checkpoints"} & set(path.relative_to(REPOSITORY).parts)
    )


def grade(command: list[object], cwd: Path, out: Path) -> dict[str, object]:
    """Grade the solved lab for a row of each half, so that scratch is swept in between."""
    rows = ["--only", "task1.q_sample", "--only", "task2.add_noise", "--seed", "3"]
    done = subprocess.run(
        [*map(str, command), "grade", str(REPOSITORY / "solutions"), "--out", str(out), *rows],
        cwd=cwd,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, object] = json.loads((out / "solutions" / "result.json").read_text(encoding="utf-8"))
    assert result["points"] == 8
    assert (out / "solutions" / "report.html").is_file()
    assert (out / "class.html").is_file()
    return result


def without_the_right_to_write() -> list[str]:
    """For root, who writes where the modes forbid it: a command that gives this up."""
    rights = "-dac_override,-dac_read_search,-fowner"
    return ["setpriv", "--bounding-set", rights] if os.geteuid() == 0 else []


@needs_bubblewrap
@pytest.mark.slow
def test_a_read_only_checkout_below_tmp_that_is_somebody_elses(below_tmp, tmp_path):
    if os.geteuid() == 0 and not shutil.which("setpriv"):
        pytest.skip("root can write everywhere")
    here = checkout(below_tmp / ODD)
    python = environment(here / ".venv")
    for folder, _, files in os.walk(here, topdown=False):
        for path in (folder, *(os.path.join(folder, name) for name in files)):
            if not os.path.islink(path):
                os.chmod(path, os.stat(path).st_mode & ~0o222 | 0o444)
            if os.geteuid() == 0:
                os.chown(path, 30_000, 30_000, follow_symlinks=False)
    try:
        assert subprocess.run([*without_the_right_to_write(), "touch", here / "x"], capture_output=True).returncode
        result = grade([*without_the_right_to_write(), python, "-m", "grader"], here, tmp_path / "grades")
        assert result["sandbox"] == "bubblewrap"
    finally:
        for folder, _, _ in os.walk(here):
            os.chmod(folder, 0o755)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    return build_wheel(checkout(folder / "source"), folder)


@pytest.fixture(scope="module")
def command(wheel: Path) -> Path:
    python = environment(wheel.parent / "elsewhere")
    arguments = ["install", "--quiet", "--no-deps", "--no-index", "--disable-pip-version-check", wheel]
    subprocess.run([sys.executable, "-m", "pip", "--python", python, *arguments], check=True)
    return python.with_name("ddpm-grader")


@pytest.mark.slow
class TestWheel:
    def test_holds_the_grader_and_the_halves_and_no_tests(self, wheel):
        names = {name for name in zipfile.ZipFile(wheel).namelist() if not name.endswith("/")}
        released = {name for name in names if name.startswith("grader/lab/released/")}
        assert {name for name in names - released if ".dist-info/" not in name} == set(shipped_files())
        assert {f"grader/lab/released/{half.folder}/{half.modules[0]}.py" for half in LAB.halves} <= released
        assert not [name for name in released if "__pycache__" in name]

    def test_knows_its_version(self, command, tmp_path):
        done = subprocess.run([command, "--version"], cwd=tmp_path, capture_output=True, text=True, check=True)
        assert done.stdout.startswith("ddpm-grader ")

    @needs_bubblewrap
    def test_grades_and_knows_what_was_handed_out(self, command, tmp_path):
        result = grade([command], tmp_path, tmp_path / "grades")
        assert not [remark for remark in result["remarks"] if "extra" in remark.lower()], result["remarks"]
        with open(tmp_path / "grades" / "summary.csv", encoding="utf-8", newline="") as file:
            assert [line["id"] for line in csv.DictReader(file)] == ["solutions"]

    def test_a_release_says_that_it_takes_the_repository(self, command, tmp_path):
        done = subprocess.run([command, "release", tmp_path / "edition"], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 2
        assert "a release needs the repository's solutions/" in done.stderr
        assert not (tmp_path / "edition").exists()
