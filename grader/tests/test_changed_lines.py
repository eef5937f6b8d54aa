"""Edits outside TODO regions are listed; edits inside, comments and white space are not."""

from __future__ import annotations

import shutil

import pytest

from grader.submission.changed_lines import changes_outside_todos

RELEASED = '''"""A file of the lab."""
import torch

EPS = 1e-5


def extract(table, t, x):
    return table[t].reshape(-1, 1)


class Module:
    def q_sample(self, x0, t):
        """Forward."""
        ##### TODO task1.q_sample #####
        # Compute xt.
        raise NotImplementedError("task1.q_sample")
        ##### END TODO task1.q_sample #####

        return xt

    def p_sample(self, xt, t):
        ##### TODO task1.p_sample #####
        # Compute it.
        raise NotImplementedError("task1.p_sample")
        ##### END TODO task1.p_sample #####

        return x_t_prev
'''
SOLVED = RELEASED.replace('raise NotImplementedError("task1.q_sample")', "a = self.ab[t]\n        xt = a * x0").replace(
    '        raise NotImplementedError("task1.p_sample")',
    "        if t:\n            raise ValueError\n\n    def helper(self):\n        x_t_prev = 1",
)


@pytest.fixture
def remarks(tmp_path):
    def run(text, **more):
        for folder, files in (("released", {"ddpm": RELEASED}), ("submitted", {"ddpm": text} | more)):
            (tmp_path / folder).mkdir()
            for name, content in files.items():
                (tmp_path / folder / f"{name}.py").write_text(content, encoding="utf-8", newline="")
        return changes_outside_todos(tmp_path / "submitted", tmp_path / "released")

    return run


@pytest.mark.parametrize(
    "text",
    [
        RELEASED,
        SOLVED,
        SOLVED.replace("\n", "\r\n"),
        "\ufeff" + SOLVED,
        SOLVED.replace("xt\n", "xt   \n"),
        SOLVED.replace("EPS = 1e-5\n", "# 我的註解\n\nEPS = 1e-5\n"),
        SOLVED.replace("        ##### END TODO task1.q_sample #####\n", ""),
    ],
    ids=["released", "solved", "crlf", "bom", "blanks", "comments", "marker removed"],
)
def test_nothing_to_remark(remarks, text):
    assert remarks(text) == []


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "EPS = 1e-5",
            "EPS = 1e-3",
            "1 line changed outside the TODO regions, first at line 4: `EPS = 1e-3`",
        ),
        (
            "import torch",
            "import torch\nimport math\nimport os",
            "2 lines changed outside the TODO regions, first at line 3: `import math`",
        ),
        (
            "    return table[t].reshape(-1, 1)\n",
            "",
            "1 line changed outside the TODO regions, first at line 8: `return table[t].reshape(-1, 1)`",
        ),
        (
            "        return xt\n\n    def p_sample",
            "        return xt.clamp(-1, 1)\n\n    def p_sample",
            "1 line changed outside the TODO regions, first at line 20: `return xt.clamp(-1, 1)`",
        ),
    ],
)
def test_edits_are_listed_with_their_place(remarks, old, new, expected):
    assert old in SOLVED
    assert remarks(SOLVED.replace(old, new, 1)) == [f"ddpm.py: {expected}"]


def test_another_edition(remarks):
    assert remarks("class Other:\n" + "    x = 1\n" * 30) == [
        "ddpm.py follows another edition of the lab: 0% of the released lines are in it"
    ]


def test_extra_and_missing_files(remarks, tmp_path):
    assert remarks(SOLVED, helper="x = 1", 自己的="") == ["extra file helper.py", "extra file 自己的.py"]
    (tmp_path / "submitted" / "ddpm.py").unlink()
    assert changes_outside_todos(tmp_path / "submitted", tmp_path / "released")[0] == "ddpm.py is missing"


def test_files_in_folders_are_compared_and_a_folder_that_is_gone_is_one_remark(tmp_path):
    for half in ("released", "submitted"):
        (tmp_path / half / "engine").mkdir(parents=True)
        for name in ("a", "b"):
            (tmp_path / half / "engine" / f"{name}.py").write_text("x = 1\ny = 2\nz = 3\n")
    (tmp_path / "submitted" / "engine" / "a.py").write_text("x = 1\ny = 7\nz = 3\n")
    assert changes_outside_todos(tmp_path / "submitted", tmp_path / "released") == [
        "engine/a.py: 1 line changed outside the TODO regions, first at line 2: `y = 7`"
    ]
    shutil.rmtree(tmp_path / "submitted" / "engine")
    assert changes_outside_todos(tmp_path / "submitted", tmp_path / "released") == ["engine/ is missing"]


def test_number_and_length_are_limited(remarks):
    found = remarks(SOLVED.replace("EPS = 1e-5", "EPS = " + "1 + " * 500 + "1"), **{f"m{n}": "" for n in range(40)})
    assert len(found) == 12
    assert found[-1] == "... and 30 more files that differ"
    assert max(len(remark) for remark in found) < 180


def test_a_huge_file_is_not_compared(remarks):
    assert remarks("x = 1\n" * 5000) == ["ddpm.py has 5,000 lines and was not compared with the released file"]
