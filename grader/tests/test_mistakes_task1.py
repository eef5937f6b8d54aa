"""Every misconception about the 2D half, handed in and graded through the command line: the verdict, the points, the
diagnosis, and nothing else touched."""

import pytest

from grader.classroom.mistakes_task1 import CASES
from grader.diagnosis import CATALOGUE
from grader.tests.class_run import assert_only_this_row_suffers, grade_cases

ROWS = ("task1.simplenet", "task1.q_sample", "task1.p_sample", "task1.p_sample_loop", "task1.compute_loss")
BY_NAME = {case.name: case for case in CASES}
# A placeholder, and the first case of a row's misconception, in every run; the same in other words with -m slow.
FIRST = {(case.row, case.diagnosis): case.name for case in reversed(CASES)}
BRIEF = [case for case in CASES if case.name in FIRST.values() or case.points == 0]
REST = [case for case in CASES if case not in BRIEF]
PLACEHOLDERS = ("simplenet-placeholder", "q_sample-placeholder", "p_sample-returns-none", "p_sample_loop-placeholder",
                "compute_loss-placeholder")


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


def test_every_misconception_about_the_code_of_the_2d_half_has_a_case():
    known = {entry.id for entry in CATALOGUE if set(entry.rows) & set(ROWS)}
    assert known - {case.diagnosis for case in CASES} == set()


def test_every_diagnosis_of_a_case_is_in_the_catalogue_for_its_row():
    known = {(row, entry.id) for entry in CATALOGUE for row in entry.rows}
    assert {(case.row, case.diagnosis) for case in CASES if case.diagnosis} - known == set()


def test_the_catalogue_knows_at_least_forty_misconceptions():
    assert len({entry.id for entry in CATALOGUE}) >= 40


def test_the_placeholders_of_the_original_handout_earn_nothing():
    assert {name: BY_NAME[name].points for name in PLACEHOLDERS} == dict.fromkeys(PLACEHOLDERS, 0.0)
