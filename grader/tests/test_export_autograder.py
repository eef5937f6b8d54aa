"""The autograder's ZIP in the /autograder layout, in a temporary root: grading, time limit, kill, hostile code."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import jsonschema
import pytest

from grader import cli
from grader.lab import LAB
from grader.lab.release import release
from grader.output.formats.gradescope.archive import requirements, write_autograder
from grader.output.formats.gradescope.container import (
    LATE,
    RUNNING,
    STOPPED,
    Layout,
    read_name,
    read_settings,
    sandbox_kind,
)
from grader.sandbox import SandboxKind, SandboxUnavailable, resolve
from grader.tests import toy
from grader.tests.test_export_gradescope import SCHEMA
from grader.tools.builder import build, pack

METADATA = {
    "id": 123456,
    "created_at": "2026-07-01T14:22:32.365935-07:00",
    "submission_method": "upload",
    "assignment": {"id": 25828, "title": "Lab 1", "total_points": "110.0"},
    "users": [{"email": "student@example.com", "id": 1234, "name": "Student User", "sid": "412551001"}],
    "previous_submissions": [],
}
LOOP = "while True:\n    pass\n"


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "autograder.zip"
    assert cli.main(["export", "gradescope", "--autograder", str(path), "--time-limit", "300"]) == 0
    return path


@pytest.fixture
def layout(archive, tmp_path):
    """What Gradescope lays out before it runs the autograder; tests add the submission."""
    root = tmp_path / "autograder"
    for name in ("source", "submission", "results"):
        (root / name).mkdir(parents=True)
    with zipfile.ZipFile(archive) as file:
        file.extractall(root / "source")
    script = root / "run_autograder"
    script.write_bytes((root / "source" / "run_autograder").read_bytes())
    script.chmod(0o755)
    (root / "submission_metadata.json").write_text(json.dumps(METADATA), encoding="utf-8")
    return Layout(root)


def settings(layout, limit_s, visibility="visible"):
    text = json.dumps({"limit_s": limit_s, "visibility": visibility})
    (layout.source / "autograder.json").write_text(text, encoding="utf-8")


def started(layout, **environment):
    """The script, as Gradescope starts it; what of the grader's needs is not on the list of requirements is hidden."""
    hidden = layout.root.parent / "hidden"
    for name in ("nbgrader", "copydetect", "distributed", "jsonschema"):
        (hidden / name).mkdir(parents=True, exist_ok=True)
        (hidden / name / "__init__.py").write_text("raise ImportError('not among the requirements')\n")
    return subprocess.Popen(
        ["bash", str(layout.root / "run_autograder")],
        cwd="/",
        start_new_session=True,
        env=os.environ
        | {
            "AUTOGRADER_ROOT": str(layout.root),
            "DDPM_GRADER_ENV": sys.prefix,
            "PYTHONPATH": str(hidden),
            **environment,
        },
    )


def run(layout, **environment):
    process = started(layout, **environment)
    assert process.wait(120) == 0
    return results(layout)


def results(layout):
    data = json.loads(layout.results.read_text(encoding="utf-8"))
    jsonschema.validate(data, SCHEMA)
    with_points = {row.id for row in LAB.rubric if row.points}
    companions = {row.id for row in LAB.rubric} - with_points  # told only where they were tried
    assert with_points <= set(verdicts(data)) <= with_points | companions
    assert len(verdicts(data)) == len(data["tests"])
    return data


def verdicts(data):
    return {test["name"].split(":")[0]: test["extra_data"]["verdict"] for test in data["tests"]}


# --- the ZIP


def test_the_archive_holds_scripts_grader_and_constraints_but_no_solutions(archive):
    with zipfile.ZipFile(archive) as file:
        names = set(file.namelist())
        modes = {name: file.getinfo(name).external_attr >> 16 & 0o777 for name in ("setup.sh", "run_autograder")}
    assert {
        "setup.sh",
        "run_autograder",
        "constraints.txt",
        "requirements.txt",
        "grader/cli.py",
        "grader/lab/policy.toml",
        "2d_plot_diffusion_todo/ddpm.py",
        "image_diffusion_todo/model.py",
    } <= names
    assert modes == {"setup.sh": 0o755, "run_autograder": 0o755}
    assert not [name for name in names if "solutions" in name or "/tests/" in name or "__pycache__" in name]


def test_the_same_sources_make_the_same_archive(archive, tmp_path):
    write_autograder(tmp_path / "again.zip", LAB, 300, "visible")
    assert (tmp_path / "again.zip").read_bytes() == archive.read_bytes()


def test_another_lab_goes_along_with_its_own_halves_and_is_named(tmp_path):
    write_autograder(tmp_path / "a.zip", toy.LAB, 300, "visible")
    with zipfile.ZipFile(tmp_path / "a.zip") as file:
        names = set(file.namelist())
        assert json.loads(file.read("autograder.json"))["lab"] == "grader.tests.toy"
    assert {"grader/tests/toy/rubric.toml", "grader/tests/toy/rows/part1/double/judge.py"} <= names
    assert any(name.startswith(f"{toy.LAB.halves[0].folder}/") for name in names)
    assert not [name for name in names if "solutions" in name or name.startswith("grader/tests/test_")]


def test_a_policy_and_a_pip_conf_go_along(tmp_path):
    (tmp_path / "mine.toml").write_text('[reverse_step]\nvariances = ["posterior", "beta"]\n')
    (tmp_path / "mine.conf").write_text("[global]\nprefer-binary = true\n")
    write_autograder(tmp_path / "a.zip", LAB, 300, "hidden", tmp_path / "mine.toml", tmp_path / "mine.conf")
    with zipfile.ZipFile(tmp_path / "a.zip") as file:
        assert b"beta" in file.read("policy.toml")
        assert b"prefer-binary" in file.read("pip.conf")
        assert json.loads(file.read("autograder.json")) == {
            "lab": "grader.lab",
            "limit_s": 300,
            "visibility": "hidden",
        }


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--time-limit", "5"], "--time-limit takes seconds from 60 on"),
        (["--policy", "nowhere.toml"], "cannot read the policy nowhere.toml"),
        (["--pip-conf", "nowhere.conf"], "cannot read nowhere.conf"),
    ],
)
def test_mistakes_are_told_at_once(args, says, tmp_path, capsys):
    assert cli.main(["export", "gradescope", "--autograder", str(tmp_path / "a.zip"), *args]) == 2
    assert says in capsys.readouterr().err


def test_grading_needs_no_notebooks():
    assert not [line for line in requirements() if line.startswith("nbgrader")]
    assert any(line.startswith("torch>") for line in requirements())


# --- metadata and settings


@pytest.mark.parametrize(
    ("metadata", "name"),
    [
        (json.dumps(METADATA), "412551001"),
        (json.dumps(METADATA | {"users": [{"email": "a@b.c", "sid": ""}]}), "a@b.c"),
        (json.dumps(METADATA | {"users": []}), "123456"),
        (json.dumps({"users": [{"sid": "../../etc/passwd"}]}), "_.._etc_passwd"),
        (json.dumps({"users": [{"sid": "\x1b[2J\u202e/.."}]}), None),
        (json.dumps({"users": "x"}), "submission"),
        ("[1]", "submission"),
        ("not JSON", "submission"),
    ],
)
def test_the_name_is_that_of_who_handed_it_in(metadata, name, tmp_path):
    (tmp_path / "metadata.json").write_text(metadata, encoding="utf-8")
    found = read_name(tmp_path / "metadata.json", LAB.suffix)
    assert found == name or name is None
    assert found
    assert found.isprintable()
    assert not {"/", "\\"} & set(found)
    assert not found.startswith(".")


def test_settings_that_cannot_be_read_are_gradescopes_own(tmp_path):
    (tmp_path / "a.json").write_text('{"limit_s": -5, "visibility": "visible"}')
    assert read_settings(tmp_path / "a.json").limit_s == read_settings(tmp_path / "none.json").limit_s == 600
    assert read_settings(tmp_path / "a.json").working_s == 570


def test_where_namespaces_are_forbidden_the_weaker_sandbox_takes_over(monkeypatch):
    def resolve(kind, gpu=False):
        if kind is SandboxKind.AUTO:
            raise SandboxUnavailable("no namespaces here")
        return kind

    monkeypatch.setattr("grader.sandbox.resolve", resolve)
    assert sandbox_kind() is SandboxKind.USER


# --- running


@pytest.mark.slow
def test_a_submission_is_graded_into_results_json(layout):
    release(layout.submission / "lab", force=True)
    data = run(layout)
    told = verdicts(data)
    assert told["task1.q_sample"] == "not_implemented"
    assert told["task2.fid"] == "needs_review"
    assert (data["score"], data["extra_data"]["pending"]) == (0, 40)
    assert RUNNING not in data["output"]
    assert LATE not in data["output"]
    assert f"Sandbox: {data['extra_data']['sandbox']}" in data["output"]
    assert layout.root.stat().st_mode & 0o777 == 0o700 or os.geteuid() != 0


@pytest.mark.slow
@pytest.mark.alone
def test_partial_results_are_written_as_the_time_limit_nears(layout):
    """The second half never comes to an end; what was judged of the first counts, the rest is pending."""
    settings(layout, 18)
    build(
        layout.submission / "lab",
        bodies={
            "task2.add_noise": LOOP,
            "task2.cosine": LOOP,
            "task1.p_sample": LOOP,
            "task1.p_sample_loop": LOOP,
            "task1.compute_loss": LOOP,
        },
    )
    began = time.monotonic()
    data = run(layout)
    assert time.monotonic() - began < 18 + 6  # the 6 seconds are the machine's, not the grader's
    assert data["output"].startswith(LATE)
    told = verdicts(data)
    assert told["task1.simplenet"] == told["task1.q_sample"] == "passed"
    assert told["task2.loss_mean"] == "needs_review"
    assert data["score"] == 8


@pytest.mark.slow
def test_where_bubblewrap_does_not_work_the_result_names_the_weaker_sandbox(layout, tmp_path):
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("bash", "mkdir"):
        (tools / tool).symlink_to(shutil.which(tool))
    try:
        resolve(SandboxKind.USER)
    except SandboxUnavailable as error:
        pytest.skip(f"no weaker sandbox here: {error}")
    release(layout.submission / "lab", force=True)
    data = run(layout, PATH=str(tools))
    assert data["extra_data"]["sandbox"] == "user"
    assert "Sandbox: user, the weaker one, as this machine allows no namespaces" in data["output"]
    assert verdicts(data)["task1.q_sample"] == "not_implemented"


@pytest.mark.slow
@pytest.mark.alone
def test_a_run_that_is_killed_half_way_leaves_valid_results(layout):
    settings(layout, 300)
    build(layout.submission / "lab", bodies={"task1.p_sample": LOOP})
    process = started(layout)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if layout.results.is_file() and verdicts(results(layout))["task1.q_sample"] == "passed":
            break
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    data = results(layout)
    assert data["output"].startswith(RUNNING)
    assert data["score"] == 8
    assert left_over(layout) == []


def left_over(layout):
    """Command lines of processes about this root, once they had some seconds to end."""
    for _ in range(100):
        found = []
        for place in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                line = place.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            found += [line] if str(layout.root) in line else []
        if not found:
            return []
        time.sleep(0.1)
    return found


@pytest.mark.slow
def test_a_hostile_submission_changes_nothing_but_its_own_rows(layout):
    """Code that rewrites whatever it can reach; links in the submission that lead out of it."""
    forged = '{"score": 110, "tests": []}'
    attack = f"""
import os, pathlib
for place in ({str(layout.root)!r}, {str(layout.root / "results")!r}, {str(layout.source)!r}, "/autograder/results"):
    for name in ("results.json", "autograder.json", "run_autograder", "submission_metadata.json"):
        try:
            pathlib.Path(place, name).write_text({forged!r})
        except OSError:
            pass
for number in os.listdir("/proc"):
    if number.isdigit() and int(number) not in (os.getpid(), os.getppid()):
        try:
            os.kill(int(number), 9)
        except OSError:
            pass
os._exit(0)
"""
    layout.submission.rmdir()
    build(
        layout.submission,
        files={
            "2d_plot_diffusion_todo/network.py": attack,
            "2d_plot_diffusion_todo/ddpm.py": attack,
            "results.json": forged,
        },
    )
    (layout.submission / "link").symlink_to(layout.source)
    (layout.submission / "image_diffusion_todo" / "metadata.json").symlink_to(layout.metadata)
    (layout.submission / "image_diffusion_todo" / "scheduler.py").write_text("import os\nos._exit(0)\n")
    data = run(layout)
    told = verdicts(data)
    assert told["task1.simplenet"] == told["task2.add_noise"] == "crashed"
    assert data["score"] == 10  # the losses in model.py, which is as it should be
    assert json.loads(layout.metadata.read_text(encoding="utf-8")) == METADATA


@pytest.mark.slow
def test_an_upload_that_is_no_submission_says_so(layout):
    (layout.submission / "homework.txt").write_text("hello")
    data = run(layout)
    assert "holds neither 2d_plot_diffusion_todo nor image_diffusion_todo" in data["output"]
    assert set(verdicts(data).values()) == {"missing"}


@pytest.mark.slow
def test_a_zip_inside_the_upload_is_found(layout, tmp_path):
    settings(layout, 300)
    built = build(tmp_path / "lab", bodies={"task1.simplenet": "raise ValueError"})
    pack(built, layout.submission / "412551001_lab1.zip")
    (layout.submission / "readme.txt").write_text("see the ZIP")
    (layout.source / "policy.toml").write_text("[training]\nseconds = 1\n")
    data = run(layout)
    assert verdicts(data)["task1.q_sample"] == "passed"


@pytest.mark.slow
def test_a_grader_that_fails_costs_no_marks(layout):
    (layout.source / "grader" / "running" / "grading.py").write_text("raise RuntimeError('broken')\n")
    build(layout.submission / "lab")
    data = run(layout)
    assert data["output"].startswith(STOPPED)
    assert set(verdicts(data).values()) == {"grader_error"}
    assert data["extra_data"]["pending"] == 110


def test_without_a_python_there_is_a_results_json_all_the_same(layout):
    process = started(layout, DDPM_GRADER_ENV="/nowhere")
    assert process.wait(10) == 0
    data = json.loads(layout.results.read_text(encoding="utf-8"))
    assert data["score"] == 0
    assert "says nothing about the submission" in data["output"]


@pytest.mark.parametrize("name", ["setup.sh", "run_autograder"])
def test_the_scripts_are_clean_shell(layout, name):
    checker = Path(sys.prefix, "bin", "shellcheck")
    if not checker.exists():
        pytest.skip("shellcheck is not installed")
    done = subprocess.run([checker, layout.source / name], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_setup_finds_python_and_installs_what_is_listed(layout, tmp_path):
    """With a pip that only writes down what it was asked for: what it installs is Gradescope's network's affair."""
    tools = tmp_path / "tools"
    tools.mkdir()
    log = tmp_path / "log"
    fake = f'#!/bin/sh\necho "$@" >> {log}\n'
    (tools / "apt-get").write_text(fake)
    (tools / "python3").write_text(
        f'#!/bin/sh\nif [ "$1" = -c ]; then exec "{sys.executable}" "$@"; fi\necho "$@" >> {log}\nmkdir -p "$3/bin"\n'
        f'printf \'#!/bin/sh\\necho "$PIP_CONFIG_FILE" "$@" >> {log}\\n\' > "$3/bin/python"\n'
        'chmod +x "$3/bin/python"\n'
    )
    for tool in tools.iterdir():
        tool.chmod(0o755)
    (layout.source / "pip.conf").write_text("[global]\n")
    environment = {"PATH": f"{tools}:{os.environ['PATH']}", "DDPM_GRADER_ENV": str(tmp_path / "environment")}
    subprocess.run(["bash", layout.source / "setup.sh"], env=environment, check=True, cwd="/")
    told = log.read_text()
    assert f"-m venv {tmp_path / 'environment'}" in told
    assert f"-c {layout.source}/constraints.txt -r {layout.source}/requirements.txt" in told
    assert f"{layout.source}/pip.conf" in told
    assert layout.source.stat().st_mode & 0o077 == 0
