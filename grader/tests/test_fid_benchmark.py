"""The benchmark runs both commands on the same files, and fails where their numbers differ."""

import pytest

from grader.fid import benchmark


@pytest.fixture
def commands(monkeypatch):
    """Commands that the benchmark would run, {name: command}; each takes 1 s more than the one before."""
    seen = {}

    def run(name, command, scratch):
        seen[name] = command
        return float(len(seen)), 0.5 if "pytorch_fid" in name else 0.5 * (1 + run.difference)

    run.difference = 1e-5
    monkeypatch.setattr(benchmark, "_run", run)
    monkeypatch.setattr(benchmark, "seeded_inception", lambda seed: {})
    seen["run"] = run
    return seen


def test_both_get_the_same_images_and_weights(commands, capsys):
    assert benchmark.main(["--generated", "2", "--reference", "3"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("2 against 3 images of 64x64 on cpu")
    assert "times as fast as pytorch_fid: 0.7 with nothing cached, 0.5 with the reference cached" in out
    assert "relative difference of the two FIDs: 1.0e-05 (1e-3 allowed)" in out
    theirs, ours = commands["pytorch_fid"], commands["grader fid, nothing cached"]
    assert theirs[-2:] == ours[4:6]
    assert commands["grader fid, reference cached"] == ours


def test_different_numbers_are_a_failure(commands):
    commands["run"].difference = 2e-3
    assert benchmark.main(["--generated", "2", "--reference", "2"]) == 1


def test_the_images_differ_and_repeat_with_the_seed(tmp_path):
    for name, seed in (("one", 0), ("same", 0), ("other", 1)):
        benchmark.make_images(tmp_path / name, 3, seed, falloff=1.0)
    content = {
        name: [file.read_bytes() for file in sorted((tmp_path / name).iterdir())] for name in ("one", "same", "other")
    }
    assert content["one"] == content["same"]
    assert len({*content["one"], *content["other"]}) == 6
