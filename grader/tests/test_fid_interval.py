"""The interval of an FID: its replicates are right, its width is, and resampling with replacement would not do.

Its coverage over hundreds of experiments is measured by running this file: python grader/tests/test_fid_interval.py
"""

import numpy as np
import pytest

from grader.fid.frechet import frechet_distance, from_features, from_statistics
from grader.fid.interval import _subset, between_real, interval, replicate


class World:
    """Two Gaussians of known moments: draws of features, and the true distance."""

    def __init__(self, dims, power, seed=0):
        rng = np.random.default_rng(seed)
        self.one = np.sqrt(np.arange(1.0, dims + 1) ** -power)
        self.other = self.one * rng.uniform(0.7, 1.3, dims)
        self.shift = rng.normal(size=dims) * self.one * 0.3
        self.distance = np.sum(self.shift**2) + np.sum((self.one - self.other) ** 2)

    def draw(self, rng, count, others):
        dims = len(self.one)
        return rng.normal(size=(count, dims)) * self.one, rng.normal(size=(others, dims)) * self.other + self.shift


def fid(one, other):
    return frechet_distance(from_features(one), from_features(other))


def coverage(world, count, others, target, experiments, replicates=60, seed=1):
    rng = np.random.default_rng(seed)
    held = 0
    for k in range(experiments):
        one, other = world.draw(rng, count, others)
        low, high = interval(fid(one, other), replicate(one, other, replicates, seed=k), 0.95)
        held += low <= target <= high
    return held / experiments


def expectation(world, count, others, draws, seed=0):
    rng = np.random.default_rng(seed)
    found = [fid(*world.draw(rng, count, others)) for _ in range(draws)]
    return np.mean(found), np.std(found)


@pytest.mark.parametrize(("count", "others"), [(20, 40), (40, 20), (300, 400)])
def test_replicates_are_the_fids_of_subsets(count, others):
    one, other = World(50, 1).draw(np.random.default_rng(0), count, others)
    rng = np.random.default_rng(3)
    expected = []
    for _ in range(4):
        i, j = _subset(count, rng), _subset(others, rng)
        expected.append(fid(one[i], other[j]))
    # square roots of a Gram matrix's eigenvalues: half the digits of the smallest ones are lost
    assert replicate(one + 7, other + 7, 4, seed=3) == pytest.approx(expected, rel=1e-5)


def test_replicates_against_statistics_leave_those_as_they_are():
    one, other = World(50, 1).draw(np.random.default_rng(0), 30, 80)
    stored = from_statistics(other.mean(0), np.cov(other, rowvar=False))
    rng = np.random.default_rng(3)
    expected = [fid(one[_subset(30, rng)], other) for _ in range(4)]
    assert replicate(one, stored, 4, seed=3) == pytest.approx(expected, rel=1e-5)


def test_a_seed_repeats_and_another_does_not():
    one, other = World(20, 1).draw(np.random.default_rng(0), 30, 40)
    assert np.array_equal(replicate(one, other, 5, seed=1), replicate(one, other, 5, seed=1))
    assert not np.array_equal(replicate(one, other, 5, seed=1), replicate(one, other, 5, seed=2))


def test_the_interval_lies_around_the_number_and_not_below_zero():
    low, high = interval(10.0, np.array([11.0, 12.0, 13.0]), 0.95)
    assert (low, high) == pytest.approx((10 - 1.96 * 3, 10 + 1.96 * 3), abs=1e-3)  # leaving out 1/10 makes the 3
    assert interval(1.0, np.array([11.0, 12.0, 13.0]), 0.95)[0] == 0


def test_two_images_give_a_number_though_no_width():
    one = np.array([[0.0, 1.0], [1.0, 0.0]])
    assert np.ptp(replicate(one, one + 1, 3)) == 0


def test_the_interval_holds_the_expectation_where_images_are_fewer_than_features():
    """As with 500 images in 2,048 dimensions; the expectation of a redraw is what the thresholds speak of."""
    world = World(200, 1.0)
    target, _ = expectation(world, 50, 150, 200)
    assert 0.9 <= coverage(world, 50, 150, target, 150) <= 1


def test_the_interval_holds_the_true_distance_where_images_are_many():
    """With features fewer than images the bias of the FID is small, and the distance itself is held."""
    world = World(4, 1.0)
    assert 0.88 <= coverage(world, 300, 600, world.distance, 100) <= 1


def test_resampling_with_replacement_would_double_the_width_and_shift_the_replicates():
    world = World(200, 1.0)
    _, spread = expectation(world, 50, 150, 200)
    rng = np.random.default_rng(0)
    one, other = world.draw(rng, 50, 150)
    naive = np.array([fid(one[rng.integers(50, size=50)], other[rng.integers(150, size=150)]) for _ in range(100)])
    ours = np.mean([np.std(replicate(*world.draw(rng, 50, 150), 60)) * 3 for _ in range(8)])
    assert naive.mean() - fid(one, other) > 4 * spread
    assert naive.std() > 1.6 * spread
    assert 0.8 * spread < ours < 1.5 * spread


def test_real_images_score_what_other_real_images_score():
    world = World(100, 1.0)
    rng = np.random.default_rng(0)

    def real(count):
        return rng.normal(size=(count, 100)) * world.one

    scores = [fid(real(60), real(200)) for _ in range(30)]
    estimated = between_real(real(200), 60)
    assert estimated.mean() == pytest.approx(np.mean(scores), rel=0.1)
    assert 0 < estimated.std() < 0.2 * estimated.mean()


def test_as_many_generated_as_real_images_are_compared_with_halves():
    real, _ = World(10, 1.0).draw(np.random.default_rng(0), 100, 100)
    halves = between_real(real, 50) / (1 / 50 + 1 / 100)
    assert between_real(real, 500) / (1 / 500 + 1 / 100) == pytest.approx(halves, rel=1e-9)


if __name__ == "__main__":
    for dims, power, count, others, experiments in (
        (4, 1.0, 300, 900, 400),
        (16, 0.5, 500, 1500, 200),
        (200, 1.0, 50, 150, 600),
        (400, 1.0, 100, 300, 300),
    ):
        known = World(dims, power)
        mean, spread = expectation(known, count, others, 400)
        held = [coverage(known, count, others, target, experiments) for target in (mean, known.distance)]
        print(
            f"{count} against {others} in {dims} dimensions: true {known.distance:.3f}, expected {mean:.3f} ± "
            f"{spread:.3f}; held: the expectation {held[0]:.1%}, the true distance {held[1]:.1%}",
            flush=True,
        )
