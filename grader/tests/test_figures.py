"""The q(x_t) strip, from good and from absurd numbers."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from grader.lab.figures import _finite, _limit, draw_forward_strip
from grader.tests import samples


def test_the_strip_is_small_and_has_the_same_bytes_each_time(tmp_path):
    for name in ("a.png", "b.png"):
        draw_forward_strip(samples.strip(), tmp_path / name)
    data = (tmp_path / "a.png").read_bytes()
    assert data == (tmp_path / "b.png").read_bytes()
    assert len(data) < 120_000
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == (1500, 195)
        assert image.info == {}


def test_threads_draw_what_one_would(tmp_path):
    paths = [tmp_path / f"{i}.png" for i in range(6)]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda path: draw_forward_strip(samples.strip(200), path), paths))
    assert len({path.read_bytes() for path in paths}) == 1


def test_pyplot_which_knows_one_thread_only_is_not_imported():
    code = "import sys, grader.lab.figures; sys.exit('matplotlib.pyplot' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "values",
    [
        np.full((50, 2), np.nan),
        np.full((50, 2), np.inf),
        np.full((50, 2), 1e308),
        np.full((5, 2), -3e38, "f4"),
        np.zeros((50, 2)),
        np.zeros((0, 2)),
        np.zeros((3, 7)),
        np.zeros(()),
        np.zeros((2,) * 20),
        np.array([["a", "b"]]),
        np.ones((4, 2), complex),
        np.ones((4, 2), bool),
        np.arange(8).reshape(4, 2),
        np.full((9, 2), 5e-324),
        np.random.default_rng(0).standard_normal((200_000, 2)),
        np.full((4, 2), np.longdouble("1e4000")),
    ],
)
def test_any_numbers_make_a_figure(tmp_path, values):
    draw_forward_strip({0: np.zeros((5, 2)), 50: values}, tmp_path / "mixed.png")
    draw_forward_strip({0: values}, tmp_path / "alone.png")
    assert (tmp_path / "mixed.png").stat().st_size < 120_000


def test_what_cannot_be_drawn_is_said():
    bad = np.zeros((4, 2))
    bad[1, 0], bad[2] = np.nan, np.inf
    assert _finite(bad)[1] == "2 of 4 not finite"
    assert _finite(np.zeros((0, 2)))[1] == "no points"
    assert _finite(np.zeros((3, 7)))[1] == "no (N, 2) points but\n(3, 7) float64"
    assert _finite(np.zeros((3, 2)))[1] == ""


def test_one_exploding_panel_does_not_shrink_the_others():
    clouds = list(samples.strip().values())
    assert _limit(clouds) == pytest.approx(1.08 * max(np.abs(cloud).max() for cloud in clouds))
    assert _limit([*clouds[:-1], clouds[-1] * 1e6]) < 3 * _limit(clouds)


def test_no_panels_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="a strip needs at least one panel"):
        draw_forward_strip({}, tmp_path / "a.png")
