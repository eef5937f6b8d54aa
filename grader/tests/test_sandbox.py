"""The sandbox against real hostile code: each attack costs its own call, and the next call works."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from grader.lab import LAB
from grader.records import Verdict
from grader.sandbox import ProbeFailure, Sandbox, SandboxFault, SandboxKind, SandboxUnavailable, mounts
from grader.sandbox.kinds import bubblewrap
from grader.sandbox.kinds.bubblewrap import Bubblewrap
from grader.sandbox.launch import environment
from grader.sandbox.proc import descendants

LIMITS = LAB.policy().limits.model_copy(
    update={
        "import_s": 40.0,
        "probe_s": 40.0,
        "memory_mib": 1536,
        "total_memory_mib": 2048,
        "scratch_mib": 48,
        "file_mib": 16,
        "output_mib": 2,
        "answer_mib": 4,
        "processes": 32,
    }
)

PROBES = '''
import os
import torch
from loading import Mount, Missing, NotImplementedByStudent, probe

@probe("run")
def run(half, params, arrays):
    """Call a function of a student's module and return what it returns."""
    result = half.need(params.get("module", "attack"), params["name"])(*params.get("args", ()))
    return {"result": result}, {}

@probe("tensors")
def tensors(half, params, arrays):
    return {}, half.need("attack", params["name"])(**arrays)

@probe("raise")
def fail(half, params, arrays):
    raise {"missing": Missing, "not_implemented": NotImplementedByStudent}[params["kind"]]("the text")
'''

ATTACK = """
import ctypes, json, mmap, os, signal, socket, struct, subprocess, sys, threading, time
import torch

def fine():
    return 42

def crash():
    return helper([])

def helper(items):
    return items[7]

def leave(code):
    os._exit(code)

def system_exit():
    sys.exit(3)

def interrupt():
    raise KeyboardInterrupt

def segfault():
    ctypes.string_at(0)

def hang():
    while True:
        pass

def work(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass
    return "done"

def renewed():
    first = not hasattr(torch, "seen")
    torch.seen = True
    return first

def sleep_deaf():
    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
    time.sleep(1000)

def fork_bomb():
    while True:
        os.fork()

def sleeping_bomb():
    while True:
        if os.fork() == 0:
            os.setsid()
            time.sleep(1000)

def fork_and_return():
    os.fork()
    return 1

def big_tensor():
    return torch.ones(1 << 30).sum().item()

def growing_list():
    x = []
    while True:
        x.append(bytearray(1 << 20))

def grow_in_subprocesses():
    for _ in range(4):
        if os.fork() == 0:
            x = []
            while len(x) < 1000:
                x.append(b"x" * (1 << 20))
            time.sleep(60)
    time.sleep(60)

def gigabyte():
    for _ in range(1 << 10):
        os.write(1, b"x" * (1 << 20))

def channel():
    for fd in range(3, 64):
        try:
            return socket.socket(fileno=os.dup(fd))
        except OSError:
            pass

def forge(data):
    channel().sendall(data.encode("latin-1"))
    return 1

def forged_exit():
    text = b'{"exit": 0}'
    channel().sendall(b"DPM1" + struct.pack(">IQ", len(text), 0) + text)
    return 1

def endless_frame():
    s = channel()
    s.sendall(b"DPM1" + struct.pack(">IQ", 2, 1 << 50) + b"{}")
    time.sleep(1000)

def close_channel():
    os.closerange(3, 64)
    time.sleep(1000)

def huge_answer():
    return "x" * (8 << 20)

def deep_answer():
    x = []
    for _ in range(500):
        x = [x]
    return x

def daemon():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            while True:
                time.sleep(1)
        os._exit(0)
    return 1

def kill_everyone():
    os.kill(-1, signal.SIGKILL)

def freeze_zygote():
    os.kill(os.getppid(), signal.SIGSTOP)
    return 1

def speak_later():
    def speak():
        time.sleep(0.2)
        forge("garbage")
    threading.Thread(target=speak).start()
    return 1

def kill_parent():
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(5)

def fill_scratch():
    for i in range(100):
        with open(f"/tmp/fill{i}", "wb") as f:
            f.write(b"x" * (8 << 20))

def big_file():
    with open("big", "wb") as f:
        f.write(b"x" * (32 << 20))

def write(path):
    with open(path, "w") as f:
        f.write("x")
    return "written"

def listing(path):
    return sorted(os.listdir(path))

def connect():
    socket.create_connection(("127.0.0.1", 22), 1)

def addresses():
    return [name for _, name in socket.if_nameindex()]

def page_tables():
    size = 1 << 40
    space = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000, mmap.PROT_READ)
    for at in range(0, size, 2 << 20):
        space[at]

def many_files():
    os.mkdir("many")
    for i in range(400_000):
        os.close(os.open(f"many/{i}", os.O_CREAT | os.O_WRONLY))

def pair(kind):
    socket.socketpair(socket.AF_UNIX, getattr(socket, kind))

def local(kind):
    socket.socket(socket.AF_UNIX, getattr(socket, kind))

def wide_pipe():
    import fcntl
    fcntl.fcntl(os.pipe()[1], 1031, 1 << 20)

def loaded():
    loader = torch.utils.data.DataLoader(range(4), 2, num_workers=2, persistent_workers=True, prefetch_factor=4)
    return torch.cat(list(loader)).tolist()

def drawn():
    import io
    import matplotlib.pyplot as plt
    plt.plot([1, 2])
    file = io.BytesIO()
    plt.savefig(file)
    return len(file.getvalue())

def whoami():
    status = open("/proc/self/status").read()
    caps = [line.split()[1] for line in status.splitlines() if line.startswith(("CapEff", "CapPrm", "CapAmb"))]
    return {"uid": os.getuid(), "groups": os.getgroups(), "env": dict(os.environ), "caps": caps,
            "pids": [p for p in os.listdir("/proc") if p.isdigit()], "stdin": sys.stdin.read(),
            "argv": sys.argv, "nnp": "NoNewPrivs:\\t1" in status, "path": sys.path,
            "modules": sorted(sys.modules)}

def read(path):
    return open(path, "rb").read().decode("latin-1")

def fds_after_exec():
    command = [sys.executable, "-S", "-c", "import os; print(os.listdir('/proc/self/fd'))"]
    return subprocess.run(command, capture_output=True, text=True, close_fds=False).stdout

def namespace():
    libc = ctypes.CDLL(None, use_errno=True)
    return [libc.unshare(0x10000000), ctypes.get_errno()]

def syscall(number, *args):
    libc = ctypes.CDLL(None, use_errno=True)
    return libc.syscall(number, *args)

def family(number):
    socket.socket(number, socket.SOCK_STREAM)

def mask_sigterm_threads():
    for _ in range(100):
        threading.Thread(target=time.sleep, args=(60,)).start()

def odd_tensors(x):
    return {"x": x, "bf16": x.bfloat16(), "bool": x > 0, "int": x.long(), "view": x.t(), "scalar": x.sum(),
            "grad": x.clone().requires_grad_(), "nan": x * float("nan"), "empty": x[:0], "f16": x.half()}

def complex_tensor(x):
    return {"x": x * 1j}

def too_large(x):
    return {"x": torch.zeros(8 << 20)}
"""


def bubblewrap_works() -> str:
    try:
        Bubblewrap.require()
    except SandboxUnavailable as error:
        return str(error)
    return ""


needs_bubblewrap = pytest.mark.skipif(bool(bubblewrap_works()), reason=bubblewrap_works() or "works")


@pytest.fixture(scope="module")
def submission(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("submission")
    files = {
        "one/attack.py": ATTACK,
        "one/big.bin": "x" * (2 << 20),
        "probes.py": PROBES,
        "two/other.py": "def f():\n    return 'two'\n",
        "two/exits.py": "import sys\nsys.exit(1)\n",
        "two/dies.py": "import os\nos._exit(9)\n",
        "two/hangs.py": "print('begins to hang')\nwhile True:\n    pass\n",
        "two/todo.py": "raise NotImplementedError('the id')\n",
        "two/prints.py": "import sys\nprint('printed')\ndef f():\n    sys.stderr.write('and warned\\n')\n",
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def make(submission: Path, kind: SandboxKind = SandboxKind.BUBBLEWRAP, **limits: float) -> Sandbox:
    return Sandbox(
        submission,
        {"one": "one", "two": "two"},
        LIMITS.model_copy(update=limits),
        LAB.material.with_probes(submission / "probes.py"),
        kind,
    )


@pytest.fixture(scope="module")
def sandbox(submission: Path):
    with make(submission) as sandbox:
        yield sandbox


def run(sandbox: Sandbox, name: str, *args: object, **rest: object) -> object:
    return sandbox.call("one", "run", {"name": name, "args": args}, **rest).data["result"]


def failure(sandbox: Sandbox, name: str, *args: object, **rest: object) -> ProbeFailure:
    """How calling `name` fails; afterwards the sandbox must work, and soon."""
    with pytest.raises(ProbeFailure) as caught:
        run(sandbox, name, *args, **rest)
    assert run(sandbox, "fine") == 42
    return caught.value


def comes_true(condition: Callable[[], object], seconds: float = 60) -> bool:
    """Whether something comes about; the seconds are for a machine that is busy otherwise."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


@needs_bubblewrap
class TestIsolation:
    def test_runs_as_somebody_without_rights(self, sandbox):
        who = run(sandbox, "whoami")
        assert who["uid"] != 0 or os.geteuid() != 0
        assert os.geteuid() != 0 or (who["uid"] >= 20_000 and who["groups"] == [])
        assert set(who["caps"]) == {"0000000000000000"}
        assert who["nnp"]

    def test_environment_is_cleared(self, sandbox):
        who = run(sandbox, "whoami")
        assert set(who["env"]) - {"PWD"} == set(environment("/tmp"))
        assert who["env"]["MPLBACKEND"] == "Agg"
        assert who["argv"] == ["grader"]
        assert who["stdin"] == ""

    def test_only_its_own_processes_are_visible(self, sandbox):
        assert len(run(sandbox, "whoami")["pids"]) <= 4

    def test_nothing_of_ours_is_visible(self, sandbox, submission):
        assert set(run(sandbox, "listing", "/")) <= {
            "bin",
            "sbin",
            "lib",
            "lib32",
            "lib64",
            "libx32",
            "usr",
            "etc",
            "nix",
            "dev",
            "proc",
            "tmp",
            "sys",
            "grader",
            "submission",
            Path(sys.prefix).parts[1],
            Path(sys.base_prefix).parts[1],
        }
        for path in (Path(__file__).parent, Path(__file__).parents[2] / "solutions", submission):
            assert failure(sandbox, "listing", str(path)).message.startswith("FileNotFoundError")
        assert failure(sandbox, "read", "/etc/passwd").verdict is Verdict.CRASHED

    def test_our_modules_cannot_be_imported(self, sandbox):
        who = run(sandbox, "whoami")
        assert not [path for path in who["path"] if path.startswith("/grader")]
        assert not {"loading", "wire", "serving", "grader", "registry"} & set(who["modules"])
        assert not [name for name in who["modules"] if name.startswith("__editable__")]

    def test_start_of_the_sandbox_shows_no_paths_or_environment(self, sandbox):
        shown = run(sandbox, "read", "/proc/1/cmdline").replace(sys.prefix, "")  # the interpreter may lie in it
        assert str(Path(__file__).parents[2]) not in shown

    @pytest.mark.parametrize(
        "path",
        [
            "/x",
            "/usr/x",
            "/grader/worker/x",
            "/submission/x",
            "/dev/x",
            "/proc/x",
            "/submission/one/attack.py",
            f"{sys.prefix}/x",
            "/etc/x",
        ],
    )
    def test_file_system_is_read_only(self, sandbox, path):
        assert failure(sandbox, "write", path).message.startswith(("OSError", "PermissionError", "FileNotFound"))

    def test_scratch_is_writable(self, sandbox):
        assert run(sandbox, "write", "here.txt") == "written"
        assert run(sandbox, "write", "/tmp/there.txt") == "written"

    def test_network_is_refused(self, sandbox):
        assert failure(sandbox, "connect").message.startswith(("ConnectionRefused", "OSError"))
        assert failure(sandbox, "addresses").message.startswith("OSError")  # that takes a socket

    @pytest.mark.parametrize("kind", ["SOCK_STREAM", "SOCK_DGRAM"])
    def test_there_are_no_sockets(self, sandbox, kind):
        """Their full buffers are memory that no limit counts; pipes hold less, and are no larger than usual."""
        for name in ("pair", "local"):
            assert "Function not implemented" in failure(sandbox, name, kind).message
        assert failure(sandbox, "wide_pipe").message.startswith("OSError")

    @pytest.mark.slow
    def test_libraries_work_without_sockets(self, sandbox):
        assert run(sandbox, "loaded") == [0, 1, 2, 3]
        assert run(sandbox, "drawn") > 1000

    def test_nothing_of_the_channel_passes_an_exec(self, sandbox):
        assert "socket" not in run(sandbox, "fds_after_exec")
        assert len(eval(run(sandbox, "fds_after_exec"))) == 4  # 0, 1, 2 and the listing's own


@pytest.mark.slow
@needs_bubblewrap
class TestAttacks:
    def test_crash_names_the_students_line(self, sandbox):
        error = failure(sandbox, "crash")
        assert (error.verdict, error.message) == (Verdict.CRASHED, "IndexError: list index out of range")
        line = ATTACK.splitlines().index("    return items[7]") + 1
        assert error.where == f"attack.py:{line} in helper"
        assert "in crash" in error.traceback
        assert "loading.py" not in error.traceback

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("system_exit", "sys.exit(3) was called"),
            ("interrupt", "KeyboardInterrupt"),
            ("segfault", "the process was ended by the signal SIGSEGV"),
        ],
    )
    def test_exits_cost_one_call(self, sandbox, name, message):
        error = failure(sandbox, name)
        assert (error.verdict, error.message) == (Verdict.CRASHED, message)

    @pytest.mark.parametrize("code", [0, 3])
    def test_exit_without_a_word(self, sandbox, code):
        error = failure(sandbox, "leave", code)
        assert error.message == f"the process ended itself (exit code {code})"

    @pytest.mark.slow
    @pytest.mark.alone
    def test_waiting_for_a_busy_machines_processor_does_not_count(self, sandbox):
        assert run(sandbox, "fine") == 42
        # A session each, as the kernel may share the processors out by session.
        hogs = [
            subprocess.Popen([sys.executable, "-c", "while True: pass"], start_new_session=True)
            for _ in range(2 * (os.cpu_count() or 1))
        ]
        try:
            began = time.monotonic()
            assert run(sandbox, "work", 1.0, timeout_s=1.3) == "done"
            if time.monotonic() - began < 1.3:
                pytest.skip("this machine has processors to spare")
        finally:
            for hog in hogs:
                hog.kill()
                hog.wait()

    def test_a_renewed_process_remembers_nothing(self, sandbox):
        assert run(sandbox, "renewed")
        assert not run(sandbox, "renewed")
        sandbox.renew()
        assert run(sandbox, "renewed")

    @pytest.mark.parametrize("name", ["hang", "sleep_deaf"])
    def test_hang_is_a_timeout(self, sandbox, name):
        error = failure(sandbox, name, timeout_s=0.5)
        assert (error.verdict, error.message) == (Verdict.TIMEOUT, "did not answer within 0.5 s")

    @pytest.mark.parametrize("name", ["fork_bomb", "sleeping_bomb", "mask_sigterm_threads"])
    def test_fork_bomb_is_bounded(self, sandbox, name):
        error = failure(sandbox, name)
        assert error.verdict is Verdict.CRASHED

    def test_copies_that_return_do_not_answer_twice(self, sandbox):
        for _ in range(3):
            assert run(sandbox, "fork_and_return") == 1
            assert run(sandbox, "fine") == 42

    @pytest.mark.parametrize("name", ["big_tensor", "growing_list"])
    def test_memory_hog_in_one_process(self, sandbox, name):
        assert failure(sandbox, name).verdict is Verdict.OUT_OF_MEMORY

    def test_memory_hog_in_several_processes(self, sandbox):
        error = failure(sandbox, "grow_in_subprocesses")
        assert (error.verdict, error.message) == (Verdict.OUT_OF_MEMORY, "took more than 2048 MiB of memory")

    def test_flood_of_output(self, sandbox):
        error = failure(sandbox, "gigabyte")
        assert (error.verdict, error.message) == (Verdict.CRASHED, "printed more than 2 MiB")

    @pytest.mark.parametrize(
        "data",
        [
            "garbage that is no frame",
            "DPM1\0\0\0\2" + "\0" * 8 + "[]",
            "DPM1\0\0\0\2" + "\0" * 8 + "{}",
            "DPM1\xff\xff\xff\xff" + "\0" * 8,
        ],
    )
    def test_forged_frames(self, sandbox, data):
        error = failure(sandbox, "forge", data)
        assert error.verdict is Verdict.CRASHED
        assert error.message.startswith("the answer was not in the grader's format")

    @pytest.mark.parametrize("name", ["huge_answer", "deep_answer", "endless_frame", "kill_parent", "forged_exit"])
    def test_other_ways_to_break_the_protocol(self, sandbox, name):
        assert failure(sandbox, name).verdict is Verdict.CRASHED

    def test_harm_done_to_the_worker_is_no_fault_of_ours(self, sandbox):
        assert run(sandbox, "freeze_zygote") == 1
        assert sandbox.call("two", "run", {"module": "other", "name": "f"}).data["result"] == "two"

    def test_frames_that_nobody_asked_for(self, sandbox):
        assert run(sandbox, "speak_later") == 1
        time.sleep(0.4)
        assert run(sandbox, "fine") == 42

    def test_killing_everyone(self, sandbox):
        with suppress(ProbeFailure):  # it may answer before its own end
            run(sandbox, "kill_everyone")
        assert run(sandbox, "fine") == 42

    def test_closed_channel(self, sandbox):
        assert failure(sandbox, "close_channel", timeout_s=1).verdict in (Verdict.TIMEOUT, Verdict.CRASHED)

    def test_daemon_neither_hangs_nor_outlives(self, sandbox):
        assert run(sandbox, "daemon") == 1
        assert run(sandbox, "fine") == 42
        assert sandbox.call("two", "run", {"module": "other", "name": "f"}).data["result"] == "two"
        assert len(run(sandbox, "whoami")["pids"]) <= 4

    def test_empty_files_are_counted(self, sandbox):
        error = failure(sandbox, "many_files")
        assert (error.verdict, error.message) == (Verdict.CRASHED, "made more than 50000 files")

    @pytest.mark.parametrize("name", ["fill_scratch", "big_file"])
    def test_full_disk(self, sandbox, name):
        assert failure(sandbox, name).message.startswith("OSError")
        sandbox.call("two", "about")
        assert run(sandbox, "write", "/tmp/room.txt") == "written"

    def test_kernel_features_that_escape_the_limits_are_refused(self, sandbox):
        assert run(sandbox, "namespace")[0] == -1
        if os.uname().machine == "x86_64":
            assert run(sandbox, "syscall", 319, "name", 0) == -1  # memfd_create
            assert run(sandbox, "syscall", 29, 0, 4096, 0o1600) == -1  # shmget
        assert failure(sandbox, "family", 40).verdict is Verdict.CRASHED  # AF_VSOCK


@needs_bubblewrap
class TestMasks:
    @pytest.mark.skipif(sys.prefix.startswith(mounts.Mounts.writable), reason="a system folder never lies in /tmp")
    def test_a_grader_among_the_libraries_is_hidden(self, submission, monkeypatch):
        """An ordinary install, and a repository with its virtual environment inside, below a shown folder."""
        library = Path(sysconfig.get_path("purelib"))
        monkeypatch.setattr(mounts, "private_folders", lambda: [library / "jinja2", Path(sys.prefix).parent])
        monkeypatch.setattr(mounts, "SYSTEM", (*mounts.SYSTEM, str(Path(sys.prefix).parent)))
        with make(submission) as sandbox:
            assert run(sandbox, "listing", str(library / "jinja2")) == []
            assert run(sandbox, "listing", str(Path(sys.prefix).parent)) == [Path(sys.prefix).name]
            assert failure(sandbox, "write", str(library / "jinja2" / "x")).message.startswith("OSError")


@needs_bubblewrap
class TestAnswers:
    def test_tensors_of_every_kind(self, sandbox):
        x = np.arange(6, dtype=np.float64).reshape(2, 3)
        arrays = sandbox.call("one", "tensors", {"name": "odd_tensors"}, {"x": x.T}).arrays
        np.testing.assert_array_equal(arrays["x"], x.T)
        np.testing.assert_array_equal(arrays["view"], x)
        assert {name: str(array.dtype) for name, array in arrays.items()} == {
            "x": "float64",
            "bf16": "float32",
            "bool": "bool",
            "int": "int64",
            "view": "float64",
            "nan": "float64",
            "scalar": "float64",
            "empty": "float64",
            "f16": "float16",
            "grad": "float64",
        }
        assert arrays["scalar"].shape == ()
        assert arrays["empty"].shape == (0, 2)
        assert np.isnan(arrays["nan"]).all()

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("complex_tensor", "TypeError: 'x' is complex"),
            ("too_large", "ValueError: the answer is larger than allowed: 'x' has shape (8388608,)"),
        ],
    )
    def test_tensors_that_cannot_be_sent(self, sandbox, name, message):
        with pytest.raises(ProbeFailure) as caught:
            sandbox.call("one", "tensors", {"name": name}, {"x": np.ones(2)})
        assert caught.value.message == message
        assert run(sandbox, "fine") == 42

    @pytest.mark.parametrize("kind", ["missing", "not_implemented"])
    def test_probes_say_what_is_missing(self, sandbox, kind):
        with pytest.raises(ProbeFailure) as caught:
            sandbox.call("one", "raise", {"kind": kind})
        assert (caught.value.verdict, caught.value.message) == (Verdict(kind), "the text")

    def test_missing_function_and_file(self, sandbox):
        assert str(failure(sandbox, "nothing")) == "missing: attack.py has no nothing"
        with pytest.raises(ProbeFailure) as caught:
            sandbox.call("one", "run", {"module": "ddpm", "name": "f"})
        assert str(caught.value) == "missing: ddpm.py was not handed in"

    def test_output_is_kept(self, sandbox):
        sandbox.call("two", "run", {"module": "prints", "name": "f"})
        assert "printed\nand warned\n" in sandbox.output("two")
        assert "printed" not in sandbox.output("one")

    def test_unknown_probe_is_our_fault(self, sandbox):
        with pytest.raises(SandboxFault, match="no probe 'nonsense'"):
            sandbox.call("one", "nonsense")

    def test_environment_says_what_ran(self, sandbox):
        about = sandbox.environment()
        assert set(about) == {"python", "torch", "device", "bounds"}
        assert about["device"] == "cpu"


@pytest.mark.slow
@needs_bubblewrap
class TestImports:
    @pytest.mark.parametrize(
        ("module", "verdict", "message"),
        [
            ("exits", Verdict.CRASHED, "sys.exit(1) was called"),
            ("dies", Verdict.CRASHED, "the process ended itself (exit code 9)"),
            ("todo", Verdict.NOT_IMPLEMENTED, "NotImplementedError: the id"),
        ],
    )
    def test_each_file_fails_for_itself(self, sandbox, module, verdict, message):
        for _ in range(2):
            with pytest.raises(ProbeFailure) as caught:
                sandbox.call("two", "run", {"module": module, "name": "f"})
            assert (caught.value.verdict, caught.value.message) == (verdict, message)
            assert sandbox.call("two", "run", {"module": "other", "name": "f"}).data["result"] == "two"

    def test_import_that_hangs_is_tried_once(self, submission):
        with make(submission, import_s=1.0) as sandbox:
            for _ in range(2):
                with pytest.raises(ProbeFailure, match=r"importing hangs.py took longer than 1 s"):
                    sandbox.call("two", "run", {"module": "hangs", "name": "f"})
            assert sandbox.output("two").count("begins to hang") == 1

    def test_time_of_a_submission_is_bounded(self, submission):
        with make(submission, submission_s=1.0) as sandbox:
            for _ in range(2):
                with pytest.raises(ProbeFailure, match="timeout: the 1 s for the submission are used up"):
                    run(sandbox, "hang")


@pytest.mark.slow
@needs_bubblewrap
class TestEnd:
    def test_nothing_is_left_after_close(self, submission, tmp_path, monkeypatch):
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        before = descendants(os.getpid())
        sandbox = make(submission)
        with suppress(RuntimeError), sandbox:
            run(sandbox, "daemon")
            assert len(descendants(os.getpid())) >= len(before) + 3
            raise RuntimeError
        sandbox.close()
        assert set(descendants(os.getpid())) <= set(before)
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("kind", [SandboxKind.BUBBLEWRAP, SandboxKind.NONE])
    @pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT])
    def test_nothing_outlives_the_grader(self, submission, kind, sign):
        code = (
            f"import sys; sys.path.insert(0, {str(Path(__file__).parents[2])!r})\n"
            "from pathlib import Path\nfrom grader.tests.test_sandbox import *\n"
            f"with make(Path({str(submission)!r}), SandboxKind({kind.value!r})) as s:\n"
            "    s.call('one', 'about'); print('up', flush=True); run(s, 'hang')\n"
        )
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert process.stdout
        assert process.stdout.readline() == b"up\n"
        pids = descendants(process.pid)
        assert len(pids) >= 2
        process.send_signal(sign)
        process.wait(60)
        process.stdout.close()
        assert comes_true(lambda: not [pid for pid in pids if Path(f"/proc/{pid}").exists()])


class TestNone:
    def test_same_worker_without_walls(self, submission, tmp_path, monkeypatch):
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        before = descendants(os.getpid())
        with make(submission, SandboxKind.NONE) as sandbox:
            assert sandbox.kind is SandboxKind.NONE
            assert run(sandbox, "fine") == 42
            assert failure(sandbox, "leave", 3).verdict is Verdict.CRASHED
            assert failure(sandbox, "hang", timeout_s=0.5).verdict is Verdict.TIMEOUT
            assert failure(sandbox, "growing_list").verdict is Verdict.OUT_OF_MEMORY
            assert "BlockingIOError" in failure(sandbox, "sleeping_bomb").message  # binds root as well
            assert run(sandbox, "daemon") == 1
        assert set(descendants(os.getpid())) <= set(before)
        assert not list(tmp_path.iterdir())

    def test_user_takes_root(self, submission, monkeypatch):
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        with pytest.raises(SandboxUnavailable, match="start the grader as root"):
            make(submission, SandboxKind.USER)


class TestUnavailable:
    def test_names_the_command_that_installs(self, monkeypatch, tmp_path):
        (tmp_path / "dnf").write_text("")
        (tmp_path / "dnf").chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(SandboxUnavailable) as caught:
            bubblewrap._require.__wrapped__(False)
        assert str(caught.value) == (
            "bubblewrap is not installed: install it with `sudo dnf install bubblewrap`, "
            "or ask for `--sandbox none`, which runs submissions without protection"
        )

    def test_names_the_kernel_setting(self, monkeypatch, tmp_path):
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        (tmp_path / "kernel").mkdir()
        (tmp_path / "kernel" / "apparmor_restrict_unprivileged_userns").write_text("1\n")
        text = bubblewrap.explain("bwrap: setting up uid map: Permission denied", tmp_path)
        assert "`sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`" in text
        assert "--sandbox none" in text
        assert "a container may forbid it" in bubblewrap.explain("bwrap: No permissions", tmp_path / "none")

    def test_old_version(self):
        assert "0.8 or newer" in bubblewrap.explain("bwrap: Unknown option --size")
