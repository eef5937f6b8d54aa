"""The student's check: solutions in any style pass, the release is "not done yet", wrong answers fail.

What is checked runs in this process, on one thread; the command line, in an edition, has a few tests of its own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from grader.cli import main
from grader.judging.made_up import Case, combined
from grader.lab import LAB, release
from grader.lab.edition import check, half
from grader.lab.publishing import write_files
from grader.lab.release import HALVES
from grader.tools.builder import write

ROOT = Path(__file__).parents[2]
SOLUTIONS = ROOT / "solutions"
ROWS = {row.id: row.folder for row in release.public_rows()}
SCORED = [row.id for row in release.public_rows() if not row.companion]


@pytest.fixture
def checked(tmp_path, monkeypatch):
    """Runs the public check of a row on a submission: its state, and the parts of the text."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # tensors are small: more threads would only wait for each other

    def run(row, *parts, seeds=()):
        shutil.rmtree(tmp_path / "lab", ignore_errors=True)
        write(combined("lab", parts), tmp_path)
        with monkeypatch.context() as here:
            here.chdir(tmp_path / "lab" / ROWS[row])
            here.syspath_prepend(tmp_path / "lab" / ROWS[row])
            try:
                for seed in seeds:
                    torch.manual_seed(seed)
                    LAB.room(row, "public").check()
                return half.run(row)
            finally:
                forget(tmp_path)

    yield run
    torch.set_num_threads(threads)


def forget(folder):
    """Modules of both halves have the same names: none may be left for the next check."""
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(folder)):
            del sys.modules[name]


@pytest.mark.parametrize("row", ROWS)
def test_the_solution_passes_under_every_seed(row, checked):
    assert checked(row, seeds=(1, 2, 3)) == ("passed", {})


@pytest.mark.parametrize("row", ROWS)
def test_right_solutions_in_other_styles_pass(row, checked):
    refused = {style.name: checked(row, style) for style in LAB.room(row, "made_up").STYLES}
    assert {name: parts for name, (state, parts) in refused.items() if state != "passed"} == {}


def test_rows_are_those_of_the_rubric():
    assert [row.id for row in LAB.rubric if row.is_code] == SCORED
    assert [row for row in ROWS if row not in SCORED] == [row.id for row in LAB.rubric if row.kind == "companion"]


@pytest.mark.parametrize("row", ROWS)
def test_most_mistakes_fail_with_every_part_of_the_text(row, checked):
    """Grading finds them all; a public check, whose numbers everybody knows, does not."""
    results = {case.name: checked(row, case) for case in LAB.room(row, "made_up").MISTAKES}
    unseen = [name for name, (state, _) in results.items() if state == "passed"]
    assert len(unseen) <= len(results) / 2, unseen
    failed = {name: parts for name, (state, parts) in results.items() if state == "failed"}
    assert failed
    for name, parts in failed.items():
        assert set(parts) == set(half.LABELS), name
        assert all(parts.values()), (name, parts)
        assert max(len(part) for part in parts.values()) < 400, name  # never a whole tensor


def test_the_text_of_a_wrong_value(checked):
    wrong = {
        "task1.q_sample": "ab = extract(self.var_scheduler.alphas_cumprod, t, x0)\nxt = ab * x0 + (1 - ab) * noise"
    }
    assert checked("task1.q_sample", Case("variances", bodies=wrong)) == (
        "failed",
        {
            "checked": "x_t from given x0, t and noise",
            "expected": "-0.75892 at index [0, 1]",
            "got": "-0.29162 (off by 0.47; 16 of 16 numbers are wrong)",
            "where": "q_sample in ddpm.py, x0 (8, 2), t (8,) with another timestep for each point",
            "hint": "noise is scaled by a standard deviation; both factors are looked up at each point's own t",
            "equation": "q(x_t | x_0) = N(sqrt(alpha-bar_t) x_0, (1 - alpha-bar_t) I)    DDPM Eq. 4",
        },
    )


PICKY = """
right = {owner}.{name}


def picky(self, x, t, *rest):
    if not ({form}):
        raise TypeError("another form, please")
    return right(self, x, t, *rest)


{owner}.{name} = picky
"""


@pytest.mark.parametrize(
    "form", ["isinstance(t, int)", "t.dim() == 0", "t.shape == (1,)", "len(t) > 1"], ids=["int", "0-d", "[1]", "[B]"]
)
@pytest.mark.parametrize(
    ("row", "file", "owner", "name"),
    [
        ("task1.p_sample", "ddpm.py", "DiffusionModule", "p_sample"),
        ("task2.step_x0", "scheduler.py", "DDPMScheduler", "step_predict_x0"),
    ],
)
def test_one_form_of_t_is_enough(row, file, owner, name, form, checked):
    path = f"{ROWS[row]}/{file}"
    source = (SOLUTIONS / path).read_text(encoding="utf-8") + PICKY.format(owner=owner, name=name, form=form)
    assert checked(row, Case("picky", files={path: source})) == ("passed", {})


# --- the command, in a student edition -------------------------------------------------------------------


@pytest.fixture(scope="module")
def edition(tmp_path_factory):
    folder = tmp_path_factory.mktemp("edition")
    write_files(folder, release.edition_files())
    return folder


def command(folder, *arguments):
    done = subprocess.run(
        [sys.executable, "-m", "grader", *arguments],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_the_release_is_not_done_yet(edition):
    code, out, err = command(edition, "check", "task", "extra")
    assert (code, err) == (1, "")
    assert out.count("not done yet") == len(ROWS) + 1
    assert out.endswith("0 of 20 passed, 0 failed, 20 not done yet\n")
    assert "where     ddpm.py:" in out


def test_prints_do_not_disturb_and_broken_files_and_dead_processes_are_said(edition, tmp_path):
    folder = tmp_path / "solved"
    shutil.copytree(edition, folder)
    for name in HALVES:
        shutil.copytree(
            SOLUTIONS / name, folder / name, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
        )
    source = folder / HALVES[0] / "ddpm.py"
    source.write_text("print('hello from ddpm')\n" + source.read_text(encoding="utf-8"), encoding="utf-8")
    (folder / HALVES[1] / "model.py").write_text("def broken(:\n", encoding="utf-8")
    code, out, err = command(folder, "check", "task1.q", "task1.simplenet", "task2.add", "task2.loss_x0")
    assert code == 1
    assert out.startswith(
        "task1.simplenet      passed\ntask1.q_sample       passed\ntask2.add_noise      passed\n"
        "task2.loss_x0        FAILED\n    checked   that the code runs\n    expected  a result\n"
        "    got       SyntaxError: invalid syntax (model.py, line 1)\n    where     model.py:1\n"
    )
    assert out.endswith("3 of 4 passed, 1 failed, 0 not done yet\n")
    assert "hello from ddpm" in err
    source.write_text("import os\nos._exit(5)\n", encoding="utf-8")
    assert command(folder, "check", "task1.simplenet", "task1.q_sample")[:2] == (
        1,
        "task1.simplenet      passed\ntask1.q_sample       FAILED\n"
        "    Python ended with exit code 5 before this row was done\n1 of 2 passed, 1 failed, 0 not done yet\n",
    )


def test_unknown_rows_get_near_matches(edition):
    assert command(edition, "check", "q_sampl") == (
        2,
        "",
        "no row starts with 'q_sampl': did you mean task1.q_sample?\n",
    )
    assert command(edition, "chek")[::2] == (2, "unknown verb 'chek'; known are check, pack\n")
    assert command(edition / "grader", "check")[0] != 0


def test_another_folder_is_said_so_from_the_repository_as_well(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["check"]) == 2
    assert "change to the folder that holds them" in capsys.readouterr().err


def test_companions_are_checked_by_name_only():
    rows = release.public_rows()
    assert check.ids(check.select([], rows)[0]) == SCORED
    assert check.ids(check.select(["extra.f"], rows)[0]) == ["extra.forward_step", "extra.fast_sample"]


def test_a_companion_is_of_its_half(monkeypatch, capsys):
    asked = []
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(check, "run_half", lambda folder, rows: asked.append((str(folder), rows)) or [])
    assert check.main(["extra.t", "extra.c", "task1.q"], release.public_rows()) == 0
    assert asked == [(HALVES[0], ["task1.q_sample", "extra.train_step"]), (HALVES[1], ["extra.class_conditional"])]
    assert capsys.readouterr().out == "0 of 0 passed\n"
