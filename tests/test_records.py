"""The record contract, and data sets written and opened again."""

import dataclasses

import numpy as np
import pytest

from data_pipelines.builder import load_metadata, write_dataset
from data_pipelines.quiet_tensorflow import tf, tfds
from data_pipelines.records import check_audio_encoder, pcm16
from moditalker_jax.errors import InputError
from tests.clips import MEAN_FACE, make_clip, make_metadata


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    directory = tmp_path_factory.mktemp("data") / "deep" / "set"
    splits = {
        "train": (make_clip(f"clip{i}", 4 + i) for i in range(3)),
        "validation": [make_clip("long", 25)],
    }
    write_dataset(directory, splits, make_metadata(seed=7), max_clip_frames=10)
    return directory


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("frames", np.zeros((6, 8, 9, 3), np.uint8)),
        ("frames", np.zeros((6, 8, 8, 3), np.float32)),
        ("landmarks", np.zeros((5, 68, 3), np.float32)),
        ("landmarks", np.full((6, 68, 3), np.nan, np.float32)),
        ("frontal_landmarks", np.zeros((6, 68, 2), np.float32)),
        ("audio_features", np.zeros((6, 5), np.float32)),
        ("audio", np.zeros(6 * 640, np.float32)),
        ("audio", np.zeros(6 * 640 + 1, np.int16)),
    ],
)
def test_a_clip_whose_parts_disagree_is_refused(field, value):
    with pytest.raises(ValueError, match=f"clip bad: {field}"):
        dataclasses.replace(make_clip("bad", 6), **{field: value})


def test_pieces_cover_a_long_clip_and_keep_its_parts_together():
    clip = make_clip("long", 25)
    pieces = list(clip.pieces(10))
    assert [len(piece) for piece in pieces] == [8, 9, 8]
    assert [piece.name for piece in pieces] == ["long-000000", "long-000008", "long-000017"]
    for field in ("frames", "landmarks", "frontal_landmarks", "audio_features", "audio"):
        joined = np.concatenate([getattr(piece, field) for piece in pieces])
        np.testing.assert_array_equal(joined, getattr(clip, field))
    assert pieces[1].audio_features[0, 0] == 2 * pieces[1].frontal_landmarks[0, 0, 0]
    assert pieces[1].audio[0] == pieces[1].frontal_landmarks[0, 0, 0]
    assert list(clip.pieces(25)) == [clip]


def test_pcm16_cuts_pads_and_clips():
    waveform = np.array([0.5, -2.0, 2.0], np.float32)
    samples = pcm16(waveform, 1)
    assert samples.shape == (640,)
    np.testing.assert_array_equal(samples[:4], [16384, -32767, 32767, 0])
    assert pcm16(np.ones(2000, np.float32), 2).shape == (1280,)


def test_tfds_opens_what_was_written(dataset):
    builder = tfds.builder_from_directory(str(dataset))
    assert builder.info.splits["train"].num_examples == 3
    assert builder.info.splits["validation"].num_examples == 3
    assert dict(builder.info.metadata) == make_metadata(seed=7)
    records = {r["name"]: r for r in tfds.as_numpy(builder.as_dataset(split="train"))}
    for i in range(3):
        clip, record = make_clip(f"clip{i}", 4 + i), records[f"clip{i}".encode()]
        assert record["speaker"] == b"nobody"
        for field in ("landmarks", "frontal_landmarks", "audio_features", "audio"):
            np.testing.assert_array_equal(record[field], getattr(clip, field))
            assert record[field].dtype == getattr(clip, field).dtype
        np.testing.assert_allclose(record["frames"], clip.frames, atol=1)


def test_metadata_travels(dataset):
    metadata = load_metadata(dataset)
    assert metadata == make_metadata(seed=7)
    np.testing.assert_array_equal(metadata["mean_face"], MEAN_FACE)


def test_colour_keeps_its_full_resolution(tmp_path):
    stripes = np.zeros((32, 32, 3), np.uint8)
    stripes[::2] = [200, 60, 60]
    stripes[1::2] = [60, 60, 200]
    clip = dataclasses.replace(make_clip("stripes", 2), frames=np.stack([stripes] * 2))
    write_dataset(tmp_path / "set", {"train": [clip]}, make_metadata())
    builder = tfds.builder_from_directory(str(tmp_path / "set"))
    (record,) = tfds.as_numpy(builder.as_dataset(split="train"))
    assert np.abs(record["frames"].astype(int) - clip.frames).max() <= 12


def test_a_failure_while_writing_leaves_nothing(tmp_path):
    def clips():
        yield make_clip("one", 4)
        raise InputError("two.mp4: no face")

    with pytest.raises(InputError, match=r"two\.mp4: no face"):
        write_dataset(tmp_path / "set", {"train": clips()}, make_metadata())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("clips", "message"),
    [([], "'train': there is nothing"), ([make_clip("a", 4)] * 2, "two records are named 'a'")],
)
def test_empty_splits_and_twins_are_refused(tmp_path, clips, message):
    with pytest.raises(InputError, match=message):
        write_dataset(tmp_path / "set", {"train": clips}, make_metadata())
    assert list(tmp_path.iterdir()) == []


def test_clips_must_fit_the_metadata(tmp_path):
    metadata = make_metadata() | {"resolution": 64}
    with pytest.raises(ValueError, match="clip a"):
        write_dataset(tmp_path / "set", {"train": [make_clip("a", 4)]}, metadata)


def test_an_existing_folder_is_never_overwritten(dataset, tmp_path):
    def never_read():
        raise AssertionError("the work began before the folder was checked")
        yield

    with pytest.raises(InputError, match="not empty"):
        write_dataset(dataset, {"train": never_read()}, make_metadata())
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(InputError, match="is a file"):
        write_dataset(blocked, {"train": never_read()}, make_metadata())
    with pytest.raises(InputError, match="cannot be written"):
        write_dataset(blocked / "set", {"train": never_read()}, make_metadata())


def test_a_folder_that_is_no_data_set_names_the_commands(tmp_path):
    for directory, what in ((tmp_path, "is not a data set"), (tmp_path / "no", "does not exist")):
        with pytest.raises(InputError, match=what) as error:
            load_metadata(directory)
        assert "python -m data_pipelines.prepare" in str(error.value)
        assert "python -m data_pipelines.synthetic" in str(error.value)
    (tmp_path / "dataset_info.json").write_text("{}")
    with pytest.raises(InputError, match="cannot be read as a data set"):
        load_metadata(tmp_path)


def test_another_audio_encoder_is_refused():
    metadata = make_metadata()
    own = metadata["audio_encoder"]
    check_audio_encoder(metadata, dict(own), where="runs/x")
    for other in ({"name": "hubert"}, {"width": 80}, {"version": 7}):
        with pytest.raises(InputError, match=f"runs/x was .*{next(iter(other.values()))}.*log_mel"):
            check_audio_encoder(metadata, own | other, where="runs/x")


def test_tensorflow_sees_no_accelerator():
    assert tf.config.get_visible_devices("GPU") == []
