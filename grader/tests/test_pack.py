"""pack: the ZIP holds what is handed in and nothing else, is read back, and problems are said in words."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

from grader.lab import LAB
from grader.lab.edition import pack
from grader.submission.unpack import stage

T1, T2 = HALVES = tuple(half.folder for half in LAB.halves)
FILES = {
    f"{T1}/ddpm.py": b"x = 1\n",
    f"{T1}/network.py": b"",
    f"{T1}/ddpm_tutorial.ipynb": b"{}",
    f"{T1}/loss.png": b"png",
    f"{T2}/scheduler.py": b"x = 2\n",
    f"{T2}/model.py": b"",
    f"{T2}/fid/inception.py": b"x = 3\n",
    f"{T2}/engine/deep/fast.py": b"x = 4\n",
    "report.pdf": b"%PDF-1.7\n...",
}
NOISE = {
    f"{T1}/__pycache__/ddpm.cpython-311.pyc": b"",
    f"{T1}/last.ckpt": b"w" * 200_000,
    f"{T1}/.DS_Store": b"",
    f"{T2}/data/afhq/cat.jpg": b"",
    f"{T2}/engine/__pycache__/fast.cpython-311.pyc": b"",
    f"{T2}/engine/results/last.py": b"",
    f"{T2}/results/a.png": b"",
    f"{T2}/fid/pt_inception-2015.pth": b"w",
    f"{T2}/big.png": b"p" * 1_000_001,
    f"{T2}/model.safetensors": b"",
    f"{T2}/weights.pt": b"",
    f"{T2}/inception_weights.bin": b"",
    "elsewhere.py": b"",
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name, content in (FILES | NOISE).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_zip_holds_what_is_handed_in(folder, capsys, tmp_path_factory):
    (folder / T1 / "secret.py").symlink_to("/etc/hostname")
    assert pack.main(["412551014"], HALVES) == 0
    with zipfile.ZipFile(folder / "412551014_lab1.zip") as archive:
        assert set(archive.namelist()) == set(FILES)
        assert archive.read(f"{T1}/ddpm.py") == b"x = 1\n"
    out = capsys.readouterr().out
    assert f"left out {T1}/last.ckpt: checkpoints and archives stay with you (0.2 MB)\n" in out
    assert f"left out {T2}/data: data, results and caches stay with you\n" in out
    assert f"left out {T2}/big.png: a large image (1.0 MB); figures belong into the report\n" in out
    assert f"left out {T1}/secret.py: a link or special file\n" in out
    assert "wrote 412551014_lab1.zip: 9 files, " in out
    assert not list(folder.glob(".*.draft"))
    found = stage(folder / "412551014_lab1.zip", tmp_path_factory.mktemp("staged") / "s", LAB)
    assert (found.id, set(found.halves), found.remarks) == ("412551014", {"task1", "task2"}, [])


@pytest.mark.parametrize("student", ["", "../x", "a b", "412551014/..", "王小明", "-x", "x" * 41, "a.b"])
def test_a_bad_id(folder, capsys, student):
    arguments = ["--", student] if student.startswith("-") else [student]
    assert pack.main(arguments, HALVES) == 2
    assert capsys.readouterr().err == f"'{student}' cannot be an ID: up to 40 letters, digits, - and _\n"
    assert not list(folder.glob("**/*.zip"))


def test_missing_parts_are_all_named(folder, capsys):
    (folder / "report.pdf").unlink()
    os.rename(folder / T2, folder / "image")
    assert pack.main(["412551014"], HALVES) == 1
    assert capsys.readouterr().err == (
        f"{T2} is missing here: change to the folder that holds both halves and report.pdf\n"
        "report.pdf is missing: put your report here under this name\n"
    )


def test_a_report_that_is_no_pdf(folder, capsys):
    (folder / "report.pdf").write_bytes(b"PK\3\4 a word file")
    assert pack.main(["412551014"], HALVES) == 1
    assert capsys.readouterr().err.startswith("report.pdf is not a PDF")


def test_unfinished_and_broken_code_are_warnings(folder, capsys):
    (folder / T1 / "ddpm.py").write_text("def f():\n    raise NotImplementedError('TODO task1.q_sample')\n")
    (folder / T2 / "model.py").write_text("def f(:\n")
    (folder / T2 / "engine/deep/fast.py").write_text("raise NotImplementedError\n")
    assert pack.main(["412551014"], HALVES) == 0
    assert capsys.readouterr().err == (
        f"warning: {T1}/ddpm.py:2 is not done yet (NotImplementedError('TODO task1.q_sample'))\n"
        f"warning: {T2}/model.py does not parse, line 1: invalid syntax (<unknown>, line 1)\n"
        f"warning: {T2}/engine/deep/fast.py:1 is not done yet (NotImplementedError)\n"
    )


def test_a_failed_write_leaves_the_old_zip(folder, capsys, monkeypatch):
    Path("412551014_lab1.zip").write_bytes(b"old")
    monkeypatch.setattr(zipfile.ZipFile, "testzip", lambda self: f"{T1}/ddpm.py")
    assert pack.main(["412551014"], HALVES) == 1
    assert "could not be read back" in capsys.readouterr().err
    assert Path("412551014_lab1.zip").read_bytes() == b"old"
    assert not list(folder.glob(".*.draft"))


def test_exercises_without_points_are_not_asked_for(folder, capsys):
    (folder / T1 / "warmup.py").write_text('raise NotImplementedError("TODO extra.train_step")\n')
    assert pack.main(["412551014"], HALVES) == 0
    assert capsys.readouterr().err == ""
