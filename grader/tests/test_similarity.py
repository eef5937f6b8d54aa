"""Pairs of submissions whose code is alike: copies are found, independent right answers are not."""

import re
import shutil

import pytest

from grader.lab import LAB
from grader.lab.catalogue import variants
from grader.submission import similarity
from grader.submission.similarity import LEAST, fingerprints, likeness, shared
from grader.tools.builder import build, write
from grader.tools.likeness import halves


def test_renamed_variables_are_found_and_independent_answers_are_not(tmp_path):
    first, second = (write(case, tmp_path) for case in variants()[:2])
    copied = shutil.copytree(first, tmp_path / "copied")
    for file in copied.rglob("*.py"):
        text = re.sub(r"\b(xt|x0|x_t|noise|eps|alpha|mean)\b", r"my_\1", file.read_text(encoding="utf-8"))
        file.write_text(text, encoding="utf-8")
    found = likeness({"first": halves(first), "second": halves(second), "copied": halves(copied)}, LAB)
    [pair] = found.pairs
    assert {pair.left, pair.right} == {"first", "copied"}
    assert pair.share > 0.95
    assert any("my_" in passage.left + passage.right for passage in pair.passages)


def test_the_labs_own_text_is_not_similar_code(tmp_path):
    empty = {"task1.q_sample": "raise NotImplementedError", "task2.cosine": "raise NotImplementedError"}
    prints = [fingerprints(halves(build(tmp_path / name, empty | {"task1.simplenet": "pass"})), LAB) for name in "ab"]
    own = sum(int(found.token_coverage) for found in prints[0].values())
    whole = sum(len(found.filtered_code) for found in prints[0].values())
    assert own < whole / 2


@pytest.mark.parametrize("content", [b"def broken(:\n", b"\xff\xfe\x00", b"", b"x = 1\n", b"'" * 300_000])
def test_files_that_are_no_python_are_left_out_of_the_comparison(tmp_path, content):
    files = {
        f"{half}/{name}": content
        for half, names in (
            ("2d_plot_diffusion_todo", ("network.py", "ddpm.py")),
            ("image_diffusion_todo", ("scheduler.py", "model.py")),
        )
        for name in names
    }
    odd = build(tmp_path / "odd", files=files)
    found = likeness(
        {"odd": halves(odd), "same": halves(odd), "gone": {}, "right": halves(build(tmp_path / "right"))}, LAB
    )
    assert found.pairs == []


def test_what_is_too_much_to_compare_is_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(similarity, "SECONDS", -1.0)
    folder = build(tmp_path / "a")
    assert likeness({"a": halves(folder), "b": halves(folder)}, LAB).left_out == 1


def test_the_limit_lies_between_independent_answers_and_copies(tmp_path):
    prints = [fingerprints(halves(write(case, tmp_path)), LAB) for case in variants()[:6]]
    apart = max(shared(a, b) for number, a in enumerate(prints) for b in prints[number + 1 :])
    assert apart < LEAST - 0.2
    assert shared(prints[0], prints[0]) == 1.0
