"""Grading on Dask workers: the same grades as in one process, whatever dies."""

import os
import shutil
import signal
import threading
import time
from collections import Counter

import pytest
from distributed import Client, LocalCluster

from grader import cli
from grader.errors import UsageError
from grader.lab import LAB
from grader.running.class_run import claimed
from grader.running.cluster import STARTED, check_workers, grade_on_cluster
from grader.running.grading import Order
from grader.sandbox import SandboxKind
from grader.submission.resubmissions import Task
from grader.tools.builder import build, pack
from grader.tools.faults import differences

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # of Dask's own threads and sockets at the end of a cluster
]


# Right, and long enough at work to be found there.
SLOW = """
import time
time.sleep(1)
alpha_bar_t = self.lookup(self.alphas_cumprod, t, x_0)
x_t = alpha_bar_t.sqrt() * x_0 + (1 - alpha_bar_t).sqrt() * eps
"""


@pytest.fixture(scope="module")
def handed_in(tmp_path_factory):
    """Five submissions: right ones, a wrong one, a folder, a broken archive."""
    root = tmp_path_factory.mktemp("class")
    right = pack(build(root / "solved"), root / "1_lab1.zip")
    shutil.copy(right, root / "2_lab1.zip")
    betas = {"task2.cosine": "betas = torch.linspace(1e-4, 0.02, num_train_timesteps)"}
    pack(build(root / "wrong", betas), root / "3_lab1.zip")
    (root / "4_lab1.zip").write_bytes(right.read_bytes()[:2000])
    pack(build(root / "slow", {"task2.add_noise": SLOW}), root / "slow.zip")
    return [*sorted(root.glob("*_lab1.zip")), root / "solved"]


@pytest.fixture(scope="module")
def client():
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        yield client


def order():
    return Order(LAB, 5, LAB.policy(), tuple(LAB.select(["task2.cosine", "task2.add_noise"])), SandboxKind.BUBBLEWRAP)


def test_grades_of_a_cluster_are_those_of_one_process_byte_for_byte(handed_in, tmp_path, capsys):
    arguments = ["grade", *map(str, handed_in), "--only", "task2.cosine", "--only", "task2.add_noise", "--seed", "5"]
    codes = [
        cli.main([*arguments, "--out", str(tmp_path / "one"), "--jobs", "1"]),
        cli.main([*arguments, "--out", str(tmp_path / "two"), "--scheduler", "local:2"]),
    ]
    assert codes == [cli.UNGRADED] * 2
    one, two = ((tmp_path / name / "summary.csv").read_bytes() for name in ("one", "two"))
    assert one == two
    assert differences(tmp_path / "one", tmp_path / "two") == []


def at_work(dask_worker):
    return os.getpid(), [str(task.key) for task in dask_worker.state.executing]


def killer(client, chosen, times):
    """A thread that kills, `times` times, the worker at work on a task whose key begins with `chosen`."""
    killed = []

    def hunt():
        deadline = time.monotonic() + 90
        while len(killed) < times and time.monotonic() < deadline:
            for pid, keys in client.run(at_work, on_error="ignore").values():
                started = Counter(key for _, key in client.get_events(STARTED) or ())
                if (
                    len(killed) < times
                    and pid not in killed
                    and any(key.startswith(chosen) and started[key] > len(killed) for key in keys)
                ):
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)
            time.sleep(0.1)

    thread = threading.Thread(target=hunt, daemon=True)
    thread.start()
    return thread, killed


def grade(client, tasks, out):
    with claimed(out):
        return {result.id: result for result in grade_on_cluster(client, tasks, order(), out)}


def tasks_of(handed_in, slow, count=5):
    """So many right submissions, of which the one named `slow` takes its time."""
    slowly = handed_in[0].with_name("slow.zip")
    return [Task(f"{number}", slowly if number == slow else handed_in[number % 2]) for number in range(count)]


def test_a_worker_that_dies_in_the_middle_costs_nothing(client, handed_in, tmp_path):
    thread, killed = killer(client, "grade-1-", 1)
    results = grade(client, tasks_of(handed_in, slow=1), tmp_path / "out")
    thread.join()
    assert len(killed) == 1
    assert {name: result.points for name, result in results.items()} == dict.fromkeys("01234", 8.0)


def test_a_submission_that_takes_three_workers_down_gets_a_verdict_and_the_rest_goes_on(client, handed_in, tmp_path):
    check_workers(client, order())  # also sets how many deaths the scheduler allows
    thread, killed = killer(client, "grade-0-", 3)
    results = grade(client, tasks_of(handed_in, slow=0, count=4), tmp_path / "out")
    thread.join()
    assert len(killed) == 3
    lost = results.pop("0")
    assert {row.verdict for row in lost.rows} == {"grader_error"}
    assert (lost.points, lost.pending) == (0, 8)
    assert "3 workers" in lost.rows[0].message
    assert (tmp_path / "out" / "0" / "report.html").is_file()
    assert {result.points for result in results.values()} == {8.0}


def test_those_that_waited_behind_it_are_not_blamed(handed_in, tmp_path):
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as alone:
        check_workers(alone, order())
        thread, killed = killer(alone, "grade-0-", 3)
        results = grade(alone, tasks_of(handed_in, slow=0, count=3), tmp_path / "out")
        thread.join()
    assert len(killed) == 3
    assert {name: result.points for name, result in results.items()} == {"0": 0.0, "1": 8.0, "2": 8.0}


def test_no_scheduler_at_the_address_is_said(handed_in, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("grader.running.cluster.PATIENCE", "1s")
    code = cli.main(["grade", str(handed_in[0]), "--out", str(tmp_path), "--scheduler", "tcp://127.0.0.1:1"])
    assert code == cli.USAGE
    assert "dask scheduler" in capsys.readouterr().err


def test_a_gpu_that_no_worker_announces_is_said(client):
    with pytest.raises(UsageError, match="GPU=1"):
        check_workers(client, Order(LAB, 5, LAB.policy(), (), SandboxKind.BUBBLEWRAP, gpu=True))


def test_workers_of_many_threads_are_refused():
    with (
        LocalCluster(n_workers=1, threads_per_worker=2, dashboard_address=None) as cluster,
        Client(cluster) as client,
        pytest.raises(UsageError, match="--nthreads 1"),
    ):
        check_workers(client, order())
