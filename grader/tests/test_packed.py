"""Whole gradings by the command line in the sandbox: a mistake in every row costs that row alone, other styles nothing.

The solved lab and the untouched one are in test_cli.py, each mistake and style by itself in test_misconceptions.py.
"""

from collections import Counter

import pytest

from grader.judging.made_up import Case, combined
from grader.lab.catalogue import carried, mistakes, styles, variants
from grader.labs import RowKind
from grader.tests.class_run import assert_outcomes, fit, graded_rows, packs

MISTAKES = (*mistakes(), *mistakes(RowKind.COMPANION))
PACKS = max(Counter(case.row for case in MISTAKES).values())  # as many as the row with most mistakes has


def tiers(count, brief):
    """Numbers from 0, of which `brief` are in the first tier."""
    often = {number * count // brief for number in range(brief)}
    return [pytest.param(number, marks=[] if number in often else pytest.mark.slow) for number in range(count)]


@pytest.mark.parametrize("number", tiers(PACKS, 2))
def test_every_mistake_of_a_pack_costs_its_own_row_alone(tmp_path, number):
    pack = packs()[number]
    assert_outcomes(graded_rows(combined(f"pack-{number:02}", pack), tmp_path, seed=1), pack)


@pytest.mark.parametrize("number", tiers(len(variants()), 1))
def test_right_solutions_in_other_styles_get_full_points(tmp_path, number):
    assert_outcomes(graded_rows(variants()[number], tmp_path))


# --- the packer


def test_the_packs_hold_every_mistake_once_and_one_for_each_row():
    assert Counter(case.name for pack in packs() for case in pack) == Counter(case.name for case in MISTAKES)
    assert len(packs()) == PACKS
    assert [pack for pack in packs() if len({case.row for case in pack}) < len(pack)] == []


def test_the_submissions_of_right_solutions_hold_every_style():
    tried = {(row, style.name) for parts in carried().values() for row, style in parts.items()}
    assert tried == {(row, style.name) for row, found in styles().items() for style in found}


DDPM = "2d_plot_diffusion_todo/ddpm.py"
LOOP = Case("loop", "task1.p_sample_loop", bodies={"task1.p_sample_loop": "x0_pred = xt * 2"})


def elsewhere(old, new):
    """A mistake of another row that changes `old` wherever it stands."""
    return Case("elsewhere", "task1.q_sample", replace={DDPM: [(old, new)]})


def test_mistakes_in_todo_blocks_share_a_pack():
    assert fit([LOOP, Case("step", "task1.p_sample", bodies={"task1.p_sample": "x_t_prev = xt"})])
    assert fit([LOOP, elsewhere("    @torch.no_grad()\n", "")])


def test_what_changes_the_answer_of_another_row_shares_no_pack_with_it():
    assert not fit([LOOP, elsewhere("x0_pred = xt", "x0_pred = xt + 1")])


def test_what_takes_away_the_text_that_another_row_replaces_shares_no_pack_with_it():
    lost = Case("lost", "task1.compute_loss", replace={DDPM: [("    @torch.no_grad()\n", "# none\n")]})
    assert not fit([elsewhere("    @torch.no_grad()\n", ""), lost])
