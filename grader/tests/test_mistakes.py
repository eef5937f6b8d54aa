"""Every catalogued misconception, handed in and graded through the command line: verdict, points, diagnosis, and
nothing else touched."""

import json

import pytest

from grader import cli
from grader.judging.made_up import Case
from grader.lab import LAB
from grader.lab.catalogue import mistakes
from grader.tests.class_run import account, assert_only_this_row_suffers, grade_cases, rows_of
from grader.tools.builder import write

CASES = mistakes()
BY_NAME = {case.name: case for case in CASES}
CODE_ROWS = [row.id for row in LAB.rubric if row.is_code]
KNOWN = {(row, entry.id) for row in CODE_ROWS for entry in LAB.misconceptions(row)}
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


def half_of(case):
    return case.row.split(".")[0]


# In every run: the first case of each misconception in each half, all that have no diagnosis, and the placeholders.
# The same mistakes in other words, and on further rows: with -m slow.
FIRST = {(half_of(case), case.diagnosis): case.name for case in reversed(CASES) if case.diagnosis}
BRIEF = [case for case in CASES if case.name in FIRST.values() or case.diagnosis is None or case.name in PLACEHOLDERS]
REST = [case for case in CASES if case not in BRIEF]


@pytest.fixture(scope="module")
def brief(tmp_path_factory):
    return grade_cases(BRIEF, tmp_path_factory.mktemp("mistakes"))


@pytest.fixture(scope="module")
def rest(tmp_path_factory):
    return grade_cases(REST, tmp_path_factory.mktemp("mistakes"), seed=1)


@pytest.mark.parametrize("name", [case.name for case in BRIEF])
def test_a_mistake_costs_its_own_row_and_is_named(brief, name):
    assert_only_this_row_suffers(BY_NAME[name], brief[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", [case.name for case in REST])
def test_the_same_mistake_in_other_words_is_named_as_well(rest, name):
    assert_only_this_row_suffers(BY_NAME[name], rest[name])


@pytest.mark.parametrize("half", ["task1", "task2"])
def test_every_misconception_about_code_has_a_case_in_each_half_that_it_is_about(half):
    known = {found for row, found in KNOWN if row.startswith(half)}
    assert known - {case.diagnosis for case in CASES if half_of(case) == half} == set()


def test_every_diagnosis_of_a_case_is_in_the_catalogue_for_its_row():
    assert {(case.row, case.diagnosis) for case in CASES if case.diagnosis} - KNOWN == set()


def test_every_code_row_has_several_cases():
    rows = [case.row for case in CASES]
    assert {row: rows.count(row) >= 10 for row in CODE_ROWS} == dict.fromkeys(CODE_ROWS, True)


def test_the_catalogue_knows_at_least_forty_misconceptions():
    assert len({found for _, found in KNOWN}) >= 40


def test_the_placeholders_of_the_original_handout_earn_nothing():
    assert {name: BY_NAME[name].points for name in PLACEHOLDERS} == dict.fromkeys(PLACEHOLDERS, 0.0)


def test_what_the_policy_allows_is_right(tmp_path):
    beta = BY_NAME["step_mean-beta-for-beta-tilde"]
    clips = [Case(f"clip-{clip}", bodies={"task2.cosine": COSINE.format(clip=clip)}) for clip in (0.99, 0.999, 0.9999)]
    refused, *allowed = *clips, Case("beta", bodies=beta.bodies)
    policy = tmp_path / "policy.toml"
    policy.write_text('[reverse_step]\nvariances = ["posterior", "beta"]\n[cosine]\nclips = [0.999, 0.9999]\n')
    paths = [str(write(case, tmp_path / "in")) for case in (*allowed, refused)]
    out = tmp_path / "out"
    command = ["grade", *paths, "--out", str(out), "--only", "task2", "--no-training", "--seed", "0", "--jobs", "2"]
    assert cli.main([*command, "--policy", str(policy)]) == cli.OK
    for case in allowed:
        for row in rows_of(json.loads((out / case.name / "result.json").read_text(encoding="utf-8"))).values():
            assert row["verdict"] in ("passed", "needs_review"), account(row)
    row = rows_of(json.loads((out / "clip-0.99" / "result.json").read_text(encoding="utf-8")))["task2.cosine"]
    assert (row["verdict"], row["points"], row["diagnosis"]["id"]) == ("failed", 3.5, "cosine-other-clip"), account(row)
