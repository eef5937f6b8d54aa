"""What the grader itself reads of a submission or of artifacts: plain files within limits, and nothing to wait for."""

import contextlib
import errno
import io
import json
import os
import subprocess
import threading
import time
import zipfile

import numpy as np
import pytest
from PIL import Image

from grader import alarm
from grader.alarm import OutOfTime, within
from grader.fid.images import NotMeasurable, decode, open_folder
from grader.files import NotPlain, is_plain, opened, read_plain
from grader.lab import LAB
from grader.lab.figures import draw_loss_curve, draw_picture_rows, draw_samples
from grader.lab.images.results import Incomplete, find_images, find_runs, read_json, read_losses
from grader.submission import unpack
from grader.submission.changed_lines import changes_outside_todos
from grader.submission.encodings import guess, recode
from grader.submission.kept import CODE, digest_of_file, keep
from grader.submission.similarity import likeness
from grader.submission.unpack import Unreadable, stage
from grader.tests.test_unpack import FILES, T1, T2, foldered, zipped


@pytest.fixture
def odd(tmp_path):
    """Names of what is no plain file: links, a named pipe, a folder, a device."""
    (tmp_path / "secret").write_bytes(b"somebody else's")
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    (tmp_path / "nowhere").symlink_to(tmp_path / "absent")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "device").symlink_to("/dev/zero")
    return [tmp_path / name for name in ("link", "nowhere", "pipe", "folder", "device")]


# --- files


def test_only_plain_files_of_a_bounded_size_are_read(odd, tmp_path):
    for path in odd:
        assert not is_plain(path), path
        with pytest.raises(OSError, match=r"not a plain file|No such file"):
            read_plain(path, 100)
    for name in ("pipe", "folder", "device"):
        with pytest.raises(NotPlain), opened(tmp_path / name, links=True):
            pass
    assert read_plain(tmp_path / "secret", 15) == b"somebody else's"
    with pytest.raises(NotPlain, match="larger than 14 bytes"):
        read_plain(tmp_path / "secret", 14)
    with pytest.raises(NotPlain), opened(tmp_path / "link"):
        pass


def test_a_file_that_grows_while_it_is_read_is_no_way_around_the_bound(tmp_path):
    assert os.stat("/proc/self/maps").st_size == 0, "a file that tells no size"
    with pytest.raises(NotPlain):
        read_plain(type(tmp_path)("/proc/self/maps"), 100)


def test_a_submission_that_is_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "7_lab1.zip")
    with pytest.raises(Unreadable, match=r"cannot read 7_lab1\.zip"):
        stage(tmp_path / "7_lab1.zip", tmp_path / "staged", LAB)
    assert digest_of_file(tmp_path / "7_lab1.zip") == ""


# --- archives


def nested(inner, name="work.zip", **beside):
    """Files of a submission: a ZIP with `inner` in it, and what lies `beside` it."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as out:
        for path, content in inner.items():
            out.writestr(path, content)
    return {name: data.getvalue(), **beside}


@pytest.mark.parametrize(
    ("outer", "why"),
    [
        (nested(FILES, "work.zip") | {"work.zip.unpacked": b"a file"}, "a file has the name"),
        (nested(FILES, "work.zip") | {"work.zip.unpacked/x": b"a file"}, "a folder has the name"),
        (nested(FILES, "w" * 250 + ".zip"), "the name is too long"),
        (nested(FILES, "學" * 83 + ".zip"), "the name is too long in bytes"),
        (nested(FILES, "work.ZIP") | {"WORK.zip.UNPACKED": b"", "unpacked-0.zip": b""}, "in other cases"),
    ],
)
def test_a_zip_in_a_zip_is_unpacked_to_a_name_of_its_own(tmp_path, outer, why):
    found = stage(zipped(tmp_path / "7_lab1.zip", outer), tmp_path / "staged", LAB)
    assert set(found.halves) == {"task1", "task2"}, why


def test_of_a_zip_in_a_zip_that_breaks_off_nothing_is_left(tmp_path):
    inner = nested(FILES | {f"{T1}/zeros.bin": bytes(1000)})["work.zip"]
    position = inner.rfind(bytes(1000))
    broken = inner[:position] + b"x" + inner[position + 1 :]
    outer = {"work.zip": broken, f"{T2}/scheduler.py": b"", f"{T2}/model.py": b""}
    found = stage(zipped(tmp_path / "7_lab1.zip", outer), tmp_path / "staged", LAB)
    assert set(found.halves) == {"task2"}
    assert any("work.zip' inside the submission was not read" in remark for remark in found.remarks)


def odd_folders(root):
    """Folders that made the staging raise something else than Unreadable, or make a file system do so."""
    yield foldered(root / "chain", {"/".join("d" * 400) + "/x.py": b""})
    deep = root / "deep"
    os.mkdir(deep)
    inside = os.open(deep, os.O_RDONLY)
    for _ in range(1500):  # beyond what a path can name
        os.mkdir("ddddd", dir_fd=inside)
        inside, before = os.open("ddddd", os.O_RDONLY, dir_fd=inside), inside
        os.close(before)
    os.close(inside)
    yield deep
    yield foldered(root / "clash", {f"{T1}/e\u0301.py": b"1", f"{T1}/\u00e9.py": b"2"})
    yield foldered(root / "slash", {f"{T1}/a": b"1", f"{T1}\\a\\b.py": b"2", f"{T1}/ddpm.py": b""})


def test_whatever_a_folder_holds_it_is_unreadable_at_worst(tmp_path):
    for number, folder in enumerate(odd_folders(tmp_path)):
        with pytest.raises(Unreadable):
            stage(folder, tmp_path / f"staged{number}", LAB)
    subprocess.run(["rm", "-rf", tmp_path / "deep"], check=True)  # deeper than pytest itself can remove


def test_names_that_differ_only_in_case_are_files_of_their_own(tmp_path):
    found = stage(zipped(tmp_path / "7_lab1.zip", FILES | {f"{T1}/DDPM.PY": b"x = 1"}), tmp_path / "staged", LAB)
    assert set(found.halves) == {"task1", "task2"}


@pytest.mark.parametrize("number", ["ENAMETOOLONG", "EEXIST", "ENOTDIR", "EISDIR", "EACCES", "EINVAL", "EILSEQ"])
def test_a_name_that_the_disk_does_not_take_is_the_submissions_failure(tmp_path, monkeypatch, number):
    def refuse(*_):
        raise OSError(getattr(errno, number), os.strerror(getattr(errno, number)))

    monkeypatch.setattr(unpack, "_write", refuse)
    with pytest.raises(Unreadable, match="cannot be unpacked"):
        stage(zipped(tmp_path / "7_lab1.zip", FILES), tmp_path / "staged", LAB)


@pytest.mark.parametrize("number", [28, 5])
def test_a_full_disk_is_not_the_submissions_failure(tmp_path, monkeypatch, number):
    def full(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(unpack, "_write", full)
    with pytest.raises(OSError, match=os.strerror(number)):
        stage(zipped(tmp_path / "7_lab1.zip", FILES), tmp_path / "staged", LAB)


def test_of_too_much_code_the_largest_files_are_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(unpack, "MAX_SOURCE", 4000)
    many = {f"{T1}/part{number}.py": b"#" * 3900 for number in range(30)} | {f"{T1}/big.py": b"#" * 5000}
    monkeypatch.setattr(unpack.Staging, "__init__", limited(unpack.Staging.__init__, sources_left=40_000))
    found = stage(zipped(tmp_path / "7_lab1.zip", FILES | many), tmp_path / "staged", LAB)
    written = sum(path.stat().st_size for path in found.root.rglob("*.py"))
    assert 35_000 < written <= 40_000
    assert set(found.halves) == {"task1", "task2"}
    assert (found.root / T1 / "ddpm.py").is_file(), "small files stay"
    assert any("big.py" in remark and "too large" in remark for remark in found.remarks)


def limited(init, **values):
    def made(self, *args, **given):
        init(self, *args, **(values | given))

    return made


def test_code_in_two_bytes_a_character_is_guessed_without_a_step_for_each(monkeypatch):
    text = ("# 計算雜訊的標準差 反向過程的平均值\n" * 100_000)[:2_000_000]
    raw = text.encode("cp950")
    began = time.thread_time()
    assert guess(raw) == "cp950"
    plain, was = recode(raw)
    assert (plain.decode(), was) == (text, "Big5")
    assert time.thread_time() - began < 2.5  # 10 s before


# --- what is read of what was staged


def test_a_folder_named_like_a_module_is_no_module(tmp_path):
    path = foldered(tmp_path / "7", FILES | {f"{T1}/odd.py/inner.py": b"x = 1"})
    submission = stage(path, tmp_path / "staged", LAB)
    keep(path, submission, tmp_path)
    assert (tmp_path / CODE / "task1" / "odd.py" / "inner.py").is_file()
    assert isinstance(changes_outside_todos(tmp_path / "staged" / T1, LAB.released / T1), list)


@pytest.mark.parametrize(
    "text", ["x" * 5_000_000, "\n" * 4000, "        return x\n" * 4000, "{" * 400_000, "'" * 90_000]
)
def test_long_files_cost_no_time_when_they_are_compared(tmp_path, text):
    names = [path.relative_to(LAB.released / T2) for path in (LAB.released / T2).rglob("*.py")]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    began = time.thread_time()
    assert changes_outside_todos(tmp_path, LAB.released / T2)
    likeness({"a": {"task2": tmp_path}, "b": {"task2": tmp_path}}, LAB)
    assert time.thread_time() - began < 45


# --- artifacts


@pytest.mark.parametrize("name", ["link", "pipe", "nowhere", "device"])
def test_artifacts_that_are_no_files_are_not_opened(odd, tmp_path, name):
    run = tmp_path / "7" / "run"
    run.mkdir(parents=True)
    for file in ("config.json", "loss.csv", "last.ckpt", "step=1-0.png", "sampling.json"):
        os.symlink(tmp_path / "secret", run / file) if name == "link" else os.rename(
            odd_copy(tmp_path, name), run / file
        )
    assert find_runs(tmp_path / "7") == ([], [])
    assert find_images(tmp_path / "7") is None
    for read in (read_json, read_losses):
        with pytest.raises(Incomplete):
            read(run / "config.json")


def odd_copy(root, name):
    place = root / f"{name}-again"
    if name == "pipe":
        os.mkfifo(place)
    else:
        place.symlink_to(os.readlink(root / name))
    return place


CONFIG = {"predictor": "noise", "scheduler": {"mode": "linear", "num_train_timesteps": 10}, "network": {}}


@pytest.mark.parametrize(
    "text",
    [json.dumps(CONFIG | {"network": {"image_resolution": size}}) for size in (1e999, -1, 0, 10**9, "64", 1.5, None)]
    + [
        json.dumps(CONFIG | {"network": {"image_resolution": 8}, "scheduler": {"mode": mode, "num_train_timesteps": T}})
        for mode, T in (("linear", 50_000_000), ("linear", float("inf")), ("linear", float("nan")), ([], 10), ({}, 10))
    ]
    + ["[" * 60_000, "1" * 60_000, '{"a": NaN}', " " * 100_000, "[]", "null", '"' + "x" * 1000],
)
def test_a_config_with_any_number_in_it_is_incomplete_at_worst(tmp_path, text):
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.json").write_text(text)
    for name in ("last.ckpt", "loss.csv", "step=1-0.png"):
        (run / name).write_bytes(b"")
    runs, [remark] = find_runs(tmp_path)
    assert runs == []
    assert len(remark) < 400


def test_sparse_files_are_not_read(tmp_path):
    for name in ("loss.csv", "config.json", "0.png"):
        with open(tmp_path / name, "wb") as file:
            file.truncate(1 << 40)
    for read, name in ((read_losses, "loss.csv"), (read_json, "config.json")):
        with pytest.raises(Incomplete, match="larger than"):
            read(tmp_path / name)
    with pytest.raises(NotMeasurable):
        decode(tmp_path / "0.png")


def test_of_a_strangers_folder_links_are_no_images(tmp_path):
    (tmp_path / "own").mkdir()
    for number in range(3):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / "own" / f"{number}.png")
    os.symlink(tmp_path / "own" / "0.png", tmp_path / "own" / "9.png")
    assert len(open_folder(tmp_path / "own", "generated").files) == 4
    assert len(open_folder(tmp_path / "own", "generated", strangers=True).files) == 3
    with pytest.raises(NotMeasurable):
        decode(tmp_path / "own" / "9.png", links=False)


@pytest.mark.parametrize(
    "head", [b"\x89PNG\r\n\x1a\n", b"BM", b"II*\0", b"P6 99 99 255\n", b"RIFF0000WEBP", b"\xff\xd8\xff"]
)
def test_whatever_an_image_file_holds_it_is_not_measurable_at_worst(tmp_path, head):
    rng = np.random.default_rng(0)
    for number in range(40):
        (tmp_path / "x.png").write_bytes(head + rng.integers(0, 256, number * 7, dtype=np.uint8).tobytes())
        with pytest.raises(NotMeasurable, match=r"x\.png cannot be read as an image: (?!.*_io)|no side may exceed"):
            decode(tmp_path / "x.png")


# --- figures


def test_figures_take_any_number_of_points_and_any_shape_of_picture(tmp_path):
    rng = np.random.default_rng(0)
    many = rng.standard_cauchy((1_000_000, 2))
    draw_samples(many, np.ones((10, 2)), tmp_path / "samples.png")
    draw_loss_curve(rng.random(1_000_000), (0.2, 0.3), tmp_path / "loss.png")
    draw_picture_rows([np.zeros((4000, 4, 3), np.uint8)], ["tall"], tmp_path / "tall.png")
    with Image.open(tmp_path / "tall.png") as image:
        assert max(image.size) < 4000
    assert all((tmp_path / f"{name}.png").stat().st_size < 1_000_000 for name in ("samples", "loss", "tall"))


# --- alarms


def test_work_is_ended_by_its_own_time_also_where_exceptions_are_swallowed():
    began = time.process_time()
    with pytest.raises(OutOfTime), within(0.1):  # noqa: PT012
        while True:
            with contextlib.suppress(Exception):
                sum(range(1000))
    assert time.process_time() - began < 5


def test_time_that_others_take_is_not_counted_and_other_threads_are_left_alone():
    with within(0.05):
        time.sleep(0.2)
    done = []

    def work():
        with within(0.01):
            done.append(sum(range(1_000_000)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done


def test_an_inner_bound_leaves_the_outer_one_in_place(monkeypatch):
    monkeypatch.setattr(alarm, "AGAIN_S", 0.1)
    with pytest.raises(OutOfTime, match=r"0\.3 s"), within(0.3):  # noqa: PT012
        with within(60):
            sum(range(1000))
        while True:
            pass
