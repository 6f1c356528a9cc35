"""The measures against numbers worked out by hand."""

import numpy as np
import pytest

from moditalker_jax.evaluation.metrics import (
    mouth_correlation,
    mouth_error,
    psnr,
    still_mouth_ratio,
)
from moditalker_jax.landmarks import MEAN_FACE


def speaking(opening: np.ndarray) -> np.ndarray:
    """The mean face with its lower lip moved down by `opening` (T,)."""
    landmarks = np.repeat(MEAN_FACE[None].astype(np.float64), len(opening), axis=0)
    landmarks[:, [65, 66, 67], 1] -= opening[:, None]
    return landmarks


@pytest.fixture
def opening():
    return np.random.RandomState(0).uniform(0.1, 0.5, 50)


def test_correlation_of_the_mouths_opening(opening):
    truth = speaking(opening)
    assert mouth_correlation(truth, truth) == pytest.approx(1.0)
    assert mouth_correlation(speaking(0.6 - opening), truth) < -0.95
    other = np.random.RandomState(1).uniform(0.1, 0.5, 50)
    assert abs(mouth_correlation(speaking(other), truth)) < 0.4


def test_mouth_error_is_the_mean_distance_of_the_mouths_points(opening):
    truth = speaking(opening)
    moved = truth + [0.3, 0.4, 0.0]
    assert mouth_error(moved, truth) == pytest.approx(0.5)
    moved[:, :48] += 7.0
    assert mouth_error(moved, truth) == pytest.approx(0.5)


def test_the_best_still_mouth_has_ratio_one(opening):
    truth = speaking(opening)
    still = np.repeat(truth.mean(axis=0, keepdims=True), len(truth), axis=0)
    assert still_mouth_ratio(still, truth) == pytest.approx(1.0)
    assert still_mouth_ratio(truth, truth) == 0.0
    assert still_mouth_ratio((still + truth) / 2, truth) == pytest.approx(0.5)


def test_psnr_of_a_known_error():
    truth = np.full((2, 4, 4, 3), 100, np.uint8)
    assert psnr(truth + 10, truth) == pytest.approx(20 * np.log10(25.5))
    assert psnr(truth, truth) == np.inf
