"""The sandbox without namespaces against real hostile code: what bubblewrap withstands, and what it need not fear."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import pytest

from grader.lab import LAB
from grader.records import Verdict
from grader.sandbox import ProbeFailure, Sandbox, SandboxKind, SandboxUnavailable, account, installation, resolve
from grader.sandbox.kinds import user
from grader.sandbox.launch import environment
from grader.sandbox.proc import descendants
from grader.sandbox.reaper import processes
from grader.tests.test_sandbox import ATTACK, LIMITS, PROBES, comes_true, failure, run
from grader.tools.builder import build
from grader.worker import landlock

MORE = """

def leave_daemon(folders):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            ctypes.CDLL(None).prctl(1, 0, 0, 0, 0)
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(1000)
        time.sleep(1000)
    for folder in folders:
        os.mkdir(folder + "/left-by-a-student")
        open(folder + "/left-by-a-student/file", "w").close()
    return os.getuid()

def orphan():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(1000)
        os._exit(0)
    time.sleep(0.3)
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(1000)

def send_signal(pid):
    os.kill(pid, signal.SIGTERM)

def fill(folder):
    for i in range(200):
        with open(f"{folder}/fill{i}", "wb") as f:
            f.write(b"x" * (8 << 20))
        time.sleep(0.02)
    time.sleep(30)

def fill_without_names():
    kept = []
    for i in range(200):
        f = open("unnamed", "wb")
        os.unlink("unnamed")
        f.write(b"x" * (8 << 20))
        f.flush()
        kept.append(f)
        time.sleep(0.02)
    time.sleep(30)

def pair(kind):
    socket.socketpair(socket.AF_UNIX, kind)

def shell_as(command):
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    return done.stdout + done.stderr

def ids():
    return [os.getresuid(), os.getresgid()]

"""
PRIVATE_PATHS, PYTHON = user.private_paths, sys.executable
pytestmark = pytest.mark.slow
root = pytest.mark.skipif(os.geteuid() != 0, reason="changing to another user takes root")


@pytest.fixture(scope="module", autouse=True)
def interpreter(tmp_path_factory):
    """This Python, or where other users cannot start it, a copy with the same libraries that they can."""
    if os.geteuid() != 0 or _others_may_start(Path(sys.executable)):
        yield
        return
    folder = Path(tempfile.mkdtemp(prefix="ddpm-python-", dir=account.temporary_folder()))
    folder.chmod(0o755)
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for part in (f"bin/{name}", f"lib/{name}"):
        source = Path(sys.base_prefix, part)
        (folder / "base" / part).parent.mkdir(parents=True)
        if source.is_dir():
            shutil.copytree(source, folder / "base" / part, ignore=shutil.ignore_patterns("test", "site-packages"))
        else:
            shutil.copy(source, folder / "base" / part)
    for library in Path(sys.base_prefix, "lib").glob("libpython*.so*"):  # found beside, or among the system's
        shutil.copy(library, folder / "base/lib")
    subprocess.run([folder / "base/bin" / name, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    packages = folder / "venv/lib" / name / "site-packages"
    (packages / "shared.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "executable", str(folder / "venv/bin/python"))
        yield
    shutil.rmtree(folder)


def _others_may_start(python: Path) -> bool:
    try:
        done = subprocess.run(
            [python, "-c", "import torch"],
            user=30_000,
            group=30_000,
            extra_groups=[],
            env={},
            cwd="/",
            stderr=subprocess.DEVNULL,
        )
    except PermissionError:
        return False
    return done.returncode == 0


@pytest.fixture(scope="module")
def submission(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("submission")
    for name, text in {
        "one/attack.py": ATTACK + MORE,
        "two/other.py": "def f():\n    return 'two'\n",
        "probes.py": PROBES,
    }.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module", autouse=True)
def closed_checkout(tmp_path_factory):
    """A developer's checkout is open to others, which is refused: for these tests another folder stands for it."""
    answers = tmp_path_factory.mktemp("answers")
    answers.chmod(0o700)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(user, "private_paths", lambda: [answers])
        patch.setattr(user, "homes", list)
        yield


def make(submission: Path, **limits: float) -> Sandbox:
    return Sandbox(
        submission,
        {"one": "one", "two": "two"},
        LIMITS.model_copy(update=limits),
        LAB.material.with_probes(submission / "probes.py"),
        SandboxKind.USER,
    )


@pytest.fixture(scope="module")
def watched(submission: Path):
    """Where the kernel has no Landlock and mounts are not allowed: what is written is watched, and removed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(landlock, "version", lambda: 0)
        patch.setattr(account, "mount_memory", lambda folder, size: False)
        sandbox = make(submission)
        sandbox.start()
    with sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def sandbox(submission: Path):
    with make(submission) as sandbox:
        yield sandbox


@root
class TestIsolation:
    def test_runs_as_somebody_without_rights(self, sandbox):
        who = run(sandbox, "whoami")
        assert who["uid"] >= 20_000
        assert set(who["groups"]) <= {who["uid"]}
        assert run(sandbox, "ids") == [[who["uid"]] * 3] * 2
        assert set(who["caps"]) == {"0000000000000000"}
        assert who["nnp"]
        assert who["stdin"] == ""
        assert set(who["env"]) - {"PWD"} == set(environment("/tmp"))
        assert not [name for name in {"loading", "wire", "serving", "grader"} if name in who["modules"]]

    def test_nothing_of_ours_can_be_read(self, sandbox, submission, tmp_path):
        (tmp_path / "result.json").write_text("{}")
        for path in (
            submission,
            tmp_path,
            "/root",
            Path(f"/proc/{os.getpid()}/environ"),
            Path(f"/proc/{os.getpid()}/fd"),
            "/etc/shadow",
        ):
            assert failure(sandbox, "read" if Path(path).is_file() else "listing", str(path)).message.startswith(
                "PermissionError"
            )
        assert failure(sandbox, "read", str(tmp_path / "result.json")).message.startswith("PermissionError")

    def test_two_submissions_neither_see_nor_signal_each_other(self, sandbox, submission):
        with make(submission) as other:
            there = run(other, "whoami")
            assert there["uid"] != run(sandbox, "whoami")["uid"]
            scratch = there["env"]["TMPDIR"]
            for path in (scratch, Path(scratch).parent, Path(scratch).parent / "submission"):
                assert failure(sandbox, "listing", str(path)).message.startswith("PermissionError")
            attack = Path(scratch).parent / "submission" / "one" / "attack.py"
            assert failure(sandbox, "read", str(attack)).message.startswith("PermissionError")
            for pid in descendants(os.getpid()):
                if pid in processes(there["uid"]):
                    assert failure(sandbox, "send_signal", pid).message.startswith("PermissionError")
            assert run(other, "fine") == 42

    def test_the_grader_cannot_be_signalled(self, sandbox):
        assert failure(sandbox, "send_signal", os.getpid()).message.startswith("PermissionError")

    def test_network_is_refused(self, sandbox):
        assert failure(sandbox, "connect").message.startswith("OSError: [Errno 38]")
        for family in (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK, 17, 40):
            assert failure(sandbox, "family", int(family)).verdict is Verdict.CRASHED
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            assert failure(sandbox, "pair", int(kind)).message.startswith("OSError: [Errno 38]")

    @pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers are those of x86-64")
    @pytest.mark.parametrize("number", [101, 310, 311, 312, 250, 165, 272, 321, 298, 323, 425, 319, 29, 64, 68, 438])
    def test_calls_that_reach_beyond_are_refused(self, sandbox, number):
        assert run(sandbox, "syscall", number, 0, 0, 0) == -1

    def test_no_namespace_brings_rights_back(self, sandbox):
        assert run(sandbox, "namespace") == [-1, 38]

    @pytest.mark.skipif(not shutil.which("su"), reason="no setuid program to try")
    def test_setuid_programs_give_no_rights(self, sandbox):
        tool = shutil.which("id") or "id"
        assert "uid=0" not in run(sandbox, "shell_as", ["su", "-c", tool])
        mine = run(sandbox, "shell_as", ["bash", "-c", f"cp {tool} ./mine && chmod 6755 ./mine && ./mine"])
        assert "uid=0" not in mine

    def test_nothing_of_the_channel_passes_an_exec(self, sandbox):
        assert "socket" not in run(sandbox, "fds_after_exec")
        assert len(eval(run(sandbox, "fds_after_exec"))) == 4

    @pytest.mark.parametrize("path", ["/x", "/usr/x", "/etc/x", f"{sys.prefix}/x"])
    def test_file_system_is_closed_to_writing(self, sandbox, path):
        assert failure(sandbox, "write", path).message.startswith(("OSError", "PermissionError", "FileNotFound"))


@root
class TestAttacks:
    @pytest.mark.parametrize(
        "name",
        [
            *("crash", "segfault", "kill_parent", "forged_exit", "mask_sigterm_threads"),
            *("fork_bomb", "sleeping_bomb", "gigabyte", "big_file", "endless_frame"),
        ],
    )
    def test_cost_one_call(self, sandbox, name):
        assert failure(sandbox, name).verdict is Verdict.CRASHED

    @pytest.mark.parametrize("name", ["big_tensor", "growing_list", "grow_in_subprocesses"])
    def test_greed_costs_one_call(self, sandbox, name):
        assert failure(sandbox, name).verdict is Verdict.OUT_OF_MEMORY

    @pytest.mark.parametrize("name", ["hang", "sleep_deaf"])
    def test_hang_is_a_timeout(self, sandbox, name):
        assert failure(sandbox, name, timeout_s=0.5).message == "did not answer within 0.5 s"

    def test_harm_done_to_the_worker_is_no_fault_of_ours(self, sandbox):
        assert run(sandbox, "freeze_zygote") == 1
        assert sandbox.call("two", "run", {"module": "other", "name": "f"}).data["result"] == "two"
        uid = run(sandbox, "whoami")["uid"]
        with suppress(ProbeFailure):
            run(sandbox, "kill_everyone")
        assert comes_true(lambda: not processes(uid))  # it may have answered before the worker was gone
        assert run(sandbox, "fine") == 42

    @pytest.mark.skipif(not landlock.version(), reason="this kernel has no Landlock")
    @pytest.mark.parametrize("folder", ["/dev/shm", "/tmp", "/var/tmp"])
    def test_nothing_is_written_elsewhere(self, sandbox, folder):
        assert failure(sandbox, "fill", folder).message.startswith("PermissionError")
        assert not list(Path(folder).glob("fill*"))

    @pytest.mark.parametrize("how", ["fill", "fill_without_names"])
    def test_its_own_folder_has_an_end(self, sandbox, how):
        error = failure(sandbox, how, *(["."] if how == "fill" else []))
        assert error.verdict is Verdict.CRASHED
        assert "No space left" in error.message or "wrote more than 48 MiB" in error.message

    @pytest.mark.parametrize("folder", ["/dev/shm", "/tmp", "."])
    def test_disks_cannot_be_filled(self, watched, folder):
        error = failure(watched, "fill", folder)
        assert (error.verdict, error.message) == (Verdict.CRASHED, "wrote more than 48 MiB of files")
        assert not list(Path("/dev/shm").glob("fill*")) + list(Path("/tmp").glob("fill*"))

    def test_files_without_names_count_as_well(self, watched):
        assert failure(watched, "fill_without_names").message == "wrote more than 48 MiB of files"

    def test_nothing_stays_in_a_folder_of_everyones(self, submission, monkeypatch):
        """One that nobody has heard of, deep in the disk."""
        place = Path(account.temporary_folder(), "ddpm-open-to-all", "of everyone's")
        place.mkdir(parents=True)
        try:
            place.parent.chmod(0o755)
            place.chmod(0o777)
            account.open_folders.cache_clear()
            monkeypatch.setattr(landlock, "version", lambda: 0)
            with make(submission) as sandbox:
                assert run(sandbox, "write", str(place / "kept")) == "written"
                assert (place / "kept").exists()
            assert not (place / "kept").exists()
        finally:
            shutil.rmtree(place.parent)

    def test_the_result_says_how(self, sandbox, watched):
        assert watched.environment()["writes"] == "no Landlock, watched"
        assert ("no Landlock" in sandbox.environment()["writes"]) == (not landlock.version())


@root
class TestEnd:
    def test_daemons_and_files_end_with_the_half(self, sandbox):
        folders = ["/tmp", "/var/tmp", "/dev/shm"]
        with suppress(ProbeFailure):
            run(sandbox, "leave_daemon", folders)
        assert sandbox.call("two", "run", {"module": "other", "name": "f"}).data["result"] == "two"
        assert len(processes(run(sandbox, "whoami")["uid"])) == 2  # the worker and its half
        assert not [folder for folder in folders if Path(folder, "left-by-a-student").exists()]

    def test_nothing_is_left_after_close(self, submission):
        before = set(descendants(os.getpid()))
        sandbox = make(submission)
        with sandbox:
            uid = run(sandbox, "whoami")["uid"]
            folder = Path(run(sandbox, "whoami")["env"]["TMPDIR"]).parent
            run(sandbox, "daemon")
            assert folder.exists()
        sandbox.close()
        assert not processes(uid)
        assert not folder.exists()
        assert set(descendants(os.getpid())) <= before

    @pytest.mark.parametrize("attack", ["hang", "orphan"])
    def test_nothing_outlives_a_killed_grader(self, submission, attack):
        code = (
            f"import sys; sys.path.insert(0, {str(Path(__file__).parents[2])!r})\n"
            "from pathlib import Path\nfrom grader.tests.test_sandbox_user import *\n"
            "user.private_paths = user.homes = lambda: []\n"
            f"with make(Path({str(submission)!r})) as s:\n"
            "    print(run(s, 'whoami')['uid'], flush=True)\n"
            "    print(run(s, 'whoami')['env']['TMPDIR'], flush=True)\n"
            f"    run(s, {attack!r})\n    run(s, 'hang')\n"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert process.stdout
        uid, scratch = int(process.stdout.readline()), Path(process.stdout.readline().strip())
        time.sleep(1)  # so that the attack is under way
        assert processes(uid)
        process.send_signal(signal.SIGKILL)
        process.wait(60)
        process.stdout.close()
        assert comes_true(lambda: not processes(uid))
        assert comes_true(lambda: not scratch.parent.exists())


class TestRequirements:
    def test_without_root_it_says_what_to_do(self, monkeypatch):
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        with pytest.raises(SandboxUnavailable, match="start the grader as root, or use bubblewrap"):
            resolve(SandboxKind.USER)

    def test_a_machine_without_a_filter_is_refused(self, monkeypatch):
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        monkeypatch.setattr("grader.sandbox.seccomp.program", lambda: b"")
        with pytest.raises(SandboxUnavailable, match="cannot close the network"):
            resolve(SandboxKind.USER)

    @root
    def test_paths_that_can_be_read_are_named_with_the_command_that_closes_them(self, monkeypatch):
        folder = Path(account.temporary_folder(), f"ddpm-open-{os.getpid()}")
        (folder / "solutions").mkdir(parents=True)
        (folder / "home").mkdir()
        (folder / "home" / "diary").write_text("x")
        for path in (folder, folder / "solutions", folder / "home"):
            path.chmod(0o755)
        monkeypatch.setattr(user, "homes", lambda: [folder / "home"])
        try:
            with pytest.raises(SandboxUnavailable) as caught:
                resolve(SandboxKind.USER, private=[folder / "solutions", folder / "absent"])
            assert str(caught.value) == (
                f"the sandbox 'user' would let submissions read {folder}/solutions, {folder}/home: close that to other "
                f"users with `chmod go-rwx {folder}/solutions && chmod go-r {folder}/home`, {user.OTHERWISE}"
            )
            (folder / "solutions").chmod(0o711)  # who knows a name inside could open it
            (folder / "home").chmod(0o711)
            with pytest.raises(SandboxUnavailable, match=f"go-rwx {folder}/solutions`"):
                resolve(SandboxKind.USER, private=[folder / "solutions"])
            (folder / "solutions").chmod(0o700)
            user._require.cache_clear()
            assert resolve(SandboxKind.USER, private=[folder / "solutions"]) is SandboxKind.USER
        finally:
            shutil.rmtree(folder)

    @root
    def test_an_open_checkout_is_refused(self, monkeypatch):
        """Its own answers are what is looked for first."""
        answers = Path(tempfile.mkdtemp(dir=account.temporary_folder()))
        (answers / "grader").mkdir()
        answers.chmod(0o711)
        monkeypatch.setattr(installation, "PACKAGE", answers / "grader")
        monkeypatch.setattr(user, "private_paths", PRIVATE_PATHS)
        try:
            with pytest.raises(SandboxUnavailable, match=f"chmod go-rwx {answers}/grader`"):
                resolve(SandboxKind.USER)
        finally:
            shutil.rmtree(answers)

    @root
    def test_the_command_line_is_blanked(self):
        code = (
            "import sys\nfrom grader.sandbox.kinds import user\nuser.hide_arguments()\n"
            "print(open('/proc/self/cmdline').read().strip('\\0'), sys.argv[1])\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, "4711"],
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).parents[2],
        )
        assert done.stdout.split() == [sys.executable, "4711"]


@root
def test_same_points_as_with_bubblewrap_and_auto_still_refuses(tmp_path):
    """In a copy of the checkout that other users cannot read, on a machine without bwrap."""
    here = Path(__file__).parents[2]
    checkout = tmp_path / "checkout"
    for name in ("grader", "solutions", "2d_plot_diffusion_todo", "image_diffusion_todo"):
        shutil.copytree(here / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__", "data"))
    solved, flawed = build(tmp_path / "solved"), build(tmp_path / "flawed", bodies={"task2.cosine": "return None"})
    rows = ["--only", "task2.cosine", "--only", "task2.add_noise", "--only", "task1.q_sample", "--seed", "4711"]

    def grade(kind: str, path: str) -> subprocess.CompletedProcess[str]:
        python = PYTHON if kind == "bubblewrap" else sys.executable
        command = [
            python,
            "-m",
            "grader",
            "grade",
            str(solved),
            str(flawed),
            "--out",
            str(tmp_path / kind),
            *rows,
            "--sandbox",
            kind,
        ]
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            cwd=checkout,
            env={**os.environ, "PATH": path, "PYTHONPATH": str(checkout)},
        )

    def marks(kind: str, name: str) -> object:
        result = json.loads((tmp_path / kind / name / "result.json").read_text())
        return result["sandbox"], [(row["id"], row["points"], row["verdict"], row["message"]) for row in result["rows"]]

    nowhere = str(tmp_path)
    refused = grade("auto", nowhere)
    assert refused.returncode == 2
    assert "bubblewrap is not installed" in refused.stderr
    done = grade("user", nowhere)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "user").stat().st_mode & 0o077 == 0
    if shutil.which("bwrap"):
        assert grade("bubblewrap", os.environ["PATH"]).returncode == 0
        for name in ("solved", "flawed"):
            assert marks("user", name)[0] == "user"
            assert marks("user", name)[1] == marks("bubblewrap", name)[1]
