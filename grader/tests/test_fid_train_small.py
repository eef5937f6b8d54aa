"""The small Inception learns to tell classes apart, and its file is one that `fid --weights` takes."""

import re

import pytest
from fid_samples import make_images

from grader.fid.extractor import Extractor
from grader.fid.images import decode
from grader.fid.train_small import main


@pytest.mark.slow
def test_it_learns_two_kinds_of_noise_and_its_file_is_read(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("grader.fid.train_small.BATCH", 16)
    make_images(tmp_path / "classes" / "coarse", 64, seed=0, falloff=1.6)
    make_images(tmp_path / "classes" / "fine", 64, seed=1, falloff=0.6)
    assert main([str(tmp_path / "classes"), str(tmp_path / "small.pt"), "--epochs", "4"]) == 0
    out, err = capsys.readouterr()
    assert out == f"wrote {tmp_path / 'small.pt'}: 128 images of coarse, fine\n"
    assert float(re.findall(r"([\d.]+)% of the held-out", err)[-1]) >= 90
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    name, features = Extractor.open(tmp_path / "small.pt").features(
        [decode(file).pixels for file in (tmp_path / "classes" / "fine").iterdir()], lambda done: None
    )
    assert (name, features.shape) == ("small-inception", (64, 256))


def test_a_folder_without_classes_is_said(tmp_path, capsys):
    assert main([str(tmp_path), str(tmp_path / "small.pt")]) == 2
    assert capsys.readouterr().err == f"error: {tmp_path} needs a subfolder of images for each of two or more classes\n"
