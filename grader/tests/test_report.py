"""`report.html`: what a student reads, and that hostile text neither runs nor survives."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from html import escape
from html.parser import HTMLParser
from pathlib import Path

import pytest

from grader.lab import LAB
from grader.output.pages import maths
from grader.output.report import render, write_report
from grader.output.wording import parts
from grader.records import Check, Diagnosis, Finding, Result, Row, Verdict
from grader.tests import samples
from grader.tests.clock import cpu_seconds

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
]
BLOCKS = {"p", "h1", "h2", "h3", "dt", "dd", "li", "tr", "figcaption", "title", "article"}
INERT = {
    *("html", "head", "meta", "title", "style", "body", "header", "main", "footer", "section", "article", "div"),
    *("p", "h1", "h2", "h3", "span", "strong", "bdi", "code", "a", "sub", "sup"),
    *("ul", "ol", "li", "dl", "dt", "dd"),
    *("table", "thead", "tbody", "tr", "th", "td"),
    *("svg", "rect", "figure", "img", "figcaption"),
}


class Page(HTMLParser):
    """The elements, the attributes and the text of a page, blocks of text on lines of their own."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str, str]] = []
        self.text = self.title = self._open = ""
        self.feed(html)
        self.close()
        self.text = "\n".join(filter(None, (" ".join(line.split()) for line in self.text.split("\n"))))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self._open = tag
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self.text += "\n" if tag in BLOCKS else ""

    def handle_endtag(self, tag: str) -> None:
        self._open = ""
        self.text += "\n" if tag in BLOCKS else ""

    def handle_data(self, data: str) -> None:
        if self._open == "title":
            self.title += data
        elif self._open != "style":
            self.text += data


@pytest.fixture
def page(tmp_path: Path):
    return lambda result: Page(render(result, tmp_path, LAB))


def section(page: Page, title: str, after: str) -> str:
    """The text of a row's section: from its heading to the next one's."""
    body = page.text[page.text.index("Row by row") :]
    return body[body.index(title) : body.index(after)].rstrip()


# --- what a student reads


def test_a_failed_row_reads_diagnosis_first_then_each_check(page):
    told = section(page(samples.mixed()), "p_sample: one reverse step", "p_sample_loop: the whole")
    assert (
        told
        == """\
p_sample: one reverse step
◐ partial 3/4 task1.p_sample
Likely: the variance is β, not the posterior variance β̃
Both appear in Sec. 3.2 and agree at large t. The handout asks for the variance of the posterior \
q(x_{t−1} | x_t, x_0).
β̃t = (1 − ᾱt−1) / (1 − ᾱt) · βt
✓ passed closed-form 1/1
✓ passed drawn-noise 1/1
✓ passed inputs-untouched 1/1
✗ failed variance 0/1
checked
the variance of p_sample over 20,000 draws
expected
0.00909 (beta-tilde at t = 1)
got
0.03222, off by up to 0.0231 at [0, 1] (shape (20000, 2))
where
p_sample, t = 1, batch of 20000
p_sample takes t as a [B] tensor only"""
    )


def test_a_row_that_no_rule_explains_says_so(page):
    told = section(page(samples.mixed()), "Cosine beta schedule", "step_predict_noise: reverse")
    assert (
        told
        == """\
Cosine beta schedule
✗ failed 0/4 task2.cosine
None of the known mistakes explains these numbers.
✗ failed values 0/2
✗ failed noise 0/2
checked
betas of the cosine schedule, T = 1000
expected
at most 0.999
got
1 at t = 999"""
    )


def test_companions_that_were_left_alone_are_one_sentence(page):
    told = page(samples.companions()).text
    assert "no points–\nforward_step: one step of the forward process\n✗ failed\n–\ntrain_step" in told
    assert "Left alone, which costs nothing: sample: the sampler's loop with a linear model; naive_skip" in told
    assert "naive_skip" not in told[told.index("Row by row") :]
    assert "Companion exercises" not in page(samples.full()).text


def test_the_head_says_points_and_provenance(page):
    assert page(samples.mixed()).text.startswith("""\
DDPM lab · graded submission
412551014
16 / 110 points
16 earned 64 pending 30 lost
sandbox
bubblewrap
python
3.11.2
torch
2.15.0+cpu
device
cpu
duration
5.4 s
grader
0.1.0
submission
5f2a9c012345
Waiting for a person
! grader error
compute_loss: the simplified noise-matching loss (4)
The judge of compute_loss failed: KeyError 'eps'
? needs review
Figure of q_sample (10), Training on the Swiss roll: loss curve and evaluation (10), \
Report: trajectories under three beta schedules (10), \
Report: samples of three predictors (10), Report: best FID (20)
This version of the grader leaves the report to a person.
Points
3 passed, 2 partial, 1 failed, 1 out of memory, 1 timeout, 1 crashed, 1 not implemented, 1 missing, \
5 needs review, 1 grader error, 1 skipped.
""")


def test_a_broken_archive_says_what_to_do_next(page):
    told = page(samples.broken())
    assert told.title == "陳小明_412551003: not graded"
    assert (
        told.text[told.text.index("This submission") :]
        == """\
This submission could not be graded
412551003_lab1.zip is not a ZIP archive: it starts with 'Rar!', which is RAR.
Only ZIP archives are taken.
What to do next
In your lab folder, run python -m grader pack YOUR_ID. It makes the archive and says what is missing in it.
Open the archive once and see that report.pdf, 2d_plot_diffusion_todo/ and image_diffusion_todo/ are in it.
Hand it in again, or ask your TA, if the date has passed or the archive looks right to you."""
    )


def test_rows_that_only_repeat_the_problem_get_no_section(page):
    result = samples.broken()
    result.rows = [Row(f"task1.{name}", 4, Verdict.MISSING, message=result.problem) for name in "ab"]
    assert "Row by row" not in page(result).text


def test_every_link_of_the_table_leads_to_its_section(page):
    attributes = page(samples.mixed()).attributes
    links = {value[1:] for tag, name, value in attributes if (tag, name) == ("a", "href")}
    assert links == {value for tag, name, value in attributes if (tag, name) == ("article", "id")}
    assert "row-task1.p_sample" in links


@pytest.mark.parametrize("sample", [samples.full, samples.untouched, samples.broken, samples.mixed])
def test_every_verdict_and_message_reaches_the_page(page, sample):
    result = sample()
    text = page(result).text
    for row in result.shown:
        assert LAB.row(row.id).title in text
        assert row.verdict.value.replace("_", " ") in text
        for line in row.message.split("\n"):
            assert line.partition(": ")[2] in text or row.diagnosis
    assert all(remark in text for remark in result.remarks)


def test_what_a_check_says_is_its_fields_whatever_stands_in_them():
    finding = Finding("a value", "1\n  2\ngot: 7", "3\n\nwhere: 4", equation="x = 1")
    assert [(part.label, part.text) for part in parts(Check.of("c", 1, finding))] == [
        ("checked", "a value"),
        ("expected", "1\n  2\ngot: 7"),
        ("got", "3\n\nwhere: 4"),
        ("equation", "x = 1"),
    ]


def test_the_place_of_an_error_stands_apart_from_its_message():
    crashed = Check("c", Verdict.CRASHED, 0, 1, "ValueError: where: here\nwhere: ddpm.py:8", where="ddpm.py:8")
    assert [(part.label, part.text) for part in parts(crashed)] == [
        ("", "ValueError: where: here"),
        ("where", "ddpm.py:8"),
    ]


def test_a_result_of_an_older_grader_shows_its_messages_as_they_are(page):
    record = json.loads(samples.mixed().to_json())
    for check in (check for row in record["rows"] for check in row["checks"]):
        for name in ("checked", "expected", "got", "where", "equation"):
            del check[name]
    told = page(Result.from_json(json.dumps(record)))
    assert "checked: the variance of p_sample over 20,000 draws\nexpected: 0.00909 (beta-tilde at t = 1)" in told.text
    assert "b (2)\nwhere: ddpm.py:87 in q_sample" in told.text
    assert ("dd", "class", "lead") in told.attributes


def test_equations_set_indices_but_leave_names_alone():
    assert maths("β̃_t = ᾱ_{t−1} σ_t^2 p_sample x_0 beta_1 <b>") == (
        "β̃<sub>t</sub> = ᾱ<sub>t−1</sub> σ<sub>t</sub><sup>2</sup> p_sample x<sub>0</sub> beta_1 &lt;b&gt;"
    )


# --- figures


def test_a_figure_is_embedded(tmp_path, page):
    images = [value for tag, name, value in page(samples.mixed(tmp_path)).attributes if (tag, name) == ("img", "src")]
    assert len(images) == 1
    assert images[0].startswith("data:image/png;base64,iVBOR")


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("../a.png", b"", "the file is not beside this report"),
        ("link.png", None, "the file is not beside this report"),
        ("gone.png", None, "the file is not beside this report"),
        ("nul\0.png", None, "the file is not beside this report"),
        ("a.png", b"<svg onload=alert(1)>", "the file is neither a PNG nor a JPEG"),
        ("a.png", b"\x89PNG\r\n\x1a\n" + 2_000_000 * b"0", "the file is larger than 2 MB"),
        ("a.png", b"\x89PNG\r\n\x1a\n" + 24 * b"\xff", "the picture is larger than 6000 pixels a side"),
    ],
)
def test_a_figure_that_is_none_is_named_with_the_reason(tmp_path, page, name, data, reason):
    (tmp_path / "link.png").symlink_to("/etc/hostname")
    if data and "/" not in name:
        (tmp_path / name).write_bytes(data)
    told = page(Result("1", "", "", 0, "", {}, [Row("task1.x", 1, Verdict.PASSED, 1, evidence=[name])]))
    assert f"cannot be shown: {reason}." in told.text
    assert "img" not in told.tags


# --- hostile text


def assert_inert(page: Page) -> None:
    assert page.tags <= INERT
    for tag, name, value in page.attributes:
        assert not name.startswith("on"), (tag, name, value)
        assert name not in ("style", "srcdoc", "action", "formaction", "srcset", "background")
        if name in ("src", "href", "xlink:href"):
            assert re.match(r"#row-[\w.-]*$|data:image/(png|jpeg);base64,", value), (tag, name, value)
        if (tag, name) == ("meta", "http-equiv"):
            assert value == "Content-Security-Policy"


def test_hostile_text_becomes_text(tmp_path, page):
    told = page(samples.hostile(tmp_path))
    assert_inert(told)
    for text in samples.HOSTILE[:9]:
        assert " ".join(text.split()) in told.text
    assert told.title.startswith("<script>document.title='PWNED'</script>")


def test_controls_and_overrides_are_spelt_out(tmp_path):
    html = render(samples.hostile(), tmp_path, LAB)
    steering = "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
    assert not re.search(steering, html)
    assert "⟨U+202E⟩gnp.exe⟨U+2066⟩" in html
    assert "⟨U+001B⟩[2J" in html
    assert "\u0301" * 5 not in html


def test_long_text_is_cut(tmp_path):
    result = Result(
        "1", "", "", 0, "", {}, [Row("task1.x", 1, Verdict.CRASHED, message="m" * 10**6)], remarks=["r" * 10**6] * 1000
    )
    html = render(result, tmp_path, LAB)
    assert len(html) < 80_000
    assert "m … (996,000 more characters)" in html
    assert "… and 940 more" in html


def test_the_policy_forbids_scripts_and_remote_loads(tmp_path):
    html = render(samples.full(), tmp_path, LAB)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)[1]
    assert re.sub(r"sha256-[\w+/=]+", "sha256-X", policy) == (
        "default-src 'none'; img-src data:; style-src 'sha256-X'; base-uri 'none'; form-action 'none'"
    )


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_no_script_runs_and_nothing_is_fetched_in_chromium(tmp_path):
    path = write_report(samples.hostile(tmp_path), tmp_path, LAB)
    log = tmp_path / "net.json"
    seen = Page(dumped(path, tmp_path, f"--log-net-log={log}"))
    assert seen.title == Page(path.read_text("utf-8")).title
    assert_inert(seen)
    assert json.loads(log.read_text())["events"]
    assert "evil.example" not in log.read_text()


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
@pytest.mark.parametrize("sample", [samples.mixed, samples.hostile])
def test_nothing_sticks_out_of_a_phone_and_the_style_applies(tmp_path, sample):
    html = render(sample(tmp_path), tmp_path, LAB)
    frame = tmp_path / "frame.html"
    frame.write_text(
        f"""<iframe id=f width=360 height=800 style="border:0" srcdoc="{escape(html)}"></iframe>
        <script>f.onload = () => {{ const page = f.contentDocument;
        document.title = page.documentElement.scrollWidth - page.documentElement.clientWidth + " " +
            f.contentWindow.getComputedStyle(page.querySelector(".badge")).borderTopLeftRadius; }}
        </script>""",
        "utf-8",
    )
    assert Page(dumped(frame, tmp_path)).title == "0 16px"


def dumped(path: Path, folder: Path, *flags: str) -> str:
    """The DOM of a page after Chromium loaded it."""
    run = subprocess.run(
        [CHROMIUM, *FLAGS, f"--user-data-dir={folder / 'profile'}", *flags, "--dump-dom", path.as_uri()],
        capture_output=True,
        timeout=120,
        check=True,
    )
    return run.stdout.decode("utf-8")


# --- the rest


def test_a_result_survives_json_and_renders_the_same(tmp_path):
    for result in (samples.full(), samples.untouched(), samples.broken(), samples.mixed(), samples.hostile()):
        again = Result.from_json(result.to_json())
        assert again == result
        assert render(again, tmp_path, LAB) == render(result, tmp_path, LAB)


def test_a_report_takes_under_50_ms(tmp_path):
    result = samples.mixed(tmp_path)
    render(result, tmp_path, LAB)
    times = []
    for _ in range(5):
        start = cpu_seconds()
        render(result, tmp_path, LAB)
        times.append(cpu_seconds() - start)
    assert min(times) < 0.05


def test_neither_torch_nor_matplotlib_is_imported():
    code = (
        "import sys; from pathlib import Path; from grader.lab import LAB; from grader.output import report, summary;"
        "from grader.records import Result, Row, Verdict;"
        "result = Result('1', '', '', 0, '', {}, [Row('task1.q_sample', 4, Verdict.PASSED, 4)]);"
        "summary.table([result], True); report.render(result, Path(), LAB);"
        "print(sorted({'torch', 'matplotlib'} & set(sys.modules)))"
    )
    root = Path(__file__).parents[2]
    run = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"


def test_a_diagnosis_is_not_told_twice(page):
    known = Diagnosis("d", "a title", "look at Sec. 3.2", "β_t")
    check = Check.of("c", 1, Finding("a value", "0", "1", equation="β_t"))
    told = page(Result("1", "", "", 0, "", {}, [Row.from_checks("task1.x", 1, [check], diagnosis=known)]))
    assert told.text.count("look at Sec. 3.2") == 1
    assert told.text.count("βt") == 1
