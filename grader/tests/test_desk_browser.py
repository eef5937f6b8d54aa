"""The desk in headless Chromium: what a TA sees and types, a regrade meanwhile, and text that would like to run."""

import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

from grader.desk.course import Course, student_id
from grader.desk.gradebook import typed
from grader.lab import LAB
from grader.records import Row, Verdict
from grader.results import graded
from grader.tests.desk_class import HOSTILE_ID, hostile_result, made_up_class, with_row, write_result
from grader.tests.samples import MARK

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not on this machine; .ci/run installs it"),
    # playwright's event loop and sockets outlive a test
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]
CLOSED = (403, 404)  # with the token in its header, what is open would answer
RUNS = """() => document.title.includes('PWNED') || [...document.querySelectorAll('*')].some(element =>
    [...element.attributes].some(one =>
        /^(on|href$|src$|action$)/.test(one.name) && one.value.includes('document.title')))"""


@contextmanager
def desk(out, *more):
    """The address of a running desk."""
    process = subprocess.Popen(
        [sys.executable, "-m", "grader", "desk", str(out), "--no-browser", *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stdout.readline()
        found = re.search(r"http\S+", line)
        assert found, line + process.stderr.read()
        yield found[0]
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)


@contextmanager
def browser():
    """A page, and the list of what went wrong on it: dialogs, errors, requests to other hosts."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        context = chromium.new_context(viewport={"width": 1280, "height": 900})
        wrong = []

        def fetch(route):
            parts = urlsplit(route.request.url)
            if parts.scheme in ("http", "https", "ws", "wss") and parts.hostname != "127.0.0.1":
                wrong.append(f"a request to {route.request.url}")
                return route.abort()
            return route.continue_()

        def dismissed(dialog):
            wrong.append(f"a dialog: {dialog.message}")
            dialog.dismiss()

        context.route("**/*", fetch)
        page = context.new_page()
        page.on("dialog", dismissed)
        page.on("popup", lambda other: wrong.append(f"a window: {other.url}"))
        page.on("pageerror", lambda error: wrong.append(f"an error of the page: {error}"))
        yield page, wrong
        chromium.close()


def open_first(page, address, name):
    """The manual grading list, then the submission of a student."""
    page.goto(address)
    page.wait_for_selector("text=Submission #1")
    page.get_by_role("button", name="Show All Names").click()
    page.get_by_role("link", name=name).click()
    page.wait_for_selector("input.score")


def saved(kind):
    return lambda answer: f"/api/{kind}/" in answer.url and answer.request.method == "PUT"


def test_a_ta_sees_a_figure_types_points_and_a_comment_and_finds_them_after_a_regrade(tmp_path):
    out = made_up_class(tmp_path / "grades")
    with desk(out) as address, browser() as (page, wrong):
        open_first(page, address, "412551014")
        for alt in ("page 1 of report.pdf", "q(x_t) at rising t"):
            figure = page.locator(f"img[alt^='{alt}']")
            figure.scroll_into_view_if_needed()
            assert figure.is_visible()
            assert figure.evaluate("image => image.naturalWidth > 100 && image.clientWidth < 1200")
        assert page.get_by_text("suggested: 15 of 20").first.is_visible()
        assert page.locator("#task2-fid").input_value() == ""
        page.wait_for_selector("#task1-p_sample[placeholder='3']")  # the page asks for it once it stands
        with page.expect_response(saved("grade")) as answer:
            page.fill("#task2-fid", "15")
            page.press("#task2-fid", "Tab")
        assert answer.value.ok
        with page.expect_response(saved("comment")):
            page.fill("#task2-fid-comment", "page 1 shows it")
            page.locator("#task2-fid").focus()
        assert typed(Course.of(out, None, LAB)) == {"412551014": {"task2.fid": (15, "page 1 shows it")}}

        result = next(one for one in graded(out) if one.id == "412551014")
        write_result(out, with_row(result, Row("task1.p_sample", 4, Verdict.PASSED, 4, "judged anew")))
        until_shown(page, "#task1-p_sample[placeholder='4']")
        assert page.get_by_text("judged anew").is_visible()
        assert page.locator("#task2-fid").input_value() == "15"
        assert page.locator("#task2-fid-comment").input_value() == "page 1 shows it"
        assert typed(Course.of(out, None, LAB)) == {"412551014": {"task2.fid": (15, "page 1 shows it")}}
        assert wrong == []


def until_shown(page, selector, seconds=30):
    """Reload until the page has it; the running desk looks for new results by itself."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        page.reload()
        page.wait_for_selector("input.score")
        page.wait_for_timeout(1000)
        if page.locator(selector).count():
            return
    pytest.fail(f"the page does not come to show {selector}")


def test_nothing_that_a_student_wrote_runs_at_the_desk_or_in_feedback(tmp_path):
    out = made_up_class(tmp_path / "grades")
    write_result(out, hostile_result(out))
    subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "grader", "desk", str(out), "--feedback"],
        check=True,
        capture_output=True,
        timeout=120,
    )
    feedback = out / "desk" / "feedback" / student_id(HOSTILE_ID) / LAB.assignment / "evidence.html"
    with desk(out) as address, browser() as (page, wrong):
        page.goto(address)
        base = page.url.partition("formgrader")[0] + "formgrader/"
        for path in (
            "gradebook",
            f"gradebook/{LAB.assignment}",
            "manage_assignments",
            "manage_students",
            f"manage_submissions/{LAB.assignment}",
            f"manage_students/{student_id(HOSTILE_ID)}",
        ):
            page.goto(base + path, wait_until="networkidle")
            assert not page.evaluate(RUNS), path
        open_first(page, address, re.compile("img src"))
        page.wait_for_timeout(1000)
        assert MARK in page.content()  # the text is there, as text
        assert not page.evaluate(RUNS)
        page.goto(feedback.as_uri(), wait_until="networkidle")
        assert MARK in page.content()
        assert not page.evaluate(RUNS)
        assert wrong == []


def test_the_desk_is_closed_but_for_what_grading_needs(tmp_path):
    out = made_up_class(tmp_path / "grades")
    with desk(out) as address:
        base, token = address.partition("formgrader")[0], address.partition("token=")[2]
        for path in (
            "tree",
            "lab",
            "api/contents",
            "api/kernels",
            "api/kernelspecs",
            "api/terminals",
            "api/sessions",
            "files/gradebook.db",
            "files/nbgrader_config.py",
            "view/gradebook.db",
            "nbconvert/html/x.ipynb",
            "terminals/1",
            "edit/x",
            "api/spec.yaml",
            "api/config/x",
        ):
            assert status(base + path, token) == 404, path
        for path in (
            f"assignment/{LAB.assignment}/assign",
            f"submission/{LAB.assignment}/412551014/autograde",
            f"assignment/{LAB.assignment}/412551014/generate_feedback",
        ):
            assert status(f"{base}formgrader/api/{path}", token, "POST") in CLOSED, path
        for path in ("assignment/other", "student/other"):
            assert status(f"{base}formgrader/api/{path}", token, "PUT") in CLOSED, path
        assert status(f"{base}formgrader/gradebook", token) == 200
        assert status(f"{base}formgrader/api/students", token) == 200
        assert status(f"{base}formgrader/api/students", "wrong") == 403


def status(address, token, method="GET"):
    request = urllib.request.Request(
        address, method=method, data=None if method == "GET" else b"{}", headers={"Authorization": f"token {token}"}
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return 403 if "/login?" in answer.url else answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_a_score_that_the_row_does_not_have_is_refused(tmp_path):
    out = made_up_class(tmp_path / "grades")
    with desk(out) as address, browser() as (page, _):
        open_first(page, address, "412551014")
        put = """async ([row, score]) => {
            const grades = await (await fetch(base_url + '/api/grades?submission_id=' + submission_id)).json();
            const id = grades.find(one => one.name === row).id;
            const cookie = document.cookie.match(/_xsrf=([^;]*)/)[1];
            const answer = await fetch(`${base_url}/api/grade/${id}`, {method: 'PUT', body: score,
                                       headers: {'X-CSRFToken': cookie}});
            return answer.status;
        }"""
        for score in (
            '{"manual_score": 9999}',
            '{"manual_score": -1}',
            '{"manual_score": NaN}',
            "[]",
            '{"a":',
            '{"manual_score": 1, "extra_credit": 5}',
            '{"manual_score": "many"}',
        ):
            assert page.evaluate(put, ["task2-fid", score]) == 400, score
        assert page.evaluate(put, ["task2-fid", '{"manual_score": 20}']) == 200
    assert typed(Course.of(out, None, LAB)) == {"412551014": {"task2.fid": (20, "")}}


def test_ending_the_desk_ends_its_server_and_a_port_in_use_is_said(tmp_path):
    out = made_up_class(tmp_path / "grades")
    with desk(out) as address:
        port = str(urlsplit(address).port)
        other = subprocess.run(
            [sys.executable, "-m", "grader", "desk", str(out), "--no-browser", "--port", port],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert other.returncode == 2
        assert f"port {port}" in other.stderr
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(address, timeout=5)
