"""`export markdown`: the job summary as GitHub's own renderer shows it, and the workflow commands of annotations."""

import re
from html.parser import HTMLParser

import cmarkgfm
import pytest
from cmarkgfm.cmark import Options

from grader import cli
from grader.judging.findings import unanswered
from grader.lab import LAB
from grader.lab.release import release_halves
from grader.output.formats.markdown.annotations import command, handed_out, submitted, to_commands
from grader.output.formats.markdown.summary import LIMIT, code, code_block, prose, to_markdown
from grader.records import Check, Diagnosis, Finding, Result, Row, Verdict
from grader.sandbox import ProbeFailure
from grader.submission.kept import keep
from grader.submission.unpack import stage
from grader.tests import samples
from grader.tools.builder import build, pack

TRICKS = (
    "@octocat",
    "#1 GH-1 octo/repo#1",
    "https://evil.example/x",
    "www.evil.example",
    "mail@evil.example",
    "[click](https://evil.example)",
    "![x](https://evil.example/x.png)",
    "<https://evil.example>",
    "`",
    "``` a",
    "a\n```\n# Heading\n[x](https://evil.example)\n",
    "| a | b |",
    "\\| \\\\| [x](y) |",
    "~~~\n",
    "</details>",
    "<!-- ",
    "&lt;b&gt;",
    "**bold** _it_ ~~no~~",
    "[^1]\n\n[^1]: note",
    "- list\n1. one",
    "$x$ :tada:",
    "a\n===\n",
)
OURS = {
    *("table", "thead", "tbody", "tr", "th", "td"),
    *("h2", "h3", "p", "ul", "li", "pre", "code", "strong", "details", "summary"),
}


class Page(HTMLParser):
    """Tags with their attributes, and the text outside of code."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.headings, self.prose, self._code = [], 0, "", 0
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._code += tag in ("code", "pre")

    def handle_endtag(self, tag):
        self._code -= tag in ("code", "pre")

    def handle_data(self, data):
        self.prose += "" if self._code else data

    def handle_comment(self, data):
        raise AssertionError(f"a comment: {data}")


def rendered(text):
    return Page(cmarkgfm.github_flavored_markdown_to_html(text, Options.CMARK_OPT_UNSAFE))


def tricky():
    rows = [
        Row(trick, 2, Verdict.FAILED, 1, trick, Diagnosis(trick, trick, trick, trick), remarks=[trick])
        for trick in TRICKS
    ]
    return Result("".join(TRICKS), "", "", 0, "user", {}, rows, [*TRICKS])


@pytest.mark.parametrize("result", [samples.hostile(), tricky()], ids=["hostile", "tricky"])
def test_nothing_of_a_student_becomes_markup(result):
    page = rendered(to_markdown([result], LAB))
    broken = rendered(to_markdown([samples._result("x", samples._review)], LAB))
    assert {tag for tag, _ in page.tags} <= OURS, {tag for tag, _ in page.tags} - OURS
    assert all(set(attributes) <= {"align", "lang", "class"} for _, attributes in page.tags)
    assert [tag for tag, _ in page.tags].count("h3") == [tag for tag, _ in broken.tags].count("h3") == 1
    assert not re.search(r"@\w|#\d|://\w|www\.|:tada:", page.prose)


@pytest.mark.parametrize("trick", [*TRICKS, *samples.HOSTILE])
def test_a_code_span_is_one_cell_and_code_alone(trick):
    page = rendered(f"| a | b |\n| --- | --- |\n| {code(trick)} | x |\n")
    assert [tag for tag, _ in page.tags].count("td") == 2
    assert {tag for tag, _ in page.tags} <= {"table", "thead", "tbody", "tr", "th", "td", "code"}


@pytest.mark.parametrize("trick", [*TRICKS, *samples.HOSTILE])
def test_a_code_block_ends_where_it_should(trick):
    page = rendered(f"{code_block(trick)}\nafter")
    assert [tag for tag, _ in page.tags] == ["pre", "code", "p"]


@pytest.mark.parametrize("trick", [*TRICKS, *samples.HOSTILE])
def test_prose_says_what_it_says_without_links(trick):
    page = rendered(prose(trick))
    assert {tag for tag, _ in page.tags} <= {"p", "ul", "ol", "li"}


def test_the_summary_has_a_table_of_the_class_and_the_diagnoses():
    text = to_markdown([samples.full(), samples.mixed(), samples.broken()], LAB)
    assert "| `412551001` | 50 of 110 | 60 | – |" in text
    assert "Likely: **the variance is β, not the posterior variance β̃**" in text
    assert "It could not be graded:" in text
    assert "where: p_sample, t = 1, batch of 20000" in text


def test_the_weaker_sandbox_is_named():
    result = samples.full()
    assert "weaker sandbox" not in to_markdown([result], LAB)
    result.sandbox = "user"
    assert "Graded in the weaker sandbox" in to_markdown([result], LAB)


def test_a_class_of_any_size_fits_into_what_github_takes():
    text = to_markdown([samples.mixed()] * 400, LAB)
    assert len(text.encode()) < 1 << 20
    assert len(text.encode()) <= LIMIT + 1000
    assert "more submissions: see their reports." in text


# --- annotations


def parsed(line):
    """A workflow command as GitHub's runner reads it: level, properties, message."""
    found = re.fullmatch(r"::(\w+) ([^:]*)::(.*)", line)
    assert found, line

    def plain(text):
        for sign, code_ in (("\r", "%0D"), ("\n", "%0A"), (":", "%3A"), (",", "%2C"), ("%", "%25")):
            text = text.replace(code_, sign)
        return text

    properties = dict(part.split("=", 1) for part in found[2].split(","))
    return found[1], {name: plain(value) for name, value in properties.items()}, plain(found[3])


def test_a_lost_row_is_marked_at_its_todo_in_the_lab(tmp_path):
    lines = {
        parsed(line)[1]["title"].split(":")[0]: parsed(line) for line in to_commands([samples.mixed()], handed_out(LAB))
    }
    level, where, message = lines["412551014, task1.p_sample"]
    assert (level, where["file"]) == ("warning", "2d_plot_diffusion_todo/ddpm.py")
    release_halves(tmp_path)
    text = (tmp_path / where["file"]).read_text(encoding="utf-8").splitlines()
    assert "TODO task1.p_sample #" in text[int(where["line"]) - 1]
    assert "likely: the variance is β" in message
    assert lines["412551014, task2.cosine"][0] == "error"
    assert "412551014, task2.fid" not in lines  # a person decides: no finding


def graded(folder, path):
    """The folder of a result, with what was kept of the submission at `path`."""
    folder.mkdir()
    keep(path, stage(path, folder.with_name("staged"), LAB), folder)
    return folder


def test_lines_are_those_of_the_submission_and_of_the_error(tmp_path):
    longer = [("import torch\n", "import torch\n" * 8)]
    mine = build(tmp_path / "lab" / "mine", replace={"2d_plot_diffusion_todo/ddpm.py": longer})
    failures = [
        unanswered("c", 4, ProbeFailure(Verdict.CRASHED, "ZeroDivisionError", "ddpm.py:3 in q_sample")),
        Check.of("c", 4, Finding("a value", "1", "0\nwhere: ddpm.py:5", "p_sample, t = 0")),
        unanswered("c", 4, ProbeFailure(Verdict.CRASHED, "", "../../etc/passwd.py:3 in x")),
        unanswered("c", 10, ProbeFailure(Verdict.TIMEOUT, "too slow")),
    ]
    ids = ("task1.q_sample", "task1.p_sample", "task1.p_sample_loop", "task1.training")
    rows = [Row.from_checks(row_id, check.max, [check]) for row_id, check in zip(ids, failures, strict=True)]
    source = submitted(graded(tmp_path / "1", mine), mine, tmp_path, LAB)
    commands = to_commands([Result("1", "", "", 0, "bubblewrap", {}, rows)], source)
    places = [parsed(line)[1] for line in commands]
    file = "lab/mine/2d_plot_diffusion_todo/ddpm.py"
    assert [place["file"] for place in places] == [file] * 4
    lines = (tmp_path / file).read_text(encoding="utf-8").splitlines()
    assert places[0]["line"] == "3"
    assert "TODO task1.p_sample #" in lines[int(places[1]["line"]) - 1]
    assert "TODO task1.p_sample_loop #" in lines[int(places[2]["line"]) - 1]
    assert places[3]["line"] == places[2]["line"]  # a row without a TODO of its own


def test_a_zip_is_a_source_as_well(tmp_path):
    archive = pack(build(tmp_path / "built"), tmp_path / "1_lab1.zip")
    failed = Row("task2.cosine", 4, Verdict.FAILED)
    source = submitted(graded(tmp_path / "1", archive), archive, tmp_path, LAB)
    [line] = to_commands([Result("1", "", "", 0, "", {}, [failed])], source)
    assert parsed(line)[1]["file"] == "image_diffusion_todo/scheduler.py"


def test_a_result_beside_which_nothing_was_kept_leaves_the_place_out(tmp_path):
    failed = Row("task2.cosine", 4, Verdict.FAILED)
    source = submitted(tmp_path, tmp_path / "1_lab1.zip", None, LAB)
    [line] = to_commands([Result("1", "", "", 0, "", {}, [failed])], source)
    assert set(parsed(line)[1]) == {"title"}


def test_a_source_is_of_one_result(tmp_path, capsys):
    for result in (samples.full(), samples.mixed()):
        (tmp_path / result.id).mkdir()
        (tmp_path / result.id / "result.json").write_text(result.to_json(), encoding="utf-8")
    to = ["--to", str(tmp_path / "summary.md"), "--annotations", "--source", "lab"]
    assert cli.main(["export", "markdown", str(tmp_path), *to]) == 2
    assert "--source is one submission, and there are 2 results" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text",
    [
        "a\n::set-env name=PATH::/evil",
        "a\r\n::error::b",
        "a::warning::b",
        "x,file=/etc/passwd,line=1::y",
        "100%0A::error::",
        "##[error]forged",
        "##[add-mask]x",
        "a\u2028::error::b",
        "a\u0085::error::b",
        "\x1b[2J",
        *samples.HOSTILE,
    ],
)
def test_no_text_begins_another_command(text):
    line = command("error", text, text)
    assert len(line.splitlines()) == 1
    assert "##[" not in line
    assert line.isprintable()
    level, properties, _ = parsed(line)
    assert (level, set(properties)) == ("error", {"title"})


def test_commands_of_a_hostile_submission_are_commands_of_ours():
    for line in to_commands([samples.hostile()], handed_out(LAB)):
        assert parsed(line)[0] in ("error", "warning", "notice")


def test_the_summary_goes_to_a_file_and_the_commands_to_stdout(tmp_path, capsys):
    out = tmp_path / "grades"
    (out / "412551014").mkdir(parents=True)
    (out / "412551014" / "result.json").write_text(samples.mixed().to_json(), encoding="utf-8")
    summary = tmp_path / "summary.md"
    assert cli.main(["export", "markdown", str(out), "--to", str(summary), "--annotations"]) == 0
    assert summary.read_text(encoding="utf-8") == to_markdown([samples.mixed()], LAB)
    assert all(line.startswith("::") for line in capsys.readouterr().out.splitlines())
