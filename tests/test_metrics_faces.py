"""Landmarks and identity: the reference's values, and faces moved by hand."""

import math

import numpy as np
import pytest

from moditalker_jax.landmarks import MEAN_FACE
from moditalker_jax.metrics.identity import ALIGNED_POINTS, align_faces, csim, identity_drift
from moditalker_jax.metrics.landmarks import (
    has_face,
    lmd,
    mouth_correlation,
    mouth_error,
    mouth_lag,
    still_mouth_ratio,
)
from tests.goldens_eval_recipe import GOLDENS
from tests.goldens_recipe import recipe_array


def speaking(opening: np.ndarray) -> np.ndarray:
    """The mean face with its lower lip moved down by `opening` (T,)."""
    landmarks = np.repeat(MEAN_FACE[None].astype(np.float64), len(opening), axis=0)
    landmarks[:, [65, 66, 67], 1] -= opening[:, None]
    return landmarks


@pytest.fixture
def opening():
    return np.random.RandomState(0).uniform(0.1, 0.5, 50)


@pytest.fixture(scope="module")
def golden_landmarks():
    """Landmarks (12, 68, 2), off the truth and shifted, and the truth."""
    shape, motion, error = (
        recipe_array(f"lmd.{name}", size, 7, 1).astype(np.float64)
        for name, size in (("shape", (1, 68, 2)), ("gt", (12, 68, 2)), ("err", (12, 68, 2)))
    )
    truth = 128 + 50 * shape + 3 * motion
    return truth + 2 * error + (4, -3), truth


@pytest.mark.parametrize("region", ["mouth", "face"])
@pytest.mark.parametrize(("centred", "name"), [(True, "centred"), (False, "raw")])
def test_lmd_matches_the_reference(golden_landmarks, region, centred, name):
    expected = float(np.load(GOLDENS / "lmd.npz")[f"lmd_{region}_{name}"])
    measured = lmd(*golden_landmarks, region=region, centred=centred)
    assert measured == pytest.approx(expected, abs=1e-6)


def test_lmd_of_single_frames_matches_the_reference(golden_landmarks):
    expected = np.load(GOLDENS / "lmd.npz")["lmd_mouth_centred_per_frame"]
    pairs = zip(*golden_landmarks, strict=True)
    measured = [lmd(made[None], true[None]) for made, true in pairs]
    np.testing.assert_allclose(measured, expected, atol=1e-6)
    assert lmd(*golden_landmarks) == pytest.approx(expected.mean())


def test_frames_without_a_face_on_either_side_are_left_out(golden_landmarks, opening):
    made, truth = (x.copy() for x in golden_landmarks)
    made[3], truth[7, 5] = np.nan, np.nan
    assert np.flatnonzero(~has_face(truth)).tolist() == [7]
    kept = np.delete(np.arange(12), [3, 7])
    for measure in (lmd, mouth_error, still_mouth_ratio, mouth_correlation):
        expected = measure(golden_landmarks[0][kept], golden_landmarks[1][kept])
        assert measure(made, truth) == pytest.approx(expected)
    with pytest.raises(ValueError, match="no frame with a face in both"):
        lmd(made * np.nan, truth)


def test_landmarks_of_two_lengths_are_refused(golden_landmarks):
    made, truth = golden_landmarks
    with pytest.raises(ValueError, match="one shape"):
        lmd(made[1:], truth)


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
    assert lmd(moved, truth) == pytest.approx(0)


def test_the_best_still_mouth_has_ratio_one(opening):
    truth = speaking(opening)
    still = np.repeat(truth.mean(axis=0, keepdims=True), len(truth), axis=0)
    assert still_mouth_ratio(still, truth) == pytest.approx(1.0)
    assert still_mouth_ratio(truth, truth) == 0.0
    assert still_mouth_ratio((still + truth) / 2, truth) == pytest.approx(0.5)


@pytest.mark.parametrize("lag", [-15, -4, 0, 1, 15])
def test_a_delayed_mouth_has_that_lag(lag):
    opening = np.random.RandomState(2).uniform(0.1, 0.5, 120)
    truth, late = speaking(opening[20:100]), speaking(opening[20 - lag : 100 - lag])
    assert mouth_lag(late, truth) == lag
    late[10:20] = truth[40] = np.nan
    assert mouth_lag(late, truth) == lag


def test_lags_are_looked_for_only_so_far():
    opening = np.random.RandomState(2).uniform(0.1, 0.5, 120)
    truth, late = speaking(opening[20:100]), speaking(opening[12:92])
    assert mouth_lag(late, truth, max_lag=8) == 8
    assert abs(mouth_lag(late, truth, max_lag=7)) <= 7


def test_a_still_mouth_has_no_correlation_lag_or_ratio(opening):
    still = speaking(np.full(50, 0.3))
    assert math.isnan(mouth_correlation(still, speaking(opening)))
    assert math.isnan(mouth_lag(speaking(opening), still))
    assert math.isnan(still_mouth_ratio(speaking(opening), still))


def with_five_points(points: np.ndarray) -> np.ndarray:
    """Landmarks (1, 68, 2) whose eyes, nose tip and mouth corners are the five points."""
    landmarks = np.zeros((1, 68, 2))
    landmarks[:, [36, 39, 42, 45, 30, 48, 54]] = points[[0, 0, 1, 1, 2, 3, 4]]
    return landmarks


def test_a_face_that_is_aligned_already_stays():
    frame = np.random.RandomState(0).randint(0, 256, (1, 112, 112, 3), np.uint8)
    np.testing.assert_array_equal(align_faces(frame, with_five_points(ALIGNED_POINTS)), frame)


def test_a_turned_face_is_turned_back():
    frame = np.random.RandomState(0).randint(0, 256, (1, 112, 112, 3), np.uint8)
    turned = np.rot90(frame, axes=(1, 2))  # Where (x, y) was is (y, 111 - x).
    points = np.stack([ALIGNED_POINTS[:, 1], 111 - ALIGNED_POINTS[:, 0]], axis=1)
    difference = align_faces(turned, with_five_points(points)).astype(int) - frame
    assert np.abs(difference).max() <= 1


def test_alignment_is_the_least_squares_similarity_towards_the_template():
    points = 2.5 * ALIGNED_POINTS + 30 + np.random.RandomState(3).normal(scale=6, size=(5, 2))
    # x' = a x - b y + c and y' = b x + a y + d, solved for a, b, c and d.
    x, y, zero, one = points[:, 0], points[:, 1], np.zeros(5), np.ones(5)
    rows = np.stack([np.stack([x, -y, one, zero], 1), np.stack([y, x, zero, one], 1)], 1)
    a, b, c, d = np.linalg.lstsq(rows.reshape(10, 4), ALIGNED_POINTS.ravel(), rcond=None)[0]
    rows, columns = np.mgrid[:400, :400]
    spot = 255 * np.exp(-((columns - 110) ** 2 + (rows - 240) ** 2) / (2 * 10**2))
    frame = np.repeat(spot[None, :, :, None], 3, axis=-1).astype(np.uint8)
    aligned = align_faces(frame, with_five_points(points))[0, :, :, 0].astype(float)
    middle = [(aligned * x[:112, :112]).sum() / aligned.sum() for x in (columns, rows)]
    expected = [a * 110 - b * 240 + c, b * 110 + a * 240 + d]
    np.testing.assert_allclose(middle, expected, atol=0.05)


def test_a_frame_without_a_face_is_not_aligned():
    with pytest.raises(ValueError, match="every frame needs a face"):
        align_faces(np.zeros((1, 8, 8, 3), np.uint8), np.full((1, 68, 3), np.nan))


def test_csim_matches_the_reference():
    goldens = np.load(GOLDENS / "iresnet50.npz")
    first, second = goldens["embedding"]
    measured = csim(np.stack([first, second]), np.stack([second, 3 * second]))
    np.testing.assert_allclose(measured, [goldens["csim"], 1], atol=1e-6)


def turning_heads(faces: np.ndarray) -> np.ndarray:
    """Faces (T, 68, 3) in image axes, on a head that nods, nears and moves."""
    time = np.linspace(0, 1, len(faces))
    sine, cosine = np.sin(0.6 * time), np.cos(0.6 * time)
    zero, one = np.zeros_like(time), np.ones_like(time)
    nod = np.stack([one, zero, zero, zero, cosine, -sine, zero, sine, cosine], 1)
    placed = (faces * (1, -1, 1)) @ nod.reshape(-1, 3, 3)
    return placed * (60 + 30 * time[:, None, None]) + 100 + 20 * time[:, None, None]


def test_identity_does_not_drift_with_the_head_or_the_mouth(opening):
    landmarks = turning_heads(speaking(np.sort(opening)))
    assert identity_drift(landmarks) < 1e-5
    landmarks[[0, 30]] = np.nan
    assert identity_drift(landmarks) < 1e-5


def test_identity_drifts_with_the_shape_of_the_face():
    faces = np.repeat(MEAN_FACE[None].astype(np.float64), 50, axis=0)
    change = np.random.RandomState(4).normal(scale=0.01, size=(68, 3))
    growth = np.linspace(0, 1, 50)[:, None, None]
    drifts = [identity_drift(turning_heads(faces + k * growth * change)) for k in (1, 2)]
    assert drifts[1] == pytest.approx(2 * drifts[0], rel=0.05)
    # From the mean of the first fifth to that of the last, the change grows by 0.8 of its size.
    eyes = np.linalg.norm(MEAN_FACE[36] - MEAN_FACE[45])
    moved = 0.8 * np.linalg.norm(change, axis=1).mean() / eyes
    assert drifts[0] == pytest.approx(moved, rel=0.3)


def test_drift_needs_five_faces():
    landmarks = turning_heads(np.repeat(MEAN_FACE[None], 6, axis=0))
    landmarks[2:4] = np.nan
    with pytest.raises(ValueError, match="at least 5 frames with a face, got 4"):
        identity_drift(landmarks)
