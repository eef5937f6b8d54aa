"""`export markdown`: the job summary as GitHub's own renderer shows it, and the workflow commands of annotations."""

import re
from html.parser import HTMLParser

import cmarkgfm
import pytest
from cmarkgfm.cmark import Options
from grader.output.formats.annotations import command, to_commands

from grader import cli
from grader.errors import UsageError
from grader.lab.release import release_halves
from grader.output.formats.markdown import LIMIT, code, code_block, prose, to_markdown
from grader.records import Diagnosis, Result, Row, Verdict
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
    "h2",
    "h3",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "p",
    "code",
    "pre",
    "strong",
    "details",
    "summary",
    "ul",
    "li",
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
    page = rendered(to_markdown([result]))
    broken = rendered(to_markdown([samples._result("x", samples._review)]))
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
    text = to_markdown([samples.full(), samples.mixed(), samples.broken()])
    assert "| `412551001` | 50 of 110 | 60 | – |" in text
    assert "Likely: **the variance is β, not the posterior variance β̃**" in text
    assert "It could not be graded:" in text
    assert "where: p_sample, t = 1, batch of 20000" in text


def test_the_weaker_sandbox_is_named():
    result = samples.full()
    assert "weaker sandbox" not in to_markdown([result])
    result.sandbox = "user"
    assert "Graded in the weaker sandbox" in to_markdown([result])


def test_a_class_of_any_size_fits_into_what_github_takes():
    text = to_markdown([samples.mixed()] * 400)
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
    lines = {parsed(line)[1]["title"].split(":")[0]: parsed(line) for line in to_commands([samples.mixed()])}
    level, where, message = lines["412551014, task1.p_sample"]
    assert (level, where["file"]) == ("warning", "2d_plot_diffusion_todo/ddpm.py")
    release_halves(tmp_path)
    text = (tmp_path / where["file"]).read_text(encoding="utf-8").splitlines()
    assert "TODO task1.p_sample #" in text[int(where["line"]) - 1]
    assert "likely: the variance is β" in message
    assert lines["412551014, task2.cosine"][0] == "error"
    assert "412551014, task2.fid" not in lines  # a person decides: no finding


def test_lines_are_those_of_the_submission_and_of_the_error(tmp_path):
    longer = [("import torch\n", "import torch\n" * 8)]
    build(tmp_path / "lab" / "mine", replace={"2d_plot_diffusion_todo/ddpm.py": longer})
    crashed = Row("task1.q_sample", 4, Verdict.CRASHED, 0, "ZeroDivisionError\nwhere: ddpm.py:3 in q_sample")
    failed = Row("task1.p_sample", 4, Verdict.FAILED, 0, "got: 0\nwhere: p_sample, t = 0")
    elsewhere = Row("task1.p_sample_loop", 4, Verdict.CRASHED, 0, "where: ../../etc/passwd.py:3 in x")
    result = Result("1", "", "", 0, "bubblewrap", {}, [crashed, failed, elsewhere])
    places = [parsed(line)[1] for line in to_commands([result], tmp_path / "lab" / "mine", tmp_path)]
    file = "lab/mine/2d_plot_diffusion_todo/ddpm.py"
    assert [place["file"] for place in places] == [file] * 3
    lines = (tmp_path / file).read_text(encoding="utf-8").splitlines()
    assert places[0]["line"] == "3"
    assert "TODO task1.p_sample #" in lines[int(places[1]["line"]) - 1]
    assert "TODO task1.p_sample_loop #" in lines[int(places[2]["line"]) - 1]


def test_a_zip_is_a_source_as_well(tmp_path):
    archive = pack(build(tmp_path / "built"), tmp_path / "1_lab1.zip")
    failed = Row("task2.cosine", 4, Verdict.FAILED)
    [line] = to_commands([Result("1", "", "", 0, "", {}, [failed])], archive)
    assert parsed(line)[1]["file"] == "image_diffusion_todo/scheduler.py"


def test_a_source_that_cannot_be_read_leaves_the_place_out(tmp_path):
    (tmp_path / "1_lab1.zip").write_bytes(b"no ZIP")
    [line] = to_commands(
        [Result("1", "", "", 0, "", {}, [Row("task2.cosine", 4, Verdict.FAILED)])], tmp_path / "1_lab1.zip"
    )
    assert set(parsed(line)[1]) == {"title"}


def test_a_source_is_of_one_result(tmp_path):
    with pytest.raises(UsageError, match="--source is one submission, and there are 2 results"):
        list(to_commands([samples.full()] * 2, tmp_path))


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
    for line in to_commands([samples.hostile()]):
        assert parsed(line)[0] in ("error", "warning", "notice")


def test_the_summary_goes_to_a_file_and_the_commands_to_stdout(tmp_path, capsys):
    out = tmp_path / "grades"
    (out / "412551014").mkdir(parents=True)
    (out / "412551014" / "result.json").write_text(samples.mixed().to_json(), encoding="utf-8")
    summary = tmp_path / "summary.md"
    assert cli.main(["export", "markdown", str(out), "--to", str(summary), "--annotations"]) == 0
    assert summary.read_text(encoding="utf-8") == to_markdown([samples.mixed()])
    assert all(line.startswith("::") for line in capsys.readouterr().out.splitlines())
