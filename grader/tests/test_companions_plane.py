"""The plane half's companion exercises: formulas, goldens, judges and diagnoses, through the real command line."""

import itertools
import json
import shutil
import subprocess
import sys
import time

import nbformat
import numpy as np
import pytest
import torch
from grader.lab.checks.companions_plane import draws_for
from grader.lab.made_up.mistakes_companions_plane import (
    CASES,
    CHAIN,
    LEFT_ALONE,
    SAMPLER,
    SKIPPING,
    TRAIN,
    WITHOUT_WARMUP,
)
from grader.lab.made_up.styles_companions_plane import CASES as RIGHT
from nbgrader.nbgraderformat import MetadataValidator

from grader import cli
from grader.judging.made_up import Case
from grader.lab import golden_companions_plane as golden
from grader.lab import reference
from grader.lab.diagnosis import CATALOGUE
from grader.lab.edition import check, pack
from grader.lab.reference import Schedule
from grader.lab.release import ROOT, release
from grader.lab.torch_draws import TorchGenerator
from grader.tests.class_run import account, rows_of
from grader.tests.lab import load_half
from grader.tools.builder import write

ROWS = ("extra.train_step", "extra.sampler_loop", "extra.forward_step", "extra.naive_skip")
NOTEBOOK = "2d_plot_diffusion_todo/companions.ipynb"
T = 10
FORMS_OF_T = [3, torch.tensor(3), torch.tensor([3]), torch.full((6,), 3)]

# In every run: the first case of each misconception, and those without one. The same in other words: with -m slow.
FIRST = {case.diagnosis: case for case in reversed(CASES) if case.diagnosis}
BRIEF = [case for case in CASES if case.diagnosis is None or case in FIRST.values()]
REST = [case for case in CASES if case not in BRIEF]


def grade(cases, root, seed=0):
    """{name: {row id: row}} of the four rows."""
    out = root / "grades"
    paths = [str(write(case, root / "in")) for case in cases]
    only = [word for row in ROWS for word in ("--only", row)]
    assert cli.main(["grade", *paths, "--out", str(out), "--seed", str(seed), "--jobs", "2", *only]) == cli.OK
    return {
        case.name: rows_of(json.loads((out / case.name / "result.json").read_text(encoding="utf-8"))) for case in cases
    }


def students(cases):
    """Submissions with a mistake in each exercise, as these are judged apart from each other: [(case, mistakes)]."""
    in_rows = [[case for case in of_row if case in cases] for of_row in (TRAIN, SAMPLER, CHAIN, SKIPPING)]
    for number, column in enumerate(itertools.zip_longest(*in_rows)):
        carried = [case for case in column if case]
        bodies = dict(pair for case in carried for pair in case.bodies.items())
        yield Case(f"student-{number:02}", bodies=bodies), carried


def grade_mistakes(cases, root, seed=0):
    """{name of a mistake: its row}."""
    built = list(students(cases))
    rows = grade([student for student, _ in built], root, seed)
    return {case.name: rows[student.name][case.row] for student, carried in built for case in carried}


@pytest.fixture(scope="module")
def lab():
    return load_half("2d_plot_diffusion_todo")


@pytest.fixture
def ddpm(lab):
    torch.manual_seed(0)
    return lab.ddpm.DiffusionModule(lab.network.SimpleNet(2, 2, [16], T), lab.ddpm.BaseScheduler(T, 0.01, 0.3))


@pytest.fixture(scope="module")
def brief(tmp_path_factory):
    return grade_mistakes(BRIEF, tmp_path_factory.mktemp("companions"))


@pytest.fixture(scope="module")
def rest(tmp_path_factory):
    return grade_mistakes(REST, tmp_path_factory.mktemp("companions"), seed=1)


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    return grade([Case("solved"), LEFT_ALONE, WITHOUT_WARMUP, *RIGHT], tmp_path_factory.mktemp("companions"), seed=2)


def verdict_of(row):
    return row["verdict"], row["diagnosis"]["id"] if row["diagnosis"] else None


@pytest.mark.parametrize("case", BRIEF, ids=lambda case: case.name)
def test_a_mistake_is_named(brief, case):
    assert verdict_of(brief[case.name]) == (case.verdict.value, case.diagnosis), account(brief[case.name])


@pytest.mark.slow
@pytest.mark.parametrize("case", REST, ids=lambda case: case.name)
def test_the_same_mistake_in_other_words_is_named_as_well(rest, case):
    assert verdict_of(rest[case.name]) == (case.verdict.value, case.diagnosis), account(rest[case.name])


@pytest.mark.parametrize("case", [Case("solved"), *RIGHT], ids=lambda case: case.name)
def test_right_solutions_in_other_styles_pass(others, case):
    for row in others[case.name].values():
        assert (row["verdict"], row["points"], row["max"]) == ("passed", 0, 0), account(row)


def test_what_was_left_alone_is_missing(others):
    assert {row["verdict"] for row in others[LEFT_ALONE.name].values()} == {"missing"}
    row = others[LEFT_ALONE.name]["extra.train_step"]
    assert row["message"].startswith("left alone, as companion exercises may be: NotImplementedError: TODO extra.train")
    rows = others[WITHOUT_WARMUP.name]
    assert {name: row["verdict"] for name, row in rows.items()} == {
        "extra.train_step": "missing",
        "extra.sampler_loop": "missing",
        "extra.forward_step": "passed",
        "extra.naive_skip": "passed",
    }
    assert rows["extra.train_step"]["message"] == "warmup.py was not handed in"


def test_every_misconception_about_the_exercises_has_a_case():
    known = {(row, entry.id) for entry in CATALOGUE for row in entry.rows if row in ROWS}
    assert known == {(case.row, case.diagnosis) for case in CASES if case.diagnosis}


def test_a_failed_row_reads_like_those_of_the_lab(brief):
    text = brief["train_step-gradient-without-d"]["message"]
    labels = [line.split(":")[0] for line in text.splitlines()]
    assert labels == ["checked", "expected", "got", "where", "equation"]
    assert "checked: train_step with N = 5, d = 2, T = 10, seed = " in text
    assert "where: train_step, which draws t = " in text


class TestDraws:
    """PyTorch's generator, written out in numpy."""

    @pytest.mark.parametrize("seed", [0, 7, 2**31 - 1, 2**32 + 5, 10**12])
    @pytest.mark.parametrize("shape", [(1,), (3, 1), (5, 3), (16,), (17, 1), (33, 3), (1000, 2)])
    def test_integers_and_normals_are_those_of_torch_in_any_order(self, seed, shape):
        theirs, ours = torch.Generator().manual_seed(seed), TorchGenerator(seed)
        for high in (2, 10, 1000):
            assert int(torch.randint(0, high, (1,), generator=theirs)) == ours.randint(high)
            np.testing.assert_allclose(ours.randn(*shape), torch.randn(shape, generator=theirs), atol=3e-6)


class TestGoldens:
    def test_there_are_several_sizes(self):
        for exercise, sizes in golden.SIZES.items():
            assert all(len(set(part)) >= 3 for part in zip(*sizes, strict=True)), exercise

    @pytest.mark.parametrize("case", [g for g in golden.goldens() if g.exercise == "train_step"])
    def test_a_training_step_is_that_of_autograd(self, case):
        inputs = {name: torch.from_numpy(value).double() for name, value in case.inputs.items() if value.ndim}
        seed, num_timesteps = int(case.inputs["seed"]), len(inputs["betas"])
        t = int(torch.randint(0, num_timesteps, (1,), generator=torch.Generator().manual_seed(seed)))
        eps = torch.randn(inputs["x_clean"].shape, generator=torch.Generator().manual_seed(seed + 1)).double()
        bar = (1 - inputs["betas"]).cumprod(0)[t]
        x_t = bar.sqrt() * inputs["x_clean"] + (1 - bar).sqrt() * eps
        w = inputs["w_model"].requires_grad_(True)
        predicted = torch.cat([x_t, torch.full((len(x_t), 1), t / num_timesteps, dtype=torch.float64)], dim=1) @ w
        optimizer = torch.optim.SGD([w], lr=float(case.inputs["lr"]))
        torch.nn.functional.mse_loss(predicted, eps).backward()
        optimizer.step()
        np.testing.assert_allclose(case.out, w.detach().flatten(), rtol=1e-10)

    @pytest.mark.parametrize("case", [g for g in golden.goldens() if g.exercise == "sampler_loop"])
    def test_a_sample_is_that_of_diffusers(self, case):
        from diffusers import DDPMScheduler

        betas, seed = case.inputs["betas"].astype(float), int(case.inputs["seed"])
        shape, num_timesteps = tuple(case.inputs["shape"].astype(int)), len(betas)
        theirs = DDPMScheduler(num_timesteps, trained_betas=betas, variance_type="fixed_large", clip_sample=False)
        theirs.betas = torch.from_numpy(betas)
        theirs.alphas = 1 - theirs.betas
        theirs.alphas_cumprod = theirs.alphas.cumprod(0)
        w = torch.from_numpy(case.inputs["w_model"]).double()
        x = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).double()
        for t in reversed(range(num_timesteps)):
            predicted = torch.cat([x, torch.full((len(x), 1), t / num_timesteps, dtype=torch.float64)], dim=1) @ w
            x_0 = theirs.step(predicted, t, x).pred_original_sample
            # The mean by way of their predicted x_0 (DDPM Eq. 7); the noise of this exercise is drawn by seed.
            bar, before = theirs.alphas_cumprod[t], theirs.alphas_cumprod[t - 1] if t else torch.tensor(1.0).double()
            x = (before.sqrt() * theirs.betas[t] * x_0 + theirs.alphas[t].sqrt() * (1 - before) * x) / (1 - bar)
            if t:
                z = torch.randn(shape, generator=torch.Generator().manual_seed(seed + 100 + t)).double()
                x = x + theirs.betas[t].sqrt() * z
        np.testing.assert_allclose(case.out, x, rtol=1e-8, atol=1e-8)

    @pytest.mark.parametrize("case", golden.goldens())
    def test_the_solved_lab_agrees_and_leaves_its_inputs_alone(self, lab, case):
        function = lab.warmup.train_step if case.exercise == "train_step" else lab.warmup.sample
        inputs = {name: torch.from_numpy(value) if value.ndim else value.item() for name, value in case.inputs.items()}
        kept = {name: value.clone() for name, value in inputs.items() if torch.is_tensor(value)}
        with torch.no_grad():
            out = function(**inputs)
        assert out.shape == case.out.shape
        np.testing.assert_allclose(out, case.out, atol=2e-5)
        assert all(torch.equal(inputs[name], value) for name, value in kept.items())

    @pytest.mark.parametrize("case", golden.goldens())
    def test_the_judges_own_draws_give_the_same(self, case):
        count, d = case.inputs["x_clean"].shape if "x_clean" in case.inputs else case.inputs["shape"].astype(int)
        size = (int(count), int(d), len(case.inputs["betas"]))
        draws = draws_for(case.exercise, case.inputs, size)
        np.testing.assert_allclose(golden.right_answer(case.exercise, case.inputs, draws), case.out, atol=2e-5)


class TestChain:
    @pytest.mark.parametrize("t", FORMS_OF_T)
    @pytest.mark.parametrize("shape", [(6, 2), (6, 3, 4, 4)])
    def test_forward_step_takes_every_form_of_t_for_points_and_images(self, ddpm, t, shape):
        assert ddpm.forward_step(torch.zeros(shape), t).shape == shape

    def test_all_steps_in_a_row_are_the_closed_form(self, ddpm):
        s = Schedule.linear(T, 0.01, 0.3)
        x = torch.full((200_000, 1), 2.0)
        for t in range(T):
            x = ddpm.forward_step(x, t)
            assert abs(x.mean() - 2 * np.sqrt(s.ab[t])) < 0.02, t
            assert abs(x.var() - (1 - s.ab[t])) < 0.02, t

    def test_the_tables_multiply_up_to_the_closed_form(self):
        s = Schedule.linear(1000, 1e-4, 0.02)
        a, b = reference.forward_step_tables(s)
        variance = 0.0
        for t in range(s.T):
            variance = a[t] ** 2 * variance + b[t] ** 2
            assert variance == pytest.approx(1 - s.ab[t], rel=1e-10)
        np.testing.assert_allclose(np.cumprod(a), np.sqrt(s.ab))

    @pytest.mark.parametrize(
        ("k", "visited"), [(1, list(range(9, -1, -1))), (2, [9, 7, 5, 3, 1]), (3, [9, 6, 3, 0]), (5, [9, 4]), (20, [9])]
    )
    def test_naive_skip_takes_every_kth_step_and_hands_it_on(self, ddpm, monkeypatch, k, visited):
        seen = []
        monkeypatch.setattr(ddpm, "p_sample", lambda xt, t: (seen.append(int(t)), xt + 1)[1])
        torch.manual_seed(3)
        out = ddpm.naive_skip((5, 2), k)
        torch.manual_seed(3)
        assert seen == visited
        assert torch.allclose(out, torch.randn(5, 2) + len(visited))
        assert visited in reference.skipped_timesteps(T, k)


NUMERIC = [
    case
    for case in (*TRAIN, *SAMPLER)
    if case.diagnosis and case in BRIEF and case.diagnosis not in ("weights-changed-in-place", "autograd-used")
]


@pytest.mark.parametrize("case", NUMERIC, ids=lambda case: case.name)
def test_the_goldens_and_the_fresh_cases_each_catch_every_mistake(brief, case):
    checks = {check["id"]: check["verdict"] for check in brief[case.name]["checks"]}
    assert (checks["stored"], checks["fresh"]) == ("failed", "failed"), account(brief[case.name])


class TestStudentsOwnCheck:
    def run(self, edition, *rows):
        command = [sys.executable, "-m", "grader", "check", *rows]
        environment = {"PATH": "/usr/bin:/bin", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, cwd=edition, env=environment, capture_output=True, text=True, timeout=120)
        return done.returncode, done.stdout

    def test_the_edition_checks_the_companions_by_name(self, tmp_path):
        edition, half = release(tmp_path / "edition").path, "2d_plot_diffusion_todo"
        code, text = self.run(edition, *ROWS)
        assert (code, text.splitlines()[-1]) == (1, "0 of 4 passed, 0 failed, 4 not done yet")
        for path in (ROOT / "solutions" / half).glob("*.py"):
            shutil.copyfile(path, edition / half / path.name)
        assert self.run(edition, *ROWS)[0] == 0
        wrong = [
            next(case for case in cases if case.diagnosis == diagnosis)
            for cases, diagnosis in (
                (TRAIN, "gradient-without-d"),
                (SAMPLER, "sampler-seed-offset"),
                (CHAIN, "chain-closed-form"),
                (SKIPPING, "skip-starts-elsewhere"),
            )
        ]
        bodies = dict(pair for case in wrong for pair in case.bodies.items())
        for path in (write(Case("wrong", bodies=bodies), tmp_path) / half).glob("*.py"):
            shutil.copyfile(path, edition / half / path.name)
        code, text = self.run(edition, *ROWS)
        assert (code, text.splitlines()[-1]) == (1, "0 of 4 passed, 4 failed, 0 not done yet")

    def test_the_pack_does_not_ask_for_exercises_without_points(self, tmp_path):
        file = tmp_path / "warmup.py"
        file.write_text('raise NotImplementedError("TODO extra.train_step")\n')
        assert pack.warnings([file]) == []
        file.write_text('raise NotImplementedError("TODO task1.q_sample")\n')
        assert len(pack.warnings([file])) == 1

    def test_without_a_name_only_the_labs_rows_are_checked(self):
        assert check.select([])[0] == list(check.ROWS)
        assert check.select(["extra.train"])[0] == ["extra.train_step"]
        assert "extra.train_step" in check.select(["extra"])[0]


class TestNotebook:
    def read(self, edition):
        return nbformat.read(ROOT / edition / NOTEBOOK, as_version=4)

    @pytest.mark.parametrize("edition", ["solutions", "."])
    def test_it_is_valid_and_holds_no_outputs(self, edition):
        notebook = self.read(edition)
        nbformat.validate(notebook)
        validator = MetadataValidator()
        for cell in notebook.cells:
            validator.validate_cell(cell)
            assert not cell.get("outputs")
            assert cell.get("execution_count") is None
        ids = [cell.id for cell in notebook.cells]
        assert len(set(ids)) == len(ids)

    def test_students_get_all_of_its_code_and_answer_its_question(self):
        given, solved = ({cell.id: cell for cell in self.read(edition).cells} for edition in (".", "solutions"))
        for name, cell in given.items():
            if name == "companions-in-your-own-words":
                assert cell.source.strip() == "YOUR ANSWER HERE"
            else:
                assert cell.source == solved[name].source
        assert sum(cell.metadata.get("nbgrader", {}).get("points", 0) for cell in given.values()) == 0

    @pytest.mark.slow
    def test_it_runs_in_under_three_minutes_and_shows_what_it_says(self, tmp_path):
        from nbclient import NotebookClient

        shutil.copytree(ROOT / "solutions" / "2d_plot_diffusion_todo", tmp_path / "half")
        notebook = nbformat.read(tmp_path / "half" / "companions.ipynb", as_version=4)
        began = time.monotonic()
        NotebookClient(notebook, timeout=180, resources={"metadata": {"path": str(tmp_path / "half")}}).execute()
        assert time.monotonic() - began < 180
        outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
        assert sum("image/png" in output.get("data", {}) for output in outputs) == 4  # chain, noise, samples, why
        printed = "".join(output.text for output in outputs if output.get("name") == "stdout")
        settled = float(printed.split("after 1,000 steps:")[1].split("variance")[1].split()[0])
        assert abs(settled - 1) < 0.03  # over 131,072 pixels, one standard error is 0.004
        table = printed.split("largest gap\n")[1].split("loss")[0].splitlines()
        gaps = [float(line.split()[-1]) for line in table if line.strip()]
        assert len(gaps) == 5
        assert max(gaps) < 0.008  # 1 in 10,000 comparisons of equal distributions
        chamfers = [float(line.split("distance")[1]) for line in printed.splitlines() if line.startswith("k =")]
        assert chamfers[0] < 30
        assert all(later > 1.5 * earlier for earlier, later in itertools.pairwise(chamfers))
        assert chamfers[-1] > 200  # pure noise: 353
