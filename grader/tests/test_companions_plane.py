"""The plane half's companion exercises: formulas, goldens, the students' own check, the notebook."""

import itertools
import shutil

import nbformat
import numpy as np
import pytest
import torch
from nbgrader.nbgraderformat import MetadataValidator

from grader.lab import reference
from grader.lab.golden_companions_plane import GOLDEN, SIZES, TorchsOwn
from grader.lab.goldens import SAME
from grader.lab.reference import Schedule
from grader.lab.release import ROOT
from grader.lab.torch_draws import TorchGenerator
from grader.tests.clock import cpu_seconds
from grader.tests.lab import load_half

ROWS = ("extra.train_step", "extra.sampler_loop", "extra.forward_step", "extra.naive_skip")
NOTEBOOK = "2d_plot_diffusion_todo/companions.ipynb"
T = 10
FORMS_OF_T = [3, torch.tensor(3), torch.tensor([3]), torch.full((6,), 3)]
TRAIN_STEP, SAMPLER_LOOP = SIZES
STORED = [(warmup, case) for warmup in SIZES for case in warmup.stored()]


@pytest.fixture(scope="module")
def lab():
    return load_half("2d_plot_diffusion_todo")


@pytest.fixture
def ddpm(lab):
    torch.manual_seed(0)
    return lab.ddpm.DiffusionModule(lab.network.SimpleNet(2, 2, [16], T), lab.ddpm.BaseScheduler(T, 0.01, 0.3))


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
    def test_the_stored_ones_are_what_their_maker_makes(self):
        moved = GOLDEN.differences(GOLDEN.make())
        assert "train_step.0.out" in moved
        assert max(moved.values()) <= SAME

    def test_there_are_several_sizes(self):
        for sizes in SIZES.values():
            assert all(len(set(part)) >= 3 for part in zip(*sizes, strict=True))

    @pytest.mark.parametrize("case", TRAIN_STEP.stored(), ids=str)
    def test_a_training_step_is_that_of_autograd(self, case):
        betas, x_clean, w = (torch.from_numpy(case[name]) for name in ("betas", "x_clean", "w_model"))
        drawn = TRAIN_STEP.draws(case, TorchsOwn)
        eps, bar = torch.from_numpy(drawn["eps"]).double(), (1 - betas).cumprod(0)[int(drawn["t"])]
        x_t = bar.sqrt() * x_clean + (1 - bar).sqrt() * eps
        time = torch.full((len(x_t), 1), float(drawn["t"]) / len(betas), dtype=torch.float64)
        optimizer = torch.optim.SGD([w.requires_grad_(True)], lr=float(case["lr"]))
        torch.nn.functional.mse_loss(torch.cat([x_t, time], dim=1) @ w, eps).backward()
        optimizer.step()
        np.testing.assert_allclose(case.expected, w.detach().flatten(), rtol=1e-10)

    @pytest.mark.parametrize("case", SAMPLER_LOOP.stored(), ids=str)
    def test_a_sample_is_that_of_diffusers(self, case):
        from diffusers import DDPMScheduler

        betas, w = case["betas"], torch.from_numpy(case["w_model"])
        theirs = DDPMScheduler(len(betas), trained_betas=betas, variance_type="fixed_large", clip_sample=False)
        theirs.betas = torch.from_numpy(betas)
        theirs.alphas = 1 - theirs.betas
        theirs.alphas_cumprod = theirs.alphas.cumprod(0)
        x = torch.from_numpy(case.randn(0, TorchsOwn)).double()
        for t in reversed(range(len(betas))):
            time = torch.full((len(x), 1), t / len(betas), dtype=torch.float64)
            x_0 = theirs.step(torch.cat([x, time], dim=1) @ w, t, x).pred_original_sample
            # The mean by way of their predicted x_0 (DDPM Eq. 7); the noise of this exercise is drawn by seed.
            bar, before = theirs.alphas_cumprod[t], theirs.alphas_cumprod[t - 1] if t else torch.tensor(1.0).double()
            x = (before.sqrt() * theirs.betas[t] * x_0 + theirs.alphas[t].sqrt() * (1 - before) * x) / (1 - bar)
            if t:
                x = x + theirs.betas[t].sqrt() * torch.from_numpy(case.randn(100 + t, TorchsOwn)).double()
        np.testing.assert_allclose(case.expected, x, rtol=1e-8, atol=1e-8)

    @pytest.mark.parametrize(("warmup", "case"), STORED, ids=lambda part: getattr(part, "name", str(part)))
    def test_the_solved_lab_agrees_and_leaves_its_inputs_alone(self, lab, warmup, case):
        inputs = {name: torch.from_numpy(value) if value.ndim else value.item() for name, value in case.inputs.items()}
        kept = {name: value.clone() for name, value in inputs.items() if torch.is_tensor(value)}
        with torch.no_grad():
            out = getattr(lab.warmup, warmup.function)(**inputs)
        assert out.shape == case.expected.shape
        np.testing.assert_allclose(out, case.expected, atol=2e-5)
        assert all(torch.equal(inputs[name], value) for name, value in kept.items())

    @pytest.mark.parametrize(("warmup", "case"), STORED, ids=lambda part: getattr(part, "name", str(part)))
    def test_the_judges_own_draws_give_the_same(self, warmup, case):
        np.testing.assert_allclose(warmup.right(case, warmup.draws(case, TorchGenerator)), case.expected, atol=2e-5)


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
        began = cpu_seconds()
        NotebookClient(notebook, timeout=180, resources={"metadata": {"path": str(tmp_path / "half")}}).execute()
        assert 1 < cpu_seconds() - began < 180  # the kernel's
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
