"""The Fréchet distance and KID against closed forms and against pytorch_fid's own function."""

import warnings

import numpy as np
import pytest

from grader.fid.frechet import (
    Gaussian,
    frechet_distance,
    from_features,
    from_statistics,
    kernel_distance,
    read_statistics,
)
from grader.fid.images import NotMeasurable

SPECTRUM = np.arange(1, 129) ** -0.5  # falls like that of real features


def features(count, dims=128, seed=0, shift=0.0, scale=1.0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, dims)) * SPECTRUM[:dims] * scale + shift


def yardstick(one, other):
    """What pytorch_fid computes from the same features."""
    score = pytest.importorskip("pytorch_fid.fid_score")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # scipy on the argument that 1.18 removes
        return score.calculate_frechet_distance(
            one.mean(0), np.cov(one, rowvar=False), other.mean(0), np.cov(other, rowvar=False)
        )


@pytest.mark.parametrize(
    ("count", "others"),
    [(500, 600), (40, 90), (40, 600), (600, 40)],
    ids=["full rank", "rank deficient", "one deficient", "other deficient"],
)
def test_the_distance_is_pytorch_fids(count, others):
    one, other = features(count, seed=1), features(others, seed=2, shift=0.1, scale=1.3)
    expected = yardstick(one, other)
    assert frechet_distance(from_features(one), from_features(other)) == pytest.approx(expected, rel=1e-3)
    stored = from_statistics(other.mean(0), np.cov(other, rowvar=False))
    assert frechet_distance(from_features(one), stored) == pytest.approx(expected, rel=1e-3)


def test_features_and_their_statistics_give_one_number():
    one, other = features(30, seed=1), features(50, seed=2, shift=0.2)
    stored = [from_statistics(each.mean(0), np.cov(each, rowvar=False)) for each in (one, other)]
    exact = frechet_distance(from_features(one), from_features(other))
    assert frechet_distance(*stored) == pytest.approx(exact, rel=1e-10)
    assert stored[0].factor.shape[0] == 29  # the rank of 30 centred features


def test_a_set_has_no_distance_to_itself_and_order_does_not_count():
    one, other = features(60), features(70, seed=1, shift=0.3)
    assert frechet_distance(from_features(one), from_features(one[::-1])) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(from_features(one), from_features(other)) == pytest.approx(
        frechet_distance(from_features(other), from_features(one)), rel=1e-12
    )


def test_a_shift_counts_by_its_square():
    one = features(40)
    shift = np.linspace(-1, 1, 128)
    assert frechet_distance(from_features(one), from_features(one + shift)) == pytest.approx(shift @ shift, rel=1e-9)


def test_scaled_isotropic_gaussians_have_the_closed_form():
    mean, eye = np.zeros(20), np.eye(20)
    near, far = from_statistics(mean, 4 * eye), from_statistics(mean, 9 * eye)
    assert frechet_distance(near, far) == pytest.approx(20 * (3 - 2) ** 2, rel=1e-12)


def test_commuting_covariances_have_the_closed_form():
    first, second = np.linspace(0, 2, 10), np.linspace(3, 0, 10)
    one, other = Gaussian(np.zeros(10), np.diag(first)), Gaussian(np.ones(10), np.diag(second))
    assert frechet_distance(one, other) == pytest.approx(10 + np.sum((first - second) ** 2), rel=1e-12)


def test_float32_features_are_worked_on_in_float64():
    one, other = features(50, shift=1000).astype(np.float32), features(60, seed=1, shift=1000).astype(np.float32)
    exact = frechet_distance(from_features(one.astype(np.float64)), from_features(other.astype(np.float64)))
    assert frechet_distance(from_features(one), from_features(other)) == exact


def test_kid_is_the_mean_over_pairs_without_the_diagonal():
    one, other = features(6, 4), features(5, 4, seed=1, shift=0.5)

    def kernel(a, b):
        return (a @ b / 4 + 1) ** 3

    within = [np.mean([kernel(a, b) for i, a in enumerate(s) for j, b in enumerate(s) if i != j]) for s in (one, other)]
    expected = sum(within) - 2 * np.mean([kernel(a, b) for a in one for b in other])
    assert kernel_distance(one, other) == pytest.approx(expected, rel=1e-12)


def test_kid_is_unbiased():
    draws = [kernel_distance(features(20, 8, seed=2 * i), features(30, 8, seed=2 * i + 1)) for i in range(400)]
    assert abs(np.mean(draws)) < 4 * np.std(draws) / 20


def test_statistics_of_pytorch_fid_are_read(tmp_path):
    one, other = features(40), features(50, seed=1, shift=0.2)
    np.savez_compressed(tmp_path / "real.npz", mu=other.mean(0), sigma=np.cov(other, rowvar=False))
    assert frechet_distance(from_features(one), read_statistics(tmp_path / "real.npz")) == pytest.approx(
        frechet_distance(from_features(one), from_features(other)), rel=1e-9
    )


def test_a_file_that_holds_no_statistics_is_named(tmp_path):
    for name, content in {"pickled": np.array([{}]), "other": np.ones(3)}.items():
        np.savez(tmp_path / f"{name}.npz", mu=content)
        with pytest.raises(NotMeasurable, match=f"{name}.npz does not hold the statistics 'mu' and 'sigma'"):
            read_statistics(tmp_path / f"{name}.npz")
    np.savez(tmp_path / "shapes.npz", mu=np.ones(3), sigma=np.ones((2, 2)))
    with pytest.raises(NotMeasurable, match=r"'mu' has shape \(3,\) and 'sigma' \(2, 2\)"):
        read_statistics(tmp_path / "shapes.npz")
