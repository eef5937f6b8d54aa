"""The student's check: the solution passes, the release is "not done yet", wrong answers fail."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from grader.cli import main
from grader.lab import LAB, release
from grader.lab.edition import check, half
from grader.lab.publishing import write_files
from grader.lab.release import HALVES

ROOT = Path(__file__).parents[2]
SOLUTIONS = ROOT / "solutions"
TODO_MODULES = {half.folder: half.modules for half in LAB.halves}
ROWS = {row.id: row.folder for row in release.public_rows()}
SCORED = [row.id for row in release.public_rows() if not row.companion]


def forget_the_lab():
    """Modules of both halves have the same names: none may be left from another test."""
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(SOLUTIONS)):
            del sys.modules[name]


@pytest.fixture
def solved(monkeypatch):
    """Imports the modules with TODOs of the solved half of a row, afresh for each test."""
    forget_the_lab()
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def load(row):
        monkeypatch.syspath_prepend(SOLUTIONS / ROWS[row])
        return [__import__(name) for name in TODO_MODULES[ROWS[row]]]

    yield load
    forget_the_lab()


@pytest.mark.parametrize("row", ROWS)
def test_the_solution_passes(row, solved):
    solved(row)
    assert half.run(row) == ("passed", {})


@pytest.mark.parametrize("row", ROWS)
def test_every_seed_passes(row, solved):
    solved(row)
    for seed in range(1, 4):
        torch.manual_seed(seed)
        LAB.room(row, "public").check()


def test_rows_are_those_of_the_rubric():
    assert [row.id for row in LAB.rubric if row.is_code] == SCORED
    assert [row for row in ROWS if row not in SCORED] == [row.id for row in LAB.rubric if row.kind == "companion"]


# --- obviously wrong answers, each given in place of the solution's method -----------------------------


def time_ignored(net, ddpm):
    forward = net.SimpleNet.forward
    net.SimpleNet.forward = lambda self, x, t: forward(self, x, torch.zeros_like(t))


def no_activation(net, ddpm):
    init = net.SimpleNet.__init__

    def linear(self, *args, **kwargs):
        init(self, *args, **kwargs)
        self.activation = torch.nn.Identity()

    net.SimpleNet.__init__ = linear


def half_the_output(net, ddpm):
    forward = net.SimpleNet.forward
    net.SimpleNet.forward = lambda self, x, t: forward(self, x, t)[:, :1]


def squeezed(net, ddpm):
    forward = net.SimpleNet.forward
    net.SimpleNet.forward = lambda self, x, t: forward(self, x, t).squeeze()


def a_spare_layer(net, ddpm):
    init = net.SimpleNet.__init__

    def more(self, *args, **kwargs):
        init(self, *args, **kwargs)
        self.spare = torch.nn.Linear(2, 2)

    net.SimpleNet.__init__ = more


def q(formula):
    def install(net, ddpm):
        def q_sample(self, x0, t, noise=None):
            ab = ddpm.extract(self.var_scheduler.alphas_cumprod, t, x0)
            alpha = ddpm.extract(self.var_scheduler.alphas, t, x0)
            return formula(x0, noise, ab, alpha, t)

        ddpm.DiffusionModule.q_sample = q_sample

    return install


def p(mean=lambda m: m, sigma=lambda small, beta, t: small, draw=torch.randn_like):
    """A reverse step by float64 tables, with one thing changed."""

    def install(net, ddpm):
        def p_sample(self, xt, t):
            t = int(torch.as_tensor(t).reshape(-1)[0])
            small, beta, right = step_tables(self.var_scheduler, xt, self.network(xt, torch.tensor([t])), t)
            return mean(right) + sigma(small, beta, t) * draw(xt)

        ddpm.DiffusionModule.p_sample = p_sample

    return install


def step_tables(scheduler, xt, eps, t):
    ab = scheduler.alphas_cumprod.double()
    before = ab[t - 1] if t else torch.tensor(1.0, dtype=torch.float64)
    beta = scheduler.betas.double()[t]
    right = (xt - beta / (1 - ab[t]).sqrt() * eps) / (1 - beta).sqrt()
    return ((1 - before) / (1 - ab[t]) * beta).sqrt().float(), beta.sqrt().float(), right.float()


def loop(steps, start=torch.randn):
    def install(net, ddpm):
        def p_sample_loop(self, shape):
            x = start(shape)
            for t in steps(self.var_scheduler.num_train_timesteps):
                x = self.p_sample(x, t)
            return x

        ddpm.DiffusionModule.p_sample_loop = p_sample_loop

    return install


def loss(compute, times=torch.randint):
    def install(net, ddpm):
        def compute_loss(self, x0):
            t = times(0, self.var_scheduler.num_train_timesteps, (x0.shape[0],))
            eps = torch.randn_like(x0)
            return compute(self, x0, t, eps, self.network(self.q_sample(x0, t, eps), t))

        ddpm.DiffusionModule.compute_loss = compute_loss

    return install


def images(method, wrap):
    """`wrap` gets the solution's method of the scheduler and returns the wrong one."""

    def install(scheduler, model):
        setattr(scheduler.DDPMScheduler, method, wrap(getattr(scheduler.DDPMScheduler, method)))

    return install


def image_loss(method, compute):
    def install(scheduler, model):
        def wrong(self, x0, class_label=None, noise=None):
            t = self.var_scheduler.uniform_sample_t(x0.shape[0], x0.device)
            x_t, eps = self.var_scheduler.add_noise(x0, t, noise)
            return compute(self.network(x_t, timestep=t, class_label=class_label), x0, x_t, eps)

        setattr(model.DiffusionModule, method, wrong)

    return install


def cosine(change):
    def install(scheduler, model):
        right = scheduler.cosine_betas
        scheduler.cosine_betas = lambda T, *args: change(right(T, *args))

    return install


def mse(a, b):
    return ((a - b) ** 2).mean()


WRONG = {
    "task1.simplenet": [time_ignored, no_activation, half_the_output, squeezed, a_spare_layer],
    "task1.q_sample": [
        q(lambda x0, n, ab, alpha, t: x0),
        q(lambda x0, n, ab, alpha, t: None),
        q(lambda x0, n, ab, alpha, t: ab * x0 + (1 - ab) * n),
        q(lambda x0, n, ab, alpha, t: alpha.sqrt() * x0 + (1 - alpha).sqrt() * n),
        q(lambda x0, n, ab, alpha, t: ab[0].sqrt() * x0 + (1 - ab[0]).sqrt() * n),
        q(lambda x0, n, ab, alpha, t: x0.mul_(ab.sqrt()) + (1 - ab).sqrt() * n),
    ],
    "task1.p_sample": [
        p(mean=lambda m: 1.1 * m),
        p(sigma=lambda small, beta, t: beta),
        p(sigma=lambda small, beta, t: small**2),
        p(sigma=lambda small, beta, t: 0.0),
        p(sigma=lambda small, beta, t: small if t else beta),
        p(draw=lambda x: torch.randn(x.shape[0], 1)),
        p(draw=torch.rand_like),
    ],
    "task1.p_sample_loop": [
        loop(range),
        loop(lambda T: range(T - 1, 0, -1)),
        loop(lambda T: range(T - 1, -1, -1), torch.zeros),
        loop(lambda T: range(T - 2, -1, -1)),
        loop(lambda T: range(0)),
    ],
    "task1.compute_loss": [
        loss(lambda self, x0, t, eps, out: x0.mean()),
        loss(lambda self, x0, t, eps, out: ((out - eps) ** 2).sum()),
        loss(lambda self, x0, t, eps, out: mse(out, x0)),
        loss(lambda self, x0, t, eps, out: mse(out.detach(), eps)),
        loss(lambda self, x0, t, eps, out: mse(out, torch.randn_like(eps))),
        loss(lambda self, x0, t, eps, out: mse(out, eps), lambda lo, hi, size: torch.randint(lo, hi, (1,))),
        loss(lambda self, x0, t, eps, out: mse(out, eps), lambda lo, hi, size: torch.randint(1, hi, size)),
        loss(lambda self, x0, t, eps, out: mse(out, eps), lambda lo, hi, size: torch.randint(0, hi - 1, size)),
        loss(lambda self, x0, t, eps, out: mse(out, eps), lambda lo, hi, size: torch.randint(0, hi + 1, size)),
    ],
    "task2.add_noise": [
        images("add_noise", lambda right: lambda self, x_0, t, eps=None: (x_0, eps)),
        images("add_noise", lambda right: lambda self, x_0, t, eps=None: right(self, x_0, t, eps)[0]),
        images("add_noise", lambda right: lambda self, x_0, t, eps=None: (right(self, x_0, t, eps)[0], x_0)),
        images("add_noise", lambda right: lambda self, x_0, t, eps=None: right(self, x_0, t[:1], eps)),
    ],
    "task2.cosine": [
        cosine(lambda betas: betas.sqrt()),
        cosine(lambda betas: betas.flip(0)),
        cosine(lambda betas: betas[1:]),
        cosine(lambda betas: torch.where(betas == betas.max(), 1.0, betas)),
        cosine(lambda betas: 1 - betas),
    ],
    **{
        f"task2.step_{key}": [
            images(f"step_predict_{name}", lambda right: lambda self, x_t, t, out: out),
            images(f"step_predict_{name}", lambda right: lambda self, x_t, t, out: right(self, x_t, t, 1.2 * out)),
            images(
                f"step_predict_{name}",
                lambda right: (
                    lambda self, x_t, t, out: (
                        right(self, x_t, t, out)
                        + (0.05 * torch.randn_like(x_t) if int(torch.as_tensor(t).reshape(-1)[0]) == 0 else 0)
                    )
                ),
            ),
            images(
                f"step_predict_{name}",
                lambda right: lambda self, x_t, t, out: right(self, x_t, t, out) + 0.2 * torch.randn_like(x_t),
            ),
            images(
                f"step_predict_{name}",
                lambda right: lambda self, x_t, t, out: right(self, x_t, t, out)[:, :1],
            ),
        ]
        for key, name in (("noise", "noise"), ("x0", "x0"), ("mean", "mean"))
    },
    "task2.loss_noise": [
        image_loss("get_loss_noise", lambda out, x0, x_t, eps: mse(out, x0)),
        image_loss("get_loss_noise", lambda out, x0, x_t, eps: ((out - eps) ** 2).sum()),
        image_loss("get_loss_noise", lambda out, x0, x_t, eps: None),
    ],
    "task2.loss_x0": [
        image_loss("get_loss_x0", lambda out, x0, x_t, eps: mse(out, eps)),
        image_loss("get_loss_x0", lambda out, x0, x_t, eps: mse(x_t, x0)),
        image_loss("get_loss_x0", lambda out, x0, x_t, eps: (out - x0).abs().mean()),
    ],
    "task2.loss_mean": [
        image_loss("get_loss_mean", lambda out, x0, x_t, eps: mse(out, eps)),
        image_loss("get_loss_mean", lambda out, x0, x_t, eps: mse(out, x0)),
        image_loss("get_loss_mean", lambda out, x0, x_t, eps: mse(out, x_t)),
    ],
}


@pytest.mark.parametrize(("row", "number"), [(row, n) for row, wrong in WRONG.items() for n in range(len(wrong))])
def test_wrong_answers_fail_with_every_part_of_the_text(row, number, solved):
    WRONG[row][number](*solved(row))
    state, parts = half.run(row)
    assert state == "failed"
    assert set(parts) == set(half.LABELS)
    assert all(parts.values())
    assert max(len(part) for part in parts.values()) < 400  # never a whole tensor


def test_every_row_has_a_wrong_answer():
    assert set(WRONG) == set(SCORED)


def test_the_text_of_a_wrong_value(solved):
    WRONG["task1.q_sample"][2](*solved("task1.q_sample"))
    assert half.run("task1.q_sample")[1] == {
        "checked": "x_t from given x0, t and noise",
        "expected": "-0.75892 at index [0, 1]",
        "got": "-0.29162 (off by 0.47; 16 of 16 numbers are wrong)",
        "where": "q_sample in ddpm.py, x0 (8, 2), t (8,) with another timestep for each point",
        "hint": "noise is scaled by a standard deviation; both factors are looked up at each point's own t",
        "equation": "q(x_t | x_0) = N(sqrt(alpha-bar_t) x_0, (1 - alpha-bar_t) I)    DDPM Eq. 4",
    }


@pytest.mark.parametrize(
    "form",
    [
        lambda t: isinstance(t, int),
        lambda t: torch.is_tensor(t) and t.dim() == 0,
        lambda t: torch.is_tensor(t) and t.shape == (1,),
        lambda t: torch.is_tensor(t) and t.dim() == 1 and len(t) > 1,
    ],
)
@pytest.mark.parametrize("row", ["task1.p_sample", "task2.step_x0"])
def test_one_form_of_t_is_enough(row, form, solved):
    owner, name = (
        (solved(row)[1].DiffusionModule, "p_sample")
        if row.startswith("task1")
        else (solved(row)[0].DDPMScheduler, "step_predict_x0")
    )
    right = getattr(owner, name)

    def picky(self, x, t, *rest):
        if not form(t):
            raise TypeError("another form, please")
        return right(self, x, t, *rest)

    setattr(owner, name, picky)
    assert half.run(row) == ("passed", {})


# --- the command, in a student edition -------------------------------------------------------------------


@pytest.fixture(scope="module")
def edition(tmp_path_factory):
    folder = tmp_path_factory.mktemp("edition")
    write_files(folder, release.edition_files())
    return folder


def command(folder, *arguments):
    done = subprocess.run(
        [sys.executable, "-m", "grader", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr


def test_the_release_is_not_done_yet(edition):
    code, out, err = command(edition, "check")
    assert (code, err) == (1, "")
    assert out.count("not done yet") == len(SCORED) + 1
    assert out.endswith("0 of 13 passed, 0 failed, 13 not done yet\n")
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
