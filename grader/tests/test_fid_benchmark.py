"""The benchmark runs both commands on the same files, and fails where their numbers differ."""

import re
import subprocess
import sys

import pytest

from grader.fid import benchmark


@pytest.mark.slow
def test_the_two_commands_agree_on_the_same_images_and_weights(capsys):
    assert benchmark.main(["--generated", "3", "--reference", "4"]) == 0
    out = capsys.readouterr().out
    fids = {name.strip(): float(fid) for name, fid in re.findall(r"^(.*?) +[\d.]+ s .* FID (\S+)$", out, re.MULTILINE)}
    assert list(fids) == [
        "pytorch_fid",
        "grader fid, nothing cached",
        "grader fid, reference cached",
        "grader fid, all cached",
        "pytorch_fid --save-stats (reference)",
        "pytorch_fid, reference saved",
    ]
    assert fids["grader fid, nothing cached"] == pytest.approx(fids["pytorch_fid"], rel=1e-3)
    assert fids["grader fid, all cached"] == fids["grader fid, reference cached"]
    assert fids["grader fid, reference cached"] == pytest.approx(fids["pytorch_fid, reference saved"], rel=1e-3)
    assert fids["grader fid, reference cached"] != fids["grader fid, nothing cached"], "other images were scored"


@pytest.mark.parametrize(("apart", "code"), [(0.9e-3, 0), (1.1e-3, 1), (-1.1e-3, 1)])
def test_different_numbers_are_a_failure(monkeypatch, apart, code):
    monkeypatch.setattr(benchmark, "_run", lambda name, *_: (1.0, 0.5 if "pytorch_fid" in name else 0.5 * (1 + apart)))
    monkeypatch.setattr(benchmark, "seeded_inception", lambda seed: {})
    assert benchmark.main(["--generated", "2", "--reference", "2"]) == code


@pytest.mark.parametrize(("printed", "fid"), [("FID:  12.5", 12.5), ("FID:  1e-07", 1e-7), ('{"fid": 3.25}', 3.25)])
def test_the_fid_is_read_from_what_a_command_prints(tmp_path, monkeypatch, printed, fid):
    command = [sys.executable, "-c", f"print({printed!r}); import os; open('h', 'w').write(os.environ['TORCH_HOME'])"]
    monkeypatch.chdir(tmp_path)
    assert benchmark._run("a command", command, tmp_path)[1] == fid
    assert (tmp_path / "h").read_text() == f"{tmp_path}/torch", "where both find the weights"


def test_a_command_that_fails_ends_the_benchmark_and_shows_why(tmp_path, capsys):
    with pytest.raises(subprocess.CalledProcessError):
        benchmark._run("a command", [sys.executable, "-c", "raise SystemExit('no such folder')"], tmp_path)
    assert "no such folder" in capsys.readouterr().err


def test_the_images_differ_and_repeat_with_the_seed(tmp_path):
    for name, seed in (("one", 0), ("same", 0), ("other", 1)):
        benchmark.make_images(tmp_path / name, 3, seed, falloff=1.0)
    content = {
        name: [file.read_bytes() for file in sorted((tmp_path / name).iterdir())] for name in ("one", "same", "other")
    }
    assert content["one"] == content["same"]
    assert len({*content["one"], *content["other"]}) == 6
