"""The same submission gets the same points under every seed of the judge; `make stability` tries a hundred."""

from grader.judging.made_up import Case
from grader.sandbox import SandboxKind
from grader.tools import stability

SEEDS = range(100, 106)


def test_the_solved_lab_earns_full_points_under_every_seed():
    found = stability.outcomes(stability.SOLVED, SEEDS, SandboxKind.AUTO)
    assert len(found) == 13
    for row, counts in found.items():
        assert list(counts) == [("passed", 4.0 if row not in ("task2.loss_noise", "task2.loss_x0") else 3.0, None)], row
        assert counts.total() == len(SEEDS)


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
    names = [case.name for case in stability.CASES]
    assert len(set(names)) == len(names)
    assert len(names) > 200
