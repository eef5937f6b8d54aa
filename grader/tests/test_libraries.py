"""Installed packages that hold answers: no row finds them but the one that is about them."""

from __future__ import annotations

import importlib.util
import io
import zipfile
from pathlib import Path

import pytest

from grader.judging.made_up import Case, before
from grader.lab import LAB
from grader.lab.files import SCHEDULER, TASK2
from grader.sandbox import ProbeFailure, Sandbox, SandboxKind
from grader.sandbox.libraries import packed, places
from grader.tests.class_run import assert_outcomes, graded_rows
from grader.tests.test_sandbox import LIMITS, PROBES, needs_bubblewrap

HERE = "diffusers"
FOLDER = str(Path(str(importlib.util.find_spec(HERE).origin)).parent)
FINDS = """
import importlib, importlib.util, os, sys

def imported(name):
    return importlib.import_module(name).__name__

def listed(path):
    return os.listdir(path)

def guarded():
    try:
        import diffusers
    except ImportError as error:
        return str(error)

def plain():
    from diffusers import DDPMScheduler
    return repr(DDPMScheduler)

def by_force():
    sys.meta_path[:] = [importlib.machinery.PathFinder]
    from diffusers import DDPMScheduler
    return DDPMScheduler.__name__
"""


@pytest.fixture(
    scope="module",
    params=[pytest.param(SandboxKind.BUBBLEWRAP, marks=needs_bubblewrap), SandboxKind.NONE],
)
def sandbox(request, tmp_path_factory):
    root = tmp_path_factory.mktemp("submission")
    (root / "half").mkdir()
    (root / "half" / "finds.py").write_text(FINDS)
    (root / "half" / "monai.py").write_text("ours = 1\n")
    (root / "probes.py").write_text(PROBES)
    material = LAB.material.with_probes(root / "probes.py")
    limits = LIMITS.model_copy(update={"scratch_mib": 128, "file_mib": 64})
    with Sandbox(root, {"half": "half"}, limits, material, request.param) as made:
        yield made


def asked(sandbox: Sandbox, name: str, *args: str, libraries: tuple[str, ...] = ()) -> object:
    sandbox.renew(libraries)
    call = {"module": "finds", "name": name, "args": args}
    return sandbox.call("half", "run", call).data["result"]


def test_it_is_as_good_as_not_installed(sandbox):
    assert asked(sandbox, "guarded") == "No module named 'diffusers'"
    assert "which is not installed" in asked(sandbox, "plain")  # a placeholder, as for everything that is missing
    with pytest.raises(ProbeFailure, match="No module named 'diffusers"):
        asked(sandbox, "imported", "diffusers.schedulers")


def test_its_files_are_out_of_sight(sandbox):
    if sandbox.kind is not SandboxKind.BUBBLEWRAP:
        pytest.skip("there is no mount that could hide them")
    assert asked(sandbox, "listed", FOLDER) == []
    with pytest.raises(ProbeFailure, match="ImportError"):
        asked(sandbox, "by_force")


def test_other_libraries_and_a_module_of_the_students_by_such_a_name_are_found(sandbox):
    assert asked(sandbox, "imported", "monai") == "monai"
    assert asked(sandbox, "imported", "torchvision") == "torchvision"


@pytest.mark.slow
def test_a_row_that_is_about_it_finds_it(sandbox):
    assert asked(sandbox, "by_force", libraries=(HERE,)) == "DDPMScheduler"
    assert "class 'diffusers." in asked(sandbox, "plain", libraries=(HERE,))
    assert asked(sandbox, "guarded") == "No module named 'diffusers'"  # the row after


def test_packages_are_found_wherever_they_lie(tmp_path, monkeypatch):
    for place in ("one/package", "two/package"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "__init__.py").write_text("x = 1\n")
    (tmp_path / "two" / "module.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(tmp_path / "one")
    monkeypatch.syspath_prepend(tmp_path / "two")
    names = ("package", "module", "absent_from_here")
    assert places(names) == sorted(tmp_path / name for name in ("one/package", "two/package", "two/module.py"))
    with zipfile.ZipFile(io.BytesIO(packed(names))) as archive:
        assert archive.namelist() == ["package/__init__.py", "module.py"]
    assert packed(("absent_from_here",)) == b""


COPIED = Case(
    "copied",
    replace=before(SCHEDULER, "class BaseScheduler(", "from diffusers import DDPMScheduler as Theirs\n\n\n")
    | before(f"{TASK2}/companions.py", "import torch\nimport torch.nn", "from diffusers import DDIMScheduler\n\n\n"),
)


@pytest.mark.slow
def test_an_import_of_it_costs_nobody_the_rows_that_do_not_use_it(tmp_path):
    rows = graded_rows(COPIED, tmp_path)
    assert_outcomes(rows)
