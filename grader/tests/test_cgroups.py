"""Control groups: found in whichever form a machine has them, limits written there, nothing left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from grader.lab import LAB
from grader.records import Verdict
from grader.sandbox import Sandbox, cgroups
from grader.tests.test_sandbox import failure, make, needs_bubblewrap, run, submission  # noqa: F401

LIMITS = LAB.policy().limits
MEMORY = (LIMITS.total_memory_mib + LIMITS.scratch_mib + 64) << 20


def mount(place: Path, kind: str, options: str, root: str = "/") -> str:
    return f"31 23 0:28 {root} {place} rw,relatime - {kind} {kind} rw,{options}\n"


def version_2(folder: Path, controllers: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "cgroup.subtree_control").write_text(controllers)
    (folder / "cgroup.procs").write_text("")
    return folder


def test_version_2_is_taken_where_children_are_bounded(tmp_path):
    for name, controllers in (("top", "cpu memory pids"), ("top/user", "memory pids"), ("top/user/ours", "")):
        version_2(tmp_path / name, controllers)
    found = cgroups.find(mount(tmp_path / "top", "cgroup2", "nsdelegate"), "0::/user/ours\n")
    assert found == cgroups.Parents(2, dict.fromkeys(("memory", "pids"), tmp_path / "top" / "user"))
    inside = mount(tmp_path / "top" / "user", "cgroup2", "nsdelegate", "/user")  # as in a container
    assert cgroups.find(inside, "0::/user/ours\n") == found


def test_version_1_is_one_folder_a_controller(tmp_path):
    lines = ""
    for name in ("memory", "pids", "cpu,cpuacct"):
        (tmp_path / name / "ours").mkdir(parents=True)
        lines += mount(tmp_path / name, "cgroup", name)
    found = cgroups.find(lines, "3:cpu,cpuacct:/ours\n2:memory:/ours\n1:pids:/ours\n0::/\n")
    assert found is not None
    assert found.version == 1
    assert found.folders["memory"] == tmp_path / "memory" / "ours"
    assert found.folders["cpuacct"] == found.folders["cpu"] == tmp_path / "cpu,cpuacct" / "ours"


@pytest.mark.parametrize("controllers", ["", "cpu", "memory"])
def test_groups_that_bound_nothing_are_not_taken(tmp_path, controllers):
    version_2(tmp_path / "top", controllers)
    assert cgroups.find(mount(tmp_path / "top", "cgroup2", "x"), "0::/\n") is None
    assert cgroups.find("", "0::/\n") is None


def test_limits_and_processes_are_written(tmp_path):
    parents = cgroups.Parents(2, dict.fromkeys(("memory", "pids"), tmp_path))
    group = parents.make(LIMITS)
    assert group is not None
    (folder,) = tmp_path.iterdir()
    assert (folder / "memory.max").read_text() == str(MEMORY)
    assert (folder / "pids.max").read_text() == str(LIMITS.processes + cgroups.SPARE_PROCESSES)
    group.add([12])
    assert (folder / "cgroup.procs").read_text() == "12"
    (folder / "cpu.stat").write_text("usage_usec 2500000\nuser_usec 1\n")
    (folder / "memory.events").write_text("low 0\noom 1\noom_kill 3\n")
    assert group.processor_time() == 2.5
    assert group.killed() == 3


def test_where_none_can_be_made_after_all(tmp_path):
    assert cgroups.Parents(2, dict.fromkeys(("memory", "pids"), tmp_path / "absent")).make(LIMITS) is None


def test_what_killed_graders_left_is_removed(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    ours = f"ddpm-grader-{os.getpid()}-{cgroups._started(os.getpid())}-7"
    for name in (f"ddpm-grader-{gone.pid}-123-0", f"ddpm-grader-{os.getpid()}-1-0", ours, "somebody"):
        (tmp_path / name).mkdir()
    cgroups.Parents(2, {"memory": tmp_path, "pids": tmp_path}).tidy()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([ours, "somebody"])


needs_groups = pytest.mark.skipif(cgroups.here() is None, reason="no control groups can be made on this machine")


@pytest.mark.slow
@needs_bubblewrap
@needs_groups
def test_memory_of_the_kernels_is_bounded_and_no_group_is_left(submission):  # noqa: F811
    parents = cgroups.here()
    assert parents
    before = {path for folder in parents.folders.values() for path in folder.glob("ddpm-grader-*")}
    with make(submission, memory_mib=1024, total_memory_mib=1024) as sandbox:
        assert sandbox.environment()["bounds"] == f"cgroup v{parents.version}"
        during = {path for folder in parents.folders.values() for path in folder.glob("ddpm-grader-*")}
        assert len(during - before) == len(set(parents.folders.values()))
        error = failure(sandbox, "page_tables")
        assert error.verdict is Verdict.OUT_OF_MEMORY
    left = {path for folder in parents.folders.values() for path in folder.glob("ddpm-grader-*")}
    assert left <= before


@pytest.mark.slow
@needs_bubblewrap
def test_without_groups_the_result_says_so(submission, monkeypatch):  # noqa: F811
    monkeypatch.setattr(cgroups, "here", lambda: None)
    with make(submission, memory_mib=1024, total_memory_mib=1024) as sandbox:
        assert sandbox.environment()["bounds"] == "counted"
        assert failure(sandbox, "page_tables").verdict is Verdict.OUT_OF_MEMORY
        assert isinstance(sandbox, Sandbox)
        assert run(sandbox, "fine") == 42
