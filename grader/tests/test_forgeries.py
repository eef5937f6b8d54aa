"""Forged submissions earn what they do right without mathematics, and are never a fault of the grader's."""

import json
import pickle
import signal

import pytest

from grader import cli
from grader.judging.made_up import Case, combined
from grader.lab import LAB
from grader.labs import RowKind
from grader.tests import class_run
from grader.tests.class_run import results, rows_of
from grader.tests.forgeries import (
    ANSWERS_ON_DISK,
    BENDS,
    COSINE,
    FORGERIES,
    HONEST,
    LIBRARIES,
    NEVER,
    ODD,
    TRAINING,
    TRAININGS,
    bender,
    recorder,
    replayer,
)
from grader.tests.in_process import account
from grader.tools.builder import write

ROWS = [row.id for row in LAB.rubric if row.id in HONEST and row.id != TRAINING]
SIZE = 200_000  # characters of a row, whatever was sent
ENDS_S = 240  # by itself a judge ends long before: after two limits of a probe or an import at most


@pytest.fixture(autouse=True)
def _it_ends(request):
    """A judge that walks a record for ever fails its test, and not the run of all tests."""
    if "bench" not in request.fixturenames:
        yield  # a whole grading has limits of its own
        return
    before = signal.signal(signal.SIGALRM, lambda *_: pytest.fail(f"the judge did not end within {ENDS_S} s"))
    signal.alarm(ENDS_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def tiers(pairs, brief):
    """Parameters of which `brief(number)` are in the first tier."""
    return [pytest.param(*pair, marks=[] if brief(at, *pair) else pytest.mark.slow) for at, pair in enumerate(pairs)]


def assert_unforged(row, most, chance=0.0):
    """A row record (a Row, or its JSON) has no more than `most` points, none of the checks that need mathematics; or by
    `chance` so many more, of whichever check."""
    data = row if isinstance(row, dict) else json.loads(json.dumps(row, default=vars))
    parts = ", ".join(f"{check['id']} {check['points']:g}" for check in data["checks"])
    shown = f"{data['id']}: {data['verdict']} {data['points']:g} ({parts}), at most {most:g}; {data['message'][:500]}"
    assert data["verdict"] != "grader_error", shown
    assert sum(check["points"] for check in data["checks"]) <= most + chance, shown
    forged = [c["id"] for c in data["checks"] if c["id"] in NEVER.get(data["id"], ()) and c["verdict"] == "passed"]
    assert forged == [] or chance, shown
    assert len(json.dumps(data)) < SIZE, shown


# --- row by row


PAIRS = [(forgery, row) for forgery in FORGERIES for row in forgery.at_most]


def often(at, forgery, row):
    """In the first tier every third forgery forges one of its rows, another one each; of odd bodies some do.

    Those of a network are judged by fitting it, which takes seconds: one of them.
    """
    rows = list(forgery.at_most)
    number = FORGERIES.index(forgery)
    brief = forgery.name == "network-spies" if row == "task1.simplenet" else number % (18 if forgery in ODD else 3) == 0
    return row == rows[number % len(rows)] and brief


@pytest.mark.parametrize(
    ("forgery", "row_id"), tiers(PAIRS, often), ids=lambda value: getattr(value, "name", None) or str(value)
)
def test_a_forged_row_earns_what_is_honest_in_it_at_most(bench, forgery, row_id):
    assert_unforged(bench.judged(forgery.case, row_id), forgery.at_most[row_id])


BRIEF = ("task1.q_sample", "task1.compute_loss", "task2.step_noise", COSINE)  # a row of each kind, in the first tier
SOME = [pytest.param(row, marks=[] if row in BRIEF else pytest.mark.slow) for row in ROWS]
HOWS = [how for how in BENDS if how not in ("none", "error-told")]
BENT = [
    (how, row_id, (at + of) % 3)
    for at, row_id in enumerate(ROWS)
    for of, how in enumerate(HOWS)
    if row_id != "task1.simplenet" or of % 4 == 0  # whose judge fits a network again and again
    if row_id == "task1.q_sample" or not how.startswith("importing")  # which is waited for
]


@pytest.mark.parametrize(("how", "row_id", "which"), tiers(BENT, lambda at, *_: at % 87 == 0))
def test_an_answer_of_an_odd_form_is_the_submissions_failure(bench, how, row_id, which):
    row = bench.judged(bender(how, which), row_id)
    assert row.verdict != "grader_error", account(row)
    assert len(repr(row)) < SIZE, account(row)[:4000]


@pytest.mark.parametrize("row_id", SOME)
def test_what_is_bent_arrives(bench, row_id):
    """Without this the test above might bend nothing."""
    straight, bent = bench.judged(bender("none"), row_id), bench.judged(bender("error-told"), row_id)
    assert straight.points == LAB.row(row_id).points, account(straight)
    assert "the bender was here" in " ".join([bent.message, *(check.message for check in bent.checks)]), account(bent)


# --- answers that were recorded


def recorded(bench, folder, row_id, seed):
    """What the solved lab's process said while a row was judged."""
    path = folder / f"{row_id}-{seed}"
    row = bench.judged(recorder(str(path)), row_id, seed)
    assert row.points == LAB.row(row_id).points, account(row)
    return path.read_bytes()


@pytest.mark.parametrize("row_id", SOME)
def test_recorded_answers_are_worth_nothing_under_another_seed(bench, tmp_path, row_id):
    row = bench.judged(replayer(recorded(bench, tmp_path, row_id, 1)), row_id, 2)
    assert_unforged(row, HONEST[row_id])


@pytest.mark.parametrize("row_id", ["task2.step_noise", "task1.compute_loss"])
def test_recorded_answers_arrive(bench, tmp_path, row_id):
    """Under the seed of the recording they are right; without this the test above might replay nothing."""
    row = bench.judged(replayer(recorded(bench, tmp_path, row_id, 1)), row_id, 1)
    assert row.points == LAB.row(row_id).points, account(row)


@pytest.mark.slow
def test_a_second_run_does_not_ask_what_the_first_one_did(tmp_path):
    """By the command line, where nobody names a seed: the recorded answers of a solved lab, handed in as one's own."""
    path = tmp_path / "recorded"
    options = ("--no-training", "--sandbox", "none")
    solved, forged = recorder(str(path)), tmp_path / "forged"
    assert cli.main(["grade", str(write(solved, tmp_path)), "--out", str(tmp_path / "first"), *options]) == cli.OK
    assert pickle.loads(path.read_bytes())
    write(replayer(path.read_bytes()), forged)
    assert cli.main(["grade", str(forged / "replayer"), "--out", str(tmp_path / "second"), *options]) == cli.OK
    first, second = results(tmp_path / "first")["recorder"], results(tmp_path / "second")["replayer"]
    assert first["seed"] != second["seed"]
    assert max(first["seed"], second["seed"]) > 1 << 40  # else the judge's draws are found by trying all seeds
    rows = rows_of(second)
    for row_id in ROWS:
        assert_unforged(rows[row_id], HONEST[row_id])


# --- by the command line


def packs(forgeries):
    """The forgeries in few submissions, in each of which no two fill the same TODO block."""
    found = []
    for forgery in forgeries:
        fitting = (
            pack
            for pack in found
            if not any(forgery.whole or other.whole or set(forgery.bodies) & set(other.bodies) for other in pack)
        )
        pack = next(fitting, None)
        if pack is None:
            found.append([forgery])
        else:
            pack.append(forgery)
    return found


ATTACKS = packs([one for one in FORGERIES if one not in ODD and not one.name.startswith("process-")])
PROCESSES = [[one] for one in FORGERIES if one.name.startswith("process-")]
ODD_ONES = packs([forgery for forgery in FORGERIES if forgery in ODD][::4])


# Points that constants may meet by chance, as the settings are drawn for the content of a submission.
CHANCE = {**dict.fromkeys(("task1.p_sample", "task2.step_noise", "task2.step_x0", "task2.step_mean"), 0.5)}
CHANCE |= {"task1.fig_q_sample": 1.0}


def assert_pack_is_graded(tmp_path, numbered, *options):
    """Grade packs [(number, forgeries)] in one run, and hold each row against what its forgery may earn."""
    paths = [write(combined(f"pack-{at:02}", [one.case for one in pack]), tmp_path / "in") for at, pack in numbered]
    assert class_run.grade(paths, tmp_path / "out", *options, seed=7) == cli.OK
    graded = results(tmp_path / "out")
    for at, pack in numbered:
        rows = rows_of(graded[f"pack-{at:02}"])
        assert [row_id for row_id, row in rows.items() if row["verdict"] == "grader_error"] == []
        for forgery in pack:
            for row_id, most in forgery.at_most.items():
                assert_unforged(rows[row_id], most, CHANCE.get(row_id, 0.0))


@pytest.mark.slow
@pytest.mark.parametrize("number", range(0, len(ATTACKS), 2))
def test_forgeries_of_all_rows_in_the_sandbox(tmp_path, number):
    assert_pack_is_graded(tmp_path, list(enumerate(ATTACKS))[number : number + 2])


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(PROCESSES)))
def test_forgeries_of_the_process_in_the_sandbox(tmp_path, number):
    assert_pack_is_graded(tmp_path, [(number, PROCESSES[number])], "--only", "task2.step", "--only", COSINE)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(0, len(ODD_ONES), 2))
def test_odd_bodies_in_the_sandbox(tmp_path, number):
    assert_pack_is_graded(tmp_path, list(enumerate(ODD_ONES))[number : number + 2])


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, len(ATTACKS) // 2])
def test_forgeries_on_a_busy_machine(busy, tmp_path, number):
    assert_pack_is_graded(tmp_path, list(enumerate(ATTACKS))[number : number + 1])


@pytest.mark.parametrize(
    "forgery", tiers([(one,) for one in LIBRARIES], lambda at, *_: at == 0), ids=lambda forgery: forgery.name
)
def test_a_library_that_knows_the_answers_is_out_of_reach(tmp_path, forgery):
    only = [option for row_id in forgery.at_most for option in ("--only", row_id)]
    assert_pack_is_graded(tmp_path, [(0, [forgery])], *only)


@pytest.mark.slow
def test_no_file_with_answers_can_be_read(tmp_path):
    path = write(ANSWERS_ON_DISK, tmp_path / "in")
    assert class_run.grade([path], tmp_path / "out", "--only", "task2.step_mean") == cli.OK
    told = rows_of(results(tmp_path / "out")[ANSWERS_ON_DISK.name])["task2.step_mean"]
    assert "FOUND END" in json.dumps(told), json.dumps(told)[:6000]


@pytest.mark.slow
@pytest.mark.parametrize("forgery", TRAININGS, ids=lambda forgery: forgery.name)
def test_a_training_that_is_made_up_earns_nothing(tmp_path, forgery):
    path = write(forgery.case, tmp_path / "in")
    assert cli.main(["grade", str(path), "--out", str(tmp_path / "out"), "--only", TRAINING]) == cli.OK
    assert_unforged(rows_of(results(tmp_path / "out")[forgery.name])[TRAINING], 0.0)


# --- the forgeries themselves


def test_every_class_of_rows_is_forged():
    assert {row for forgery in FORGERIES for row in forgery.at_most} == set(ROWS)
    assert {row.id for row in LAB.rubric if row.kind in (RowKind.CODE, RowKind.RUN)} == set(HONEST)


def test_forgeries_have_names_of_their_own_and_say_what_honest_parts_they_have():
    names = [forgery.name for forgery in (*FORGERIES, *LIBRARIES, *TRAININGS)]
    assert len(set(names)) == len(names)
    assert all(most < LAB.row(row).points for one in FORGERIES for row, most in one.at_most.items())


def test_an_untouched_lab_is_no_forgery(bench):
    """The bound that forgeries are held to is one that right code breaks."""
    with pytest.raises(AssertionError):
        assert_unforged(bench.judged(Case("solved"), "task2.step_mean"), HONEST["task2.step_mean"])
