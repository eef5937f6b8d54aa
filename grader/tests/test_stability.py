"""The same submission gets the same points under every seed of the judge; `make stability` tries a hundred."""

from collections import Counter

import pytest

from grader.judging.made_up import Case
from grader.lab import LAB
from grader.lab.catalogue import mistakes, variants
from grader.sandbox import SandboxKind
from grader.tools import stability

SEEDS = range(100, 106)


@pytest.mark.slow
def test_the_solved_lab_earns_full_points_under_every_seed():
    found = stability.outcomes(stability.SOLVED, SEEDS, SandboxKind.AUTO)
    due = {row.id: {("passed", row.points, None): len(SEEDS)} for row in LAB.rubric if row.is_code}
    assert {row: dict(counts) for row, counts in found.items()} == due


def test_the_command_reports_a_row_that_depends_on_the_seed(monkeypatch, capsys):
    """A q_sample that is wrong every other time; also the command's way of saying so."""
    moody = Case(
        "moody",
        row="task1.q_sample",
        bodies={
            "task1.q_sample": """
        alpha_bar_t = extract(self.var_scheduler.alphas_cumprod, t, x0)
        factor = 1 + int(x0.sum() * 1000) % 2
        xt = alpha_bar_t.sqrt() * x0 + factor * (1 - alpha_bar_t).sqrt() * noise
        """
        },
    )
    monkeypatch.setattr(stability, "CASES", (moody,))
    assert stability.main(["--seeds", "12", "--jobs", "1"]) == 1
    assert "moody: task1.q_sample had" in capsys.readouterr().out


def test_the_command_covers_every_made_up_submission():
    assert Counter(case.name for case in stability.CASES) == Counter(
        ["solved", *(case.name for case in variants()), *(case.name for case in mistakes())]
    )
    assert set(Counter(case.name for case in stability.CASES).values()) == {1}
