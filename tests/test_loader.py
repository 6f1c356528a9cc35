"""Batches for AToM and the autoencoders. `tests.clips` encodes the time in every field."""

import dataclasses
import itertools

import numpy as np
import pytest

from data_pipelines import streams
from data_pipelines.builder import write_dataset
from data_pipelines.loader import atom_batches, clip_batches, clip_windows
from moditalker_jax.errors import InputError
from moditalker_jax.landmarks import MIRRORED_LANDMARKS
from tests.clips import MEAN_FACE, MOTION_SCALE, make_clip, make_metadata

WINDOW = 12
LENGTHS = (8, 20, 26, 31, 40)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    directory = tmp_path_factory.mktemp("data") / "set"
    train = [make_clip(f"t{i}", n, value=20 * i) for i, n in enumerate(LENGTHS)]
    validation = [make_clip(f"v{i}", 20 + i) for i in range(5)]
    short = [make_clip("short", 3)]
    splits = {"train": train, "validation": validation, "short": short}
    write_dataset(directory, splits, make_metadata())
    return directory


def take(batches, count):
    return list(itertools.islice(batches, count))


def motion_times(motion):
    """(B, T): the frame that each motion belongs to."""
    return (motion / MOTION_SCALE + MEAN_FACE)[:, :, 0, 0]


def assert_same(first, second):
    for a, b in zip(first, second, strict=True):
        assert a.keys() == b.keys()
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])


def test_atom_windows_keep_motion_and_speech_together(dataset):
    starts = set()
    for batch in take(atom_batches(dataset, "train", 4, seed=1, num_frames=WINDOW), 30):
        assert batch["motion"].shape == (4, WINDOW, 68, 3)
        assert batch["motion"].dtype == np.float32
        assert batch["audio_features"].shape == (4, 2 * WINDOW, 5)
        times = motion_times(batch["motion"])
        mask = batch["mask"]
        assert mask.dtype == bool
        start = times[:, :1]
        starts.update(start[:, 0].round().astype(int))
        expected = np.where(mask, start + np.arange(WINDOW), 7)
        np.testing.assert_allclose(times, expected, atol=1e-4)
        audio, audio_mask = batch["audio_features"][..., 0], np.repeat(mask, 2, axis=1)
        expected = np.where(audio_mask, 2 * start + np.arange(2 * WINDOW), 15)
        np.testing.assert_allclose(audio, expected, atol=1e-4)
    assert {0, 40 - WINDOW} <= starts
    assert len(starts) > 20


def test_motion_subtracts_every_point_of_the_mean_face(dataset):
    (batch,) = take(atom_batches(dataset, "train", 1, seed=0, num_frames=WINDOW), 1)
    time = motion_times(batch["motion"])[..., None, None]
    expected = MOTION_SCALE * (np.round(time) - MEAN_FACE)
    np.testing.assert_allclose(batch["motion"], expected, atol=1e-4)


def test_short_clips_are_masked_where_the_last_frame_is_repeated(dataset):
    (batch,) = take(atom_batches(dataset, "short", 1, seed=None, num_frames=6), 2)
    np.testing.assert_array_equal(batch["mask"], [[True] * 3 + [False] * 3])
    np.testing.assert_allclose(motion_times(batch["motion"]), [[0, 1, 2, 2, 2, 2]], atol=1e-5)
    np.testing.assert_array_equal(batch["audio_features"][0, :, 0], [0, 1, 2, 3, 4] + [5] * 7)


def test_video_clips_are_windows_of_one_clip(dataset):
    starts = set()
    for batch in take(clip_batches(dataset, "train", 3, seed=2, num_frames=WINDOW), 30):
        assert batch["video"].shape == (3, WINDOW, 32, 32, 3)
        assert batch["video"].dtype == np.uint8
        np.testing.assert_array_equal(batch["reference"], batch["video"][:, 0])
        times = batch["landmarks"][:, :, 0, 0] * 1000
        start = times[:, :1]
        starts.update(start[:, 0].round().astype(int))
        np.testing.assert_allclose(times, start + np.arange(WINDOW), atol=1e-3)
        grey = batch["video"][..., 0].mean(axis=(2, 3))
        value = grey - 2 * times
        assert np.abs(value - np.round(value[:, :1] / 20) * 20).max() <= 1.0
        assert value.min() >= 20, "the clip of 8 frames is too short to be drawn"
    assert len(starts) > 20


def test_random_clips_may_take_every_sth_frame(dataset):
    options = {"seed": 2, "num_frames": WINDOW, "max_frame_stride": 3}
    seen = set()
    for batch in take(clip_batches(dataset, "train", 3, **options), 30):
        times = (batch["landmarks"][:, :, 0, 0] * 1000).round().astype(int)
        strides = np.diff(times, axis=1)
        np.testing.assert_array_equal(strides, np.broadcast_to(strides[:, :1], strides.shape))
        seen.update(strides[:, 0])
    assert seen == {1, 2, 3}


@pytest.mark.parametrize("make", [atom_batches, clip_batches])
def test_the_seed_decides(dataset, make):
    def batches(seed):
        return take(make(dataset, "train", 2, seed=seed, num_frames=WINDOW), 12)

    first = batches(3)
    assert_same(first, batches(3))
    with pytest.raises(AssertionError):
        assert_same(first, batches(4))


@pytest.mark.parametrize("make", [atom_batches, clip_batches])
@pytest.mark.parametrize("cache", [streams.CACHE_BYTES, 0])
def test_batches_from_a_later_one_on_are_those_that_would_have_come(
    dataset, make, cache, monkeypatch
):
    monkeypatch.setattr(streams, "CACHE_BYTES", cache)
    options = {"seed": 7, "num_frames": WINDOW, "mirror": True}
    whole = take(make(dataset, "train", 3, **options), 9)
    for start in (1, 4):  # In the first epoch, and in a later one.
        assert_same(
            whole[start:], take(make(dataset, "train", 3, start=start, **options), 9 - start)
        )


def test_mirrored_windows_turn_pictures_and_landmarks(tmp_path):
    def flat(landmarks):
        return landmarks.reshape(-1, 68, 3)

    clip = make_clip("a", 8)
    columns = np.arange(32, dtype=np.uint8)[None, None, :, None] * 8
    face = np.random.default_rng(0).uniform(0.2, 0.8, (8, 68, 3)).astype(np.float32)
    clip = dataclasses.replace(
        clip,
        frames=np.broadcast_to(columns, clip.frames.shape).copy(),
        landmarks=face,
        frontal_landmarks=face - 0.5,
    )
    write_dataset(tmp_path / "set", {"train": [clip]}, make_metadata())
    options = {"seed": 0, "num_frames": 8, "mirror": True}
    turned = flat(face)[:, MIRRORED_LANDMARKS] * [-1, 1, 1]
    seen = set()
    for batch in take(clip_batches(tmp_path / "set", "train", 1, **options), 8):
        mirrored = bool(batch["video"][0, 0, 0, 0, 0] > 128)
        seen.add(mirrored)
        expected = turned + [1, 0, 0] if mirrored else face
        np.testing.assert_allclose(batch["landmarks"][0], expected, atol=1e-6)
    assert seen == {True, False}
    seen = set()
    for batch in take(atom_batches(tmp_path / "set", "train", 1, **options), 8):
        frontal = batch["motion"][0] / MOTION_SCALE + MEAN_FACE
        mirrored = not np.allclose(frontal, face - 0.5, atol=1e-5)
        seen.add(mirrored)
        expected = turned + [0.5, 0, 0] - [0, 0.5, 0.5] if mirrored else face - 0.5
        np.testing.assert_allclose(frontal, expected, atol=1e-5)
    assert seen == {True, False}


def test_a_split_too_large_to_cache_gives_the_same_kind_of_batches(dataset, monkeypatch):
    monkeypatch.setattr(streams, "CACHE_BYTES", 0)
    monkeypatch.setattr(streams, "SHUFFLE_BYTES", 1)
    seen = take(clip_batches(dataset, "train", 4, seed=0, num_frames=WINDOW), 20)
    values = {int(round(b["video"][i, 0, 0, 0, 0] / 2)) for b in seen for i in range(4)}
    assert len(values) > 20


@pytest.mark.parametrize("make", [atom_batches, clip_batches])
def test_evaluation_is_one_pass_with_fixed_windows(dataset, make):
    def batches(**options):
        return list(make(dataset, "validation", 2, seed=None, num_frames=WINDOW, **options))

    padded = batches()
    assert [len(next(iter(b.values()))) for b in padded] == [2, 2, 2]
    assert_same(padded, batches())
    for array in padded[-1].values():
        np.testing.assert_array_equal(array[1], array[0])
    assert_same(padded[:2], batches(remainder="drop"))


def test_evaluation_windows_are_the_middle_of_the_clip(dataset):
    batches = clip_batches(dataset, "validation", 1, seed=None, num_frames=3)
    starts = sorted(round(float(b["landmarks"][0, 0, 0, 0]) * 1000) for b in batches)
    assert starts == [room // 2 for room in (17, 18, 19, 20, 21)]


def test_processes_share_a_split_without_overlap(dataset):
    shares = []
    for index in range(2):
        share = {"process_index": index, "process_count": 2}
        batches = take(clip_batches(dataset, "train", 2, seed=5, num_frames=8, **share), 20)
        grey = np.concatenate([b["video"][:, 0, 0, 0, 0].astype(int) for b in batches])
        times = np.concatenate([b["landmarks"][:, 0, 0, 0] * 1000 for b in batches])
        shares.append(set(np.round((grey - 2 * times) / 20).astype(int)))
    assert not shares[0] & shares[1]
    assert shares[0] | shares[1] == set(range(5))
    with pytest.raises(InputError, match="1 records for 2 processes"):
        clip_batches(dataset, "short", 1, seed=0, process_count=2)


def test_frames_can_be_resized(dataset):
    (batch,) = take(clip_batches(dataset, "validation", 5, seed=None, resolution=16), 2)
    assert batch["video"].shape == (5, 16, 16, 16, 3)
    times = batch["landmarks"][:, :, 0, 0] * 1000
    np.testing.assert_allclose(batch["video"][..., 0].mean(axis=(2, 3)), 2 * times, atol=1)


def test_clip_windows_see_every_frame_once_in_order(dataset):
    windows = list(clip_windows(dataset, "train", num_frames=WINDOW, stride=8))
    found = {}
    for window in windows:
        found.setdefault(window["name"], []).append(window["start"])
        times = window["landmarks"][:, 0, 0] * 1000
        np.testing.assert_allclose(times, window["start"] + np.arange(WINDOW), atol=1e-3)
        value = 20 * int(window["name"][1:])
        np.testing.assert_allclose(window["video"][:, 5, 5, 1], value + 2 * times, atol=1)
        np.testing.assert_array_equal(window["reference"], window["video"][0])
    assert found == {
        "t1": [0, 8],
        "t2": [0, 8, 14],
        "t3": [0, 8, 16, 19],
        "t4": [0, 8, 16, 24, 28],
    }


@pytest.mark.parametrize("make", [atom_batches, clip_batches])
def test_a_missing_split_is_told_at_once(dataset, make, tmp_path):
    with pytest.raises(InputError, match="no split 'test'; it has short, train, validation"):
        make(dataset, "test", 2, seed=0)
    with pytest.raises(InputError, match="is not a data set"):
        make(tmp_path, "train", 2, seed=0)


@pytest.mark.parametrize("seed", [0, None])
def test_a_split_of_clips_too_short_is_told(dataset, seed):
    with pytest.raises(InputError, match="no clip of split 'short' has 16 frames"):
        next(clip_batches(dataset, "short", 1, seed=seed))
    with pytest.raises(InputError, match="no clip of split 'short' has 16 frames"):
        next(clip_windows(dataset, "short"))
