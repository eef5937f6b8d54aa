"""`make gpu` as far as it goes without a card: its parts' machinery, its record, and that it needs few packages."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from grader.errors import OK, UNGRADED, USAGE, UsageError
from grader.lab import LAB
from grader.tests.fid_samples import save_pixels
from grader.tools.gpu import command, machine, record
from grader.tools.gpu.parts import PARTS, speed, tests, train
from grader.tools.gpu.record import Outcome, Part
from grader.tools.gpu.running import go_on, run_part, run_parts
from grader.tools.gpu.scripts import ScriptFailed, run_script
from grader.tools.gpu.session import Session, Settings

REPOSITORY = Path(__file__).resolve().parents[2]
CARD = {"card": "a card", "torch": "2.9"}
FAKE = """
import os, signal, subprocess, time

def run(session):
    session.note(place=os.getcwd(), pid=os.getpid())
    session.check("a thing", {met}, "seen")
    {end}

def table(values):
    return [f"it ran in {{values['place']}}"]
"""
ENDS = {
    "good": "",
    "broken": "raise ValueError('no such thing')",
    "slow": "session.note(child=subprocess.Popen(['sleep', '100'], start_new_session=True).pid); time.sleep(100)",
    "stopped": "os.kill(os.getppid(), signal.SIGINT); time.sleep(100)",
}
# Whatever of the grader's requirements a machine with a card may lack.
BLOCKED = {"pydantic", "jinja2", "rich", "pytest", "nbgrader", "scipy", "sklearn", "pypdfium2", "copydetect"}
BLOCKED |= {"charset_normalizer", "diffusers", "pytorch_fid"}
BLOCKER = f"""
import sys
from importlib.machinery import PathFinder

class Blind(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name in {BLOCKED} else PathFinder.find_spec(name, path, target)

sys.meta_path[:] = [Blind if finder is PathFinder else finder for finder in sys.meta_path]
"""


@pytest.fixture
def fakes(tmp_path, monkeypatch):
    """Parts of a line each, in modules that a part's process finds."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    parts = {}
    for name, end in ENDS.items():
        module = f"fake_part_{name}"
        (tmp_path / f"{module}.py").write_text(FAKE.format(met=True, end=end), encoding="utf-8")
        parts[name] = Part(name, f"a {name} part", module)
    (tmp_path / "fake_part_unmet.py").write_text(FAKE.format(met=False, end=""), encoding="utf-8")
    return parts | {"unmet": Part("unmet", "a part whose check is not met", "fake_part_unmet")}


@pytest.fixture
def settings(tmp_path):
    return Settings(str(tmp_path / "gpu.json"), trial=True)


@pytest.fixture
def without_packages(tmp_path, monkeypatch):
    """A Python, that this one's processes start as well, in which only the parts' few requirements can be imported."""
    (tmp_path / "blocker").mkdir()
    (tmp_path / "blocker" / "sitecustomize.py").write_text(BLOCKER, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "blocker"))


def python(*arguments: str, **how) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=REPOSITORY, **how)


def empty() -> dict:
    return {"schema": record.SCHEMA, "machine": CARD, "parts": {}}


def gone(pid: int) -> bool:
    """Whether a process has ended, or only waits to be counted as such."""
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"


# --- the command line


def test_without_a_card_a_line_says_so_and_nothing_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert command.main(["--out", str(tmp_path / "gpu.json")]) == UNGRADED
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("gpu: there is no card here (torch ")
    assert said.err.endswith(" sees no CUDA device); nothing was run, and nothing was written\n")
    assert said.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_part_is_an_error_that_names_the_nearest(capsys):
    assert command.main(["fid", "sped"]) == USAGE
    assert capsys.readouterr().err == "gpu: no part 'sped', did you mean 'speed'?\n"


REFUSED = {
    "--data nowhere": "no such folder of images: nowhere",
    "--minutes 9": "--minutes 9: up to 7, as a part with all else has nine",
    "--out nowhere/gpu.json": "cannot write nowhere/gpu.json: No such file",
}


@pytest.mark.parametrize("asked", REFUSED)
def test_what_would_be_found_out_late_is_said_at_once(monkeypatch, capsys, asked):
    monkeypatch.setattr(machine, "ask", lambda: dict(CARD))
    assert command.main(["fid", *asked.split()]) == USAGE
    assert REFUSED[asked] in capsys.readouterr().err


def test_a_python_that_lacks_something_is_named(tmp_path, without_packages):
    blocker = tmp_path / "blocker" / "sitecustomize.py"
    blocker.write_text(blocker.read_text().replace("'pydantic'", "'pydantic', 'tqdm', 'safetensors'"))
    done = python("-m", "grader.tools.gpu", "fid")
    assert done.returncode == USAGE
    assert done.stderr.endswith(" lacks tqdm, safetensors: name another with make gpu PYTHON=...\n")
    assert done.stderr.count("\n") == 1


def test_the_help_has_a_line_for_each_part(capsys):
    with pytest.raises(SystemExit):
        command.main(["--help"])
    shown = capsys.readouterr().out
    for part in PARTS.values():
        assert f"  {part.name:<8}{part.about}\n" in shown


def test_a_stopped_command_says_how_to_go_on(fakes, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "PARTS", {name: fakes[name] for name in ("good", "stopped", "unmet")})
    monkeypatch.setattr(machine, "ask", lambda: dict(CARD))
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert command.main(["--out", str(tmp_path / "gpu.json")]) == 130
    finally:
        signal.signal(signal.SIGTERM, before)
    assert capsys.readouterr().err.endswith(' To go on: make gpu PARTS="stopped unmet"\n')


# --- parts


def test_a_part_that_fails_does_not_stop_the_others(fakes, settings):
    chosen = [fakes["broken"], fakes["unmet"], fakes["good"]]
    assert not run_parts(chosen, chosen, empty(), settings)
    found = json.loads(Path(settings.out).read_text())["parts"]
    assert {name: entry["outcome"] for name, entry in found.items()} == {
        "broken": Outcome.FAILED,
        "unmet": Outcome.FAILED,
        "good": Outcome.DONE,
    }
    assert found["broken"]["error"].endswith("ValueError: no such thing\n")
    assert found["broken"]["values"]["place"] == str(REPOSITORY), "what it had noted is kept"
    assert found["unmet"]["checks"] == [{"what": "a thing", "met": False, "got": "seen"}]
    page = Path(settings.out).with_suffix(".md").read_text()
    assert "\n| broken | failed |" in page
    assert "- ValueError: no such thing" in page
    assert "- **not met**: a thing: seen" in page
    assert f"it ran in {REPOSITORY}" in page


def test_a_part_is_ended_at_its_limit_with_what_it_started_and_keeps_its_notes(fakes, tmp_path):
    entry = run_part(fakes["slow"], Settings(str(tmp_path / "gpu.json"), limit_s=5.0))
    assert entry["outcome"] == Outcome.LATE
    assert gone(entry["values"]["pid"])
    assert gone(entry["values"]["child"])


def test_ctrl_c_keeps_what_is_done_and_ends_the_part(fakes, settings):
    chosen = [fakes["good"], fakes["stopped"], fakes["unmet"]]
    with pytest.raises(KeyboardInterrupt):
        run_parts(chosen, chosen, empty(), settings)
    found = json.loads(Path(settings.out).read_text())["parts"]
    assert {name: entry["outcome"] for name, entry in found.items()} == {
        "good": Outcome.DONE,
        "stopped": Outcome.INTERRUPTED,
    }
    assert gone(found["stopped"]["values"]["pid"])
    assert go_on(chosen, Path(settings.out), found["good"]["date"]) == ["stopped", "unmet"]


# --- record


def entry(outcome: Outcome, date: str = "2026-01-02", **values) -> dict:
    about = {"outcome": outcome, "seconds": 1.0, "date": date, "commit": None, "error": "", "checks": []}
    return about | {"values": values}


def test_a_part_that_is_run_again_replaces_its_own_results_alone():
    first = empty() | {"parts": {"fid": entry(Outcome.DONE, a=1), "speed": entry(Outcome.FAILED, b=1)}}
    again = record.merged(first, "speed", entry(Outcome.DONE, b=2))
    assert again["parts"] == {"fid": first["parts"]["fid"], "speed": entry(Outcome.DONE, b=2)}
    assert record.merged(again, "speed", entry(Outcome.INTERRUPTED)) == again, "and a stopped one none"
    assert "train" in record.merged(again, "train", entry(Outcome.INTERRUPTED))["parts"]


def test_a_record_of_another_card_or_none_at_all_is_refused(tmp_path):
    path = tmp_path / "gpu.json"
    assert record.read(path, CARD) == empty()
    record.write(path, empty(), [])
    assert record.read(path, CARD | {"torch": "3.0"})["machine"]["torch"] == "3.0"
    with pytest.raises(UsageError, match=r"is of another card \(a card; here is another\): name another file"):
        record.read(path, {"card": "another"})
    path.write_text("{")
    with pytest.raises(UsageError, match="is no record of this command"):
        record.read(path, CARD)


def test_a_part_whose_table_cannot_be_made_has_the_others_shown():
    parts = {"speed": entry(Outcome.LATE), "fid": entry(Outcome.DONE, generated=1)}
    page = record.markdown(empty() | {"parts": parts}, list(PARTS.values()))
    assert page.count("(no table: KeyError(") == 2


def test_the_table_of_speeds_has_shares_of_the_measured_peak():
    row = {"what": "training", "batch": 16, "plain": 100.0, "default": 400.0, "flops": 1e9}
    about = {"plan": "cuda: bfloat16", "measured_peak": 8e11, "peak": 9e11, "peak_source": "x", "flops_forward": 3e8}
    missing = row | {"batch": 250, "plain": None}
    lines = speed.table(about | {"rows": [row, missing], "problems": {"250": "plain training: out of memory"}})
    assert "| training | 16 | 100 | 400 | 4 | 12.5% | 50.0% |" in lines
    assert "| training | 250 | - | 400 | - | - | 50.0% |" in lines
    assert lines[-1] == "\nBatches of 250: plain training: out of memory"


# --- pieces of parts


def test_tests_are_called_without_pytest(tmp_path, settings):
    module = ModuleType("some_tests")
    source = """
def test_right(tmp_path): assert tmp_path.is_dir()
def test_wrong(): assert 1 == 2, "one is not two"
def helper(): raise AssertionError
"""
    exec(source, vars(module))
    tests.call_functions(session := Session(settings, tmp_path / "notes.json"), module)
    assert [(test["name"], test["outcome"], test["message"]) for test in session.values["tests"]] == [
        ("test_right", "passed", ""),
        ("test_wrong", "failed", "AssertionError: one is not two"),
    ]
    assert [check["met"] for check in session.checks] == [True, False, True]


def test_pytest_s_report_is_read(tmp_path):
    (tmp_path / "report.xml").write_text(
        '<testsuites><testsuite><testcase name="a" time="1.5"/>'
        '<testcase name="b"><failure message="assert 1 == 2&#10;more"/></testcase></testsuite></testsuites>'
    )
    assert tests.read_report(tmp_path / "report.xml") == [
        {"name": "a", "outcome": "passed", "seconds": 1.5, "message": ""},
        {"name": "b", "outcome": "failed", "seconds": 0.0, "message": "assert 1 == 2"},
    ]


def test_any_folder_of_images_will_do_for_the_training(tmp_path, monkeypatch):
    pixels = np.zeros((3, 8, 8, 3), np.uint8)
    save_pixels(tmp_path / "flat", pixels)
    save_pixels(tmp_path / "flat" / "deeper", pixels)
    save_pixels(tmp_path / "afhq" / "train" / "cat", pixels)
    place, said = train.laid_out(str(tmp_path / "flat"), tmp_path / "a", 5)
    assert (len(list((place / "train" / "all").iterdir())), said) == (6, "6 images below the folder flat")
    assert train.laid_out(str(tmp_path / "afhq"), tmp_path / "b", 5)[0] == tmp_path / "afhq"
    monkeypatch.setattr(train, "REPOSITORY", tmp_path)
    place, said = train.laid_out(None, tmp_path / "c", 5)
    made = [path.read_bytes() for path in (place / "train" / "all").iterdir()]
    assert len(set(made)) == 5
    assert said == "5 made-up images of coloured shapes, as no folder was named"
    (tmp_path / "none").mkdir()
    with pytest.raises(FileNotFoundError, match="no images in"):
        train.laid_out(str(tmp_path / "none"), tmp_path / "d", 5)


def test_a_script_of_the_lab_that_fails_or_takes_too_long_is_an_error_that_says_so(tmp_path):
    with pytest.raises(ScriptFailed, match=r"train\.py ended with 2: .*--image_size: invalid int value: 'wide'"):
        run_script(tmp_path, "train.py", {"small": True, "image_size": "wide"})
    with pytest.raises(ScriptFailed, match=r"^train\.py was stopped after 0 s"):
        run_script(tmp_path, "train.py", {"data_dir": tmp_path}, timeout_s=0.2)


def test_the_samples_are_a_picture(tmp_path):
    save_pixels(tmp_path / "drawn", np.full((10, 8, 8, 3), 7, np.uint8))
    train.contact_sheet(sorted((tmp_path / "drawn").iterdir()), tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (8 * 10 - 2, 2 * 10 - 2)
        assert (sheet.getpixel((0, 0)), sheet.getpixel((70, 15))) == ((7, 7, 7), (255, 255, 255))


# --- few packages


def test_the_stand_in_for_pydantic_reads_the_shipped_policy_to_the_same_values(without_packages):
    code = """
from grader.tools.gpu.bare import install_where_missing
assert install_where_missing() and install_where_missing()
from grader.lab import LAB
policy = LAB.policy()
other = policy.model_copy(update={"fid": policy.fid.model_copy(update={"images": 7})})
assert (other.fid.images, policy.fid.images, other.digest == policy.digest) == (7, 500, False)
print(type(policy.reverse_step.variances[0]).__name__, repr(policy.limits.model_dump()["import_s"]))
print(policy.digest)
print(policy.model_dump_json())
"""
    done = python("-c", code)
    assert done.returncode == 0, done.stderr
    kinds, digest, values = done.stdout.splitlines()
    policy = LAB.policy()
    assert kinds == "Variance 30.0"
    assert json.loads(values) == json.loads(policy.model_dump_json())
    assert digest == policy.digest


def test_where_pydantic_is_installed_it_is_used():
    code = (
        "from grader.tools.gpu.bare import install_where_missing as f; assert not f(); import pydantic; assert not f()"
    )
    assert python("-c", code).returncode == 0


def test_every_part_can_be_imported_where_little_is_installed(without_packages):
    modules = [*(part.module for part in PARTS.values()), "grader.tools.gpu.command", tests.WITHOUT_PYTEST]
    code = "from grader.tools.gpu.bare import install_where_missing; install_where_missing(); import " + ", ".join(
        modules
    )
    done = python("-c", code)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("part", ["train", "fid", "grade", "memory"])
def test_a_part_goes_through_where_little_is_installed(tmp_path, without_packages, part):
    """On the CPU, with tiny sizes: what it finds says nothing about a card, and its record says so."""
    out = tmp_path / "gpu.json"
    quick = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = python("-m", "grader.tools.gpu", part, "--trial", "--minutes", "0.2", "--out", str(out), env=quick)
    assert done.returncode == OK, done.stderr
    found = json.loads(out.read_text())
    assert found["machine"]["card"] == "no card: a trial on the CPU"
    assert found["machine"]["policy"].startswith("read without being checked")
    assert found["parts"][part]["outcome"] == "done"
    assert all(check["met"] for check in found["parts"][part]["checks"])
    page = out.with_suffix(".md").read_text()
    assert "no table" not in page
    assert (tmp_path / "gpu_samples.png").is_file() == (part == "train")
