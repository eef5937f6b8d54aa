"""Made-up results for the tests of all that renders results: realistic ones, and one of hostile text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from grader.judging.findings import unanswered
from grader.lab import LAB
from grader.labs import RubricRow
from grader.records import Check, Diagnosis, Finding, Result, Row, Verdict
from grader.sandbox import ProbeFailure

LATER = "This version of the grader leaves the report to a person."

VARIANCE = "β̃_t = (1 − ᾱ_{t−1}) / (1 − ᾱ_t) · β_t"
P_SAMPLE = Finding(
    "the variance of p_sample over 20,000 draws",
    "0.00909 (beta-tilde at t = 1)",
    "0.03222, off by up to 0.0231 at [0, 1] (shape (20000, 2))",
    "p_sample, t = 1, batch of 20000",
    VARIANCE,
)
COSINE = Finding("betas of the cosine schedule, T = 1000", "at most 0.999", "1 at t = 999")
TIMESTEPS = Finding("the timesteps drawn by get_loss_x0", "uniform on 0..9", "1..10")
CRASH = ProbeFailure(
    Verdict.CRASHED,
    "RuntimeError: The size of tensor a (64) must match the size of tensor b (2)",
    "ddpm.py:87 in q_sample",
)

BETA = Diagnosis(
    "beta-for-beta-tilde",
    "the variance is β, not the posterior variance β̃",
    "Both appear in Sec. 3.2 and agree at large t. The handout asks for the variance of the posterior "
    "q(x_{t−1} | x_t, x_0).",
    VARIANCE,
)

# What a hostile student may put into any text. MARK is what a script that ran would leave behind.
MARK = "PWNED"
HOSTILE = (
    f"<script>document.title='{MARK}'</script>",
    f'"><img src=x onerror="document.title=\'{MARK}\'">',
    f"' onmouseover='document.title=\"{MARK}\"' autofocus onfocus='document.title=\"{MARK}\"",
    f"</style></title></textarea></pre><svg onload=document.title='{MARK}'>",
    f"javascript:document.title='{MARK}'",
    "<link rel=stylesheet href=https://evil.example/a.css><img src=https://evil.example/a.png>",
    "<meta http-equiv=refresh content='0;url=https://evil.example/'><base href=https://evil.example/>",
    "{{ 7 * 7 }}{% raw %}<!-- ",
    '=HYPERLINK("https://evil.example";"ok")',
    "\x1b[2J\x1b]0;title\x07\x9b31m\x00\x08\r\x7f",
    "\u202egnp.exe\u2066\u200f\u2028\ud800\ufffe",
    "Z" + "\u0301" * 200 + "x" * 300,
)


def full() -> Result:
    """The solved lab: everything about code is right, figures and training wait for a person."""
    return _result("412551001", _passed)


def untouched() -> Result:
    """The release, handed in as it came."""

    def row(line: RubricRow) -> Row:
        message = f"{line.id.split('.')[1]} still raises NotImplementedError"
        return _unanswered(Verdict.NOT_IMPLEMENTED, message, f"TODO {line.id}")(line)

    return _result("412551002", row)


def companions() -> Result:
    """The solved lab with two companion exercises, of which one is right, one wrong, and the others left alone."""
    result = full()
    tried = {
        "extra.train_step": Row("extra.train_step", 0, Verdict.PASSED),
        "extra.forward_step": Row("extra.forward_step", 0, Verdict.FAILED, message="expected: 1\ngot: 2"),
    }
    result.rows = [tried.get(row.id, row) for row in result.rows]
    return result


def broken() -> Result:
    """An archive that cannot be opened."""
    return Result(
        "陳小明_412551003",
        "0" * 64,
        "0.1.0",
        0,
        "none",
        {},
        [],
        duration_s=0.1,
        problem="412551003_lab1.zip is not a ZIP archive: it starts with 'Rar!', which is RAR.\n"
        "Only ZIP archives are taken.",
    )


def mixed(folder: Path | None = None) -> Result:
    """Every verdict, a diagnosis, remarks and a figure, which is drawn in `folder` if given."""
    special = {
        "task1.q_sample": lambda line: Row.from_checks(line.id, 4, _checks(), evidence=["q_sample.png"]),
        "task1.p_sample": lambda line: Row.from_checks(
            line.id,
            4,
            [*_checks(3), Check.of("variance", 1, P_SAMPLE)],
            diagnosis=BETA,
            remarks=["p_sample takes t as a [B] tensor only"],
        ),
        "task1.p_sample_loop": _unanswered(Verdict.TIMEOUT, "p_sample_loop did not answer within 20 s"),
        "task1.compute_loss": _unanswered(Verdict.GRADER_ERROR, "The judge of compute_loss failed: KeyError 'eps'"),
        "task2.add_noise": _lost(CRASH),
        "task2.cosine": lambda line: Row.from_checks(
            line.id, line.points, [Check.of(name, line.points / 2, COSINE) for name in ("values", "noise")]
        ),
        "task2.step_noise": _unanswered(Verdict.MISSING, "scheduler.py has no DDPMScheduler.step_predict_noise"),
        "task2.step_x0": _unanswered(Verdict.NOT_IMPLEMENTED, "step_predict_x0 still raises NotImplementedError"),
        "task2.step_mean": _unanswered(Verdict.OUT_OF_MEMORY, "step_predict_mean went over 3072 MiB"),
        "task2.loss_mean": _unanswered(Verdict.SKIPPED, "waits for task2.step_mean"),
        "task2.loss_x0": lambda line: Row.from_checks(
            line.id,
            3,
            [
                Check("target", Verdict.PASSED, 2, 2),
                Check.of("t-uniform", 1, TIMESTEPS),
            ],
        ),
    }
    result = _result("412551014", lambda line: special.get(line.id, _passed)(line))
    for row in result.rows:  # what the pipeline will say of a row that earned some of its points
        row.verdict = Verdict.PARTIAL if row.verdict is Verdict.FAILED and row.points else row.verdict
    result.remarks = [
        "image_diffusion_todo/dataset.py differs from the lab's",
        "2d_plot_diffusion_todo/筆記.md is not part of the lab",
        "device='cuda' at ddpm.py:12 was graded on the CPU",
    ]
    if folder:
        from grader.lab.figures import draw_forward_strip

        draw_forward_strip(strip(), folder / "q_sample.png")
    return result


def hostile(folder: Path | None = None) -> Result:
    """Hostile text in every field that text can reach."""
    text = "\n".join(HOSTILE)
    rows = [
        Row(
            f"task1.{one}",
            2,
            Verdict.FAILED,
            1,
            one,
            Diagnosis(one, one, text, text),
            [Check.of(one, 1, Finding(one, text, one, one, one))],
            [one, "../../etc/passwd", "/etc/passwd", "fake.png"],
            [one, text],
        )
        for one in HOSTILE
    ]
    rows.append(Row("task1.x", 1, Verdict.NEEDS_REVIEW, 0, text))
    if folder:
        (folder / "fake.png").write_text(f"<svg xmlns='http://www.w3.org/2000/svg'><script>{MARK}</script>")
    return Result(text, text, text, 0, text, {one: one for one in HOSTILE}, rows, [*HOSTILE, text * 50], text)


def strip(points: int = 2048) -> dict[int, np.ndarray]:
    """q(x_t) of a swiss roll at t = 0, 50, ..., 450, under the lab's linear schedule with T = 500."""
    rng = np.random.default_rng(0)
    angle = 1.5 * np.pi * (1 + 2 * rng.random(points))
    x_0 = np.stack([angle * np.cos(angle), angle * np.sin(angle)], axis=1) / 7
    alphas_cumprod = np.cumprod(1 - np.linspace(1e-4, 0.02, 500))
    return {
        t: np.sqrt(alphas_cumprod[t]) * x_0 + np.sqrt(1 - alphas_cumprod[t]) * rng.standard_normal(x_0.shape)
        for t in range(0, 500, 50)
    }


def _result(name: str, row: Callable[[RubricRow], Row]) -> Result:
    judged = {"code": row, "companion": _left_alone}
    rows = [judged.get(line.kind, _review)(line) for line in LAB.rubric]
    return Result(
        name,
        "5f2a9c" + "0123456789" * 5 + "abcdefab",
        "0.1.0",
        7,
        "bubblewrap",
        {"python": "3.11.2", "torch": "2.15.0+cpu", "device": "cpu"},
        rows,
        duration_s=5.43,
    )


def _review(line: RubricRow) -> Row:
    return Row(line.id, line.points, Verdict.NEEDS_REVIEW, message=LATER)


def _left_alone(line: RubricRow) -> Row:
    return Row(line.id, line.points, Verdict.MISSING, message="warmup.py was not handed in")


def _passed(line: RubricRow) -> Row:
    return Row.from_checks(line.id, line.points, _checks(line.points))


def _checks(points: float = 4) -> list[Check]:
    parts = {"closed-form": points - 2, "drawn-noise": 1, "inputs-untouched": 1}
    return [Check(name, Verdict.PASSED, most, most) for name, most in parts.items()]


def _unanswered(verdict: Verdict, message: str, where: str = "") -> Callable[[RubricRow], Row]:
    return _lost(ProbeFailure(verdict, message, where))


def _lost(failure: ProbeFailure) -> Callable[[RubricRow], Row]:
    return lambda line: Row.from_checks(
        line.id, line.points, [unanswered(name, line.points / 2, failure) for name in ("values", "noise")]
    )
