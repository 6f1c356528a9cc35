"""Statistics in batches against numpy's at once; the Fréchet distance against the reference's."""

import numpy as np
import pytest

from moditalker_jax.metrics.frechet import FeatureStatistics, frechet_distance
from tests.goldens_eval_recipe import GOLDENS
from tests.goldens_recipe import recipe_array


def statistics(features, batch=7):
    gathered = FeatureStatistics()
    for start in range(0, len(features), batch):
        gathered.update(features[start : start + batch])
    return gathered


@pytest.fixture(scope="module")
def feature_sets():
    first, second, mix = (
        recipe_array(f"frechet.{name}", shape, 7, scale).astype(np.float64)
        for name, shape, scale in (("a", (64, 16), 1), ("b", (64, 16), 1), ("mix", (16, 16), 0.25))
    )
    return first, (0.3 + 1.2 * second @ (np.eye(16) + mix)).astype(np.float32)


@pytest.mark.parametrize("batch", [1, 7, 64, 100])
def test_statistics_in_batches_are_those_of_all_features(feature_sets, batch):
    features = feature_sets[1]
    gathered = statistics(features, batch)
    assert gathered.count == 64
    np.testing.assert_allclose(gathered.mean, features.mean(axis=0, dtype=np.float64), atol=1e-13)
    expected = np.cov(features.astype(np.float64), rowvar=False)
    np.testing.assert_allclose(gathered.covariance, expected, atol=1e-13)


def test_statistics_merge_and_take_empty_batches(feature_sets):
    first, second = feature_sets
    merged = statistics(first)
    merged.update(first[:0])
    merged.merge(FeatureStatistics())
    merged.merge(statistics(second))
    expected = np.cov(np.concatenate(feature_sets), rowvar=False)
    np.testing.assert_allclose(merged.covariance, expected, atol=1e-13)


def test_a_far_mean_does_not_hide_the_variance():
    features = 1e6 + np.random.default_rng(0).normal(scale=1e-2, size=(1000, 3))
    expected = np.cov(features - 1e6, rowvar=False)
    np.testing.assert_allclose(statistics(features).covariance, expected, rtol=1e-5, atol=1e-10)


@pytest.mark.parametrize(("case", "count", "tolerance"), [("full", 64, 1e-6), ("rank9", 10, 1e-5)])
def test_distance_matches_the_reference(feature_sets, case, count, tolerance):
    first, second = (statistics(features[:count]) for features in feature_sets)
    goldens = np.load(GOLDENS / "inception_fid.npz")
    for way in ("fid", "eig", "fvd64"):
        expected = float(goldens[f"{case}_{way}"])
        assert frechet_distance(first, second) == pytest.approx(expected, rel=tolerance)
        assert frechet_distance(second, first) == pytest.approx(expected, rel=tolerance)


@pytest.mark.parametrize("count", [64, 10])
def test_equal_sets_have_distance_zero(feature_sets, count):
    same = statistics(feature_sets[0][:count])
    assert 0 <= frechet_distance(same, same) < 1e-12


def test_distance_of_normal_distributions_known_by_hand():
    # Deviations 1 and 2 along both axes, means 3 apart along one.
    corners = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]]) * np.sqrt(3 / 4)
    distance = frechet_distance(statistics(corners), statistics(2 * corners + [3, 0]))
    assert distance == pytest.approx(9 + 2 * (2 - 1) ** 2)
    still = statistics(np.zeros((4, 2)))
    assert frechet_distance(still, statistics(corners)) == pytest.approx(2)


def test_too_few_features_are_refused():
    one = statistics(np.ones((1, 4)))
    with pytest.raises(ValueError, match="at least 2 features, got 1"):
        frechet_distance(one, statistics(np.eye(4)))
    with pytest.raises(ValueError, match="got 0"):
        _ = FeatureStatistics().covariance
