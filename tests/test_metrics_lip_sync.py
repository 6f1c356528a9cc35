"""Lip sync: MFCC, distances and scores of the reference, windows and crops worked out by hand."""

import numpy as np
import pytest

from moditalker_jax.metrics.lip_sync import (
    crop_faces,
    lip_sync,
    mel_filters,
    mfcc,
    shift_distances,
    sync_windows,
)
from tests.goldens_eval_recipe import GOLDENS, speech
from tests.goldens_recipe import recipe_array

SOUNDS = {
    "mfcc": speech("syncnet.speech", 32000),
    "mfcc_odd": speech("syncnet.speech_odd", 16593),
    "mfcc_silence": np.zeros(1600, np.int16),
}
CASES = ("indep", "lag3", "lead4", "short10", "eval")


@pytest.fixture(scope="module")
def goldens():
    return dict(np.load(GOLDENS / "syncnet.npz"))


def test_the_recipe_speaks_as_the_reference_heard(goldens):
    np.testing.assert_array_equal(SOUNDS["mfcc"], goldens["mfcc_signal"])


@pytest.mark.parametrize("name", SOUNDS)
def test_mfcc_matches_the_reference(goldens, name):
    np.testing.assert_allclose(mfcc(SOUNDS[name]).T, goldens[name], atol=1e-6)


def test_mel_filters_match_the_reference(goldens):
    np.testing.assert_allclose(mel_filters(), goldens["mel_filterbank"], atol=1e-12)


def test_mfcc_of_floats_is_that_of_their_int16():
    sound = SOUNDS["mfcc_odd"]
    np.testing.assert_allclose(mfcc((sound / 32768).astype(np.float32)), mfcc(sound), atol=1e-9)


@pytest.mark.parametrize(
    ("samples", "steps"), [(1, 1), (400, 1), (401, 2), (560, 2), (561, 3), (3200, 19)]
)
def test_the_last_window_of_mfcc_is_filled_up(samples, steps):
    sound = SOUNDS["mfcc"][:samples]
    assert mfcc(sound).shape == (steps, 13)
    filled = np.pad(sound, (0, 400 + 160 * (steps - 1) - samples))
    # Pre-emphasis alone tells the two apart: it goes on one sample into the silence.
    np.testing.assert_allclose(mfcc(filled)[: steps - 1], mfcc(sound)[: steps - 1])


def features(goldens, case):
    """Features of lips and of sound that follow them at a shift, or do not."""
    if case == "eval":
        return goldens["eval_lip_feat"], goldens["eval_aud_feat"]
    lips, sound = (
        recipe_array(f"dist.{name}", (60, 1024), 7, 0.25).astype(np.float64)
        for name in ("lip", "aud")
    )
    if case == "short10":
        return lips[:10], sound[:10]
    if case == "lag3":
        sound[3:] = 0.5 * sound[3:] + 0.75 * lips[:57]
    if case == "lead4":
        sound[:56] = 0.5 * sound[:56] + 0.75 * lips[4:]
    return lips, sound.astype(np.float32)


@pytest.mark.parametrize("case", CASES)
def test_distances_and_scores_match_the_reference(goldens, case):
    pair = features(goldens, case)
    np.testing.assert_allclose(shift_distances(*pair), goldens[f"{case}_dists"], atol=1e-4)
    result = lip_sync(*pair)
    assert result.offset == goldens[f"{case}_offset"]
    assert result.distance == pytest.approx(float(goldens[f"{case}_min_dist"]), abs=1e-4)
    assert result.confidence == pytest.approx(float(goldens[f"{case}_conf"]), abs=1e-4)
    if case != "eval":
        expected = goldens[f"{case}_frame_conf"]
        np.testing.assert_allclose(result.frame_confidence, expected, atol=1e-4)


def test_windows_of_frames_and_sound_begin_together():
    frames = np.arange(30, dtype=np.uint8)[:, None, None, None] * np.ones((2, 2, 3), np.uint8)
    sound = speech("syncnet.video_audio", 19300)
    lips, heard = sync_windows(frames, sound)
    assert lips.shape == (25, 5, 2, 2, 3)
    assert heard.shape == (25, 20, 13)
    np.testing.assert_array_equal(lips[7], frames[7:12])
    np.testing.assert_array_equal(heard[7], mfcc(sound)[28:48])


def test_the_shorter_of_frames_and_sound_counts():
    frames = np.zeros((10, 2, 2, 3), np.uint8)
    assert len(sync_windows(frames, SOUNDS["mfcc"])[0]) == 5
    lips, heard = sync_windows(frames, SOUNDS["mfcc"][: 6 * 640])
    assert len(lips) == len(heard) == 1
    with pytest.raises(ValueError, match="needs 6 frames with sound, got 5"):
        sync_windows(frames, SOUNDS["mfcc"][: 6 * 640 - 1])


def coordinate_frames(count, rows=120, columns=160):
    """Each pixel tells its column in red and its row in green."""
    y, x = np.mgrid[:rows, :columns]
    return np.stack([np.stack([x, y, 0 * x], axis=-1).astype(np.uint8)] * count)


def test_a_crop_reaches_from_above_the_box_to_below_it():
    # Middle (80, 60), half side 20: columns 52..108 and rows 40..96, resized by 4.
    boxes = np.tile([65.0, 40.0, 95.0, 80.0], (13, 1))
    middle = crop_faces(coordinate_frames(13), boxes)[6]
    assert middle.shape == (224, 224, 3)
    columns = 52 + (np.arange(224) + 0.5) / 4 - 0.5
    rows = 40 + (np.arange(224) + 0.5) / 4 - 0.5
    inside = slice(2, -2)
    np.testing.assert_allclose(middle[100, inside, 0], columns[inside], atol=0.7)
    np.testing.assert_allclose(middle[inside, 100, 1], rows[inside], atol=0.7)


def test_a_crop_is_grey_beyond_the_frame():
    boxes = np.tile([0.0, 40.0, 40.0, 80.0], (13, 1))  # Columns from -8.
    middle = crop_faces(coordinate_frames(13), boxes)[6]
    assert np.all(middle[:, : 8 * 4 - 4] == 110)
    assert np.all(middle[:, 8 * 4 + 4 :, 2] == 0)


def test_boxes_are_interpolated_and_a_jump_of_the_detector_is_smoothed_away():
    boxes = np.tile([65.0, 40.0, 95.0, 80.0], (26, 1))
    frames = coordinate_frames(26)
    steady = crop_faces(frames, boxes)
    boxes[12] = np.nan
    np.testing.assert_array_equal(crop_faces(frames, boxes), steady)
    boxes[13] += 30
    np.testing.assert_array_equal(crop_faces(frames, boxes), steady)


def test_too_few_frames_or_no_box_are_refused():
    frames, boxes = coordinate_frames(7), np.tile([65.0, 40.0, 95.0, 80.0], (7, 1))
    assert len(crop_faces(frames, boxes)) == 7
    with pytest.raises(ValueError, match="need 7 frames, got 6"):
        crop_faces(frames[:6], boxes[:6])
    with pytest.raises(ValueError, match="no box"):
        crop_faces(frames, boxes * np.nan)
