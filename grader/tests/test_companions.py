"""What the judges of all companion exercises have in common. Their mistakes and styles: see test_misconceptions.py."""

import numpy as np
import pytest

from grader.judging.bench import Bench
from grader.judging.made_up import Case
from grader.lab import LAB
from grader.labs import RowKind
from grader.records import Verdict
from grader.sandbox import Answer
from grader.submission.todo import Block, split

ROWS = [row.id for row in LAB.rubric if row.kind is RowKind.COMPANION]
FILES = {"2d_plot_diffusion_todo": ("ddpm", "warmup"), "image_diffusion_todo": ("companions",)}
PLACEHOLDERS = {
    block.name: f'raise NotImplementedError("TODO {block.name}")'
    for folder, names in FILES.items()
    for name in names
    for block in split((LAB.solutions / folder / f"{name}.py").read_text(encoding="utf-8"))
    if isinstance(block, Block) and block.name.startswith("extra.")
}
LEFT_ALONE = Case("left-alone", bodies=PLACEHOLDERS)
WITHOUT = {
    "extra.train_step": "2d_plot_diffusion_todo/warmup.py",
    "extra.sampler_loop": "2d_plot_diffusion_todo/warmup.py",
    "extra.fast_sample": "image_diffusion_todo/companions.py",
    "extra.class_conditional": "image_diffusion_todo/companions.py",
    "extra.diffusers_parity": "image_diffusion_todo/companions.py",
}
NUMERIC = [
    case
    for row in ("extra.train_step", "extra.sampler_loop")
    for case in {case.diagnosis: case for case in reversed(LAB.room(row, "made_up").MISTAKES)}.values()
    if case.diagnosis not in (None, "weights-changed-in-place", "autograd-used")
]


@pytest.mark.parametrize("row_id", ROWS)
def test_what_was_left_alone_is_missing(bench, row_id):
    row = bench.judged(LEFT_ALONE, row_id)
    assert (row.verdict, row.left_alone) == ("missing", True)
    said = f"left alone, as companion exercises may be: NotImplementedError: TODO {row_id}"
    assert row.message.startswith(said)


@pytest.mark.parametrize("row_id", WITHOUT)
def test_a_file_that_was_not_handed_in_is_missing(bench, row_id):
    row = bench.judged(Case("without", files={WITHOUT[row_id]: None}), row_id)
    assert (row.verdict, row.message) == ("missing", f"{WITHOUT[row_id].split('/')[1]} was not handed in")


@pytest.mark.parametrize("row_id", ROWS)
def test_every_misconception_has_a_mistake(row_id):
    known = {entry.id for entry in LAB.misconceptions(row_id)}
    assert known == {case.diagnosis for case in LAB.room(row_id, "made_up").MISTAKES if case.diagnosis}


@pytest.mark.parametrize("case", NUMERIC, ids=lambda case: case.name)
def test_the_goldens_and_the_fresh_cases_each_catch_every_mistake(bench, case):
    checks = {check.id: check.verdict for check in bench.judged(case, case.row, seed=1).checks}
    assert (checks["stored"], checks["fresh"]) == ("failed", "failed")


def test_a_failed_row_reads_like_those_of_the_lab(bench):
    case = next(case for case in NUMERIC if case.diagnosis == "gradient-without-d")
    text = bench.judged(case, case.row).message
    labels = [line.split(":")[0] for line in text.splitlines()]
    assert labels == ["checked", "expected", "got", "where", "equation"]
    assert "checked: train_step with N = 5, d = 2, T = 10, seed = " in text
    assert "where: train_step, which draws t = " in text


def test_without_diffusers_the_row_is_skipped_and_says_so():
    class Sandbox:
        def call(self, *arguments):
            return Answer({"installed": False})

    judgement = LAB.judge("extra.diffusers_parity")(Bench(Sandbox(), "task2", np.random.default_rng(0), LAB.policy()))
    assert {check.verdict for check in judgement.checks} == {Verdict.SKIPPED}
    assert "diffusers is not installed where submissions run (pip install diffusers)" in judgement.checks[0].message
