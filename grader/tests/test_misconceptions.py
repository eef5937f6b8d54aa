"""Every made-up mistake is judged and named as it must be, every right solution in another style passes, row by row."""

from collections import Counter

import pytest

from grader.judging.made_up import Case, combined
from grader.lab import LAB
from grader.lab.catalogue import mistakes, styles
from grader.labs import RowKind
from grader.tests.in_process import Workbench, account

JUDGED = [row.id for row in LAB.rubric if row.kind in (RowKind.CODE, RowKind.COMPANION)]
MISTAKES = (*mistakes(), *mistakes(RowKind.COMPANION))
STYLES = [style for kind in (RowKind.CODE, RowKind.COMPANION) for found in styles(kind).values() for style in found]
IN_RUNS = [  # mistakes that show where the code is run as the notebook does
    pytest.param(case, marks=pytest.mark.slow) if LAB.row(case.row).trains else case for case in mistakes(RowKind.RUN)
]
BY_NAME = {case.name: case for case in MISTAKES}
KNOWN = {(row, entry.id) for row in JUDGED for entry in LAB.misconceptions(row)}
TRIED = {(case.row, case.diagnosis) for case in MISTAKES if case.diagnosis}
# Of a family of rows that share judge and misconceptions: those that are made up for a sister row alone.
TRIED_IN_A_SISTER_ROW = {
    "task2.step_noise": "no-noise-at-t1 step-noise-fixed step-noise-not-gaussian step-noise-shared unit-noise "
    "variance-t-off-by-one",
    "task2.step_x0": "beta-for-beta-tilde no-noise-at-t1 no-noise-at-the-other-end square-root-twice step-noise-fixed "
    "step-noise-not-gaussian step-noise-shared variance-alpha-for-alpha-bar variance-as-deviation variance-inverted "
    "variance-of-forward-process",
    "task2.step_mean": "no-noise-at-the-other-end square-root-twice unit-noise variance-alpha-for-alpha-bar "
    "variance-inverted variance-of-forward-process variance-t-off-by-one",
    "task2.loss_noise": "error-not-squared network-sees-noise",
    "task2.loss_x0": "absolute-error loss-noise-not-standard loss-not-reduced network-not-called network-sees-x0 "
    "t-from-1 t-from-1-to-T t-misses-the-last t-same-at-every-call t-up-to-T",
    "task2.loss_mean": "error-not-squared loss-noise-not-standard loss-not-reduced loss-one-t-for-the-batch "
    "loss-scaled loss-without-gradient network-not-called root-of-the-error t-from-1-to-T t-misses-the-last "
    "t-not-uniform t-same-at-every-call t-up-to-T",
}
PLACEHOLDERS = (
    "simplenet-placeholder",
    "q_sample-placeholder",
    "p_sample-returns-none",
    "p_sample_loop-placeholder",
    "compute_loss-placeholder",
)
COSINE = """
steps = torch.arange(num_train_timesteps + 1, dtype=torch.float64)
f = torch.cos((steps / num_train_timesteps + s) / (1 + s) * math.pi / 2) ** 2
betas = (1 - f[1:] / f[:-1]).clamp(max={clip})
"""


def outcome(row):
    return row.verdict, row.points, row.diagnosis.id if row.diagnosis else None


def worded(cases):
    """Parameters: the judge of a network fits it for seconds, and so takes further words for a mistake in tier two."""
    first = {(case.row, case.diagnosis): case for case in reversed(cases)}
    other = [case for case in cases if case.row == "task1.simplenet" and first[case.row, case.diagnosis] is not case]
    return [pytest.param(case, marks=[pytest.mark.slow] if case in other else []) for case in cases]


@pytest.mark.parametrize("case", [*worded(MISTAKES), *IN_RUNS], ids=lambda case: case.name)
def test_a_mistake_gets_its_verdict_its_points_and_its_name(bench, case):
    row = bench.judged(case, case.row)
    due = (case.verdict, case.points, case.diagnosis)
    assert outcome(row) == due, f"due: {due}\n{account(row)}"


def styled(styles, most=3):
    """Parameters: of right networks the first few, the rest in tier two."""
    nets = [style for style in styles if style.row == "task1.simplenet"]
    return [pytest.param(style, marks=[pytest.mark.slow] if style in nets[most:] else []) for style in styles]


@pytest.mark.parametrize("style", styled(STYLES), ids=lambda style: f"{style.row}-{style.name}")
def test_a_right_solution_in_another_style_gets_full_points(bench, style):
    row = bench.judged(combined(style.name, [style]), style.row)
    assert outcome(row) == ("passed", row.max, None), account(row)


@pytest.mark.parametrize("row_id", JUDGED)
def test_the_solved_lab_gets_full_points(bench, row_id):
    row = bench.judged(Case("solved"), row_id)
    assert outcome(row) == ("passed", LAB.row(row_id).points, None), account(row)


def test_what_the_policy_allows_is_right(tmp_path):
    policy = tmp_path / "policy.toml"
    policy.write_text('[reverse_step]\nvariances = ["posterior", "beta"]\n[cosine]\nclips = [0.999, 0.9999]\n')
    beta = BY_NAME["step_mean-beta-for-beta-tilde"]
    clips = {clip: Case(f"clip-{clip}", bodies={"task2.cosine": COSINE.format(clip=clip)}) for clip in (0.99, 0.9999)}
    with Workbench(tmp_path, LAB.policy(policy)) as workbench:
        allowed = workbench.judged(beta, "task2.step_mean"), workbench.judged(clips[0.9999], "task2.cosine")
        refused = workbench.judged(clips[0.99], "task2.cosine")
    assert [outcome(row) for row in allowed] == [("passed", row.max, None) for row in allowed]
    assert outcome(refused) == ("failed", 3.5, "cosine-other-clip"), account(refused)


def test_every_row_has_mistakes_and_styles_and_no_two_share_a_name():
    assert {case.row for case in MISTAKES} == {style.row for style in STYLES} == set(JUDGED)
    names = Counter([case.name for case in MISTAKES] + [(style.row, style.name) for style in STYLES])
    assert [name for name, count in names.items() if count > 1] == []


def test_every_diagnosis_of_a_mistake_is_in_the_catalogue_of_its_row():
    assert set() == TRIED - KNOWN


def test_every_misconception_has_a_mistake_in_each_row_that_lists_it():
    elsewhere = {(row, found) for row, names in TRIED_IN_A_SISTER_ROW.items() for found in names.split()}
    assert elsewhere == KNOWN - TRIED
    assert {found for _, found in elsewhere} <= {found for _, found in TRIED}


def test_no_catalogue_lists_a_misconception_twice():
    ids = [(row, entry.id) for row in JUDGED for entry in LAB.misconceptions(row)]
    assert len(set(ids)) == len(ids)


def test_the_placeholders_of_the_original_handout_earn_nothing():
    assert {name: BY_NAME[name].points for name in PLACEHOLDERS} == dict.fromkeys(PLACEHOLDERS, 0.0)
