"""Latent shards: written, read back, and refused where they do not fit."""

import itertools

import numpy as np
import pytest

from data_pipelines.builder import load_metadata, write_dataset
from data_pipelines.latents import latent_batches, load_latent_metadata, write_latents
from data_pipelines.records import LATENT_NAMES, latent_metadata, latent_shape
from moditalker_jax.errors import InputError
from tests.clips import make_clip, make_metadata

METADATA = latent_metadata(
    plane_sizes={"xy": (4, 4), "yt": (2, 4), "xt": (2, 4)},
    latent_channels=3,
    autoencoder="runs/autoencoder@100",
    landmark_autoencoder="runs/landmark_autoencoder@50",
    stride=8,
)
SHAPE = (32, 3)


def make_window(index, **changes):
    values = np.random.default_rng(index).uniform(-1, 1, (4, *SHAPE)).astype(np.float32)
    latents = dict(zip(LATENT_NAMES, values, strict=True))
    return {"name": f"clip{index // 2}", "start": 8 * (index % 2), **latents, **changes}


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    directory = tmp_path_factory.mktemp("latents") / "set"
    splits = {"train": map(make_window, range(6)), "validation": map(make_window, range(6, 9))}
    write_latents(directory, splits, METADATA)
    return directory


def index_of(video):
    """Which window a latent was made as."""
    errors = [np.abs(make_window(i)["video"] - video).max() for i in range(9)]
    return int(np.argmin(errors))


def test_metadata_travels_and_tells_the_shape(shards):
    assert load_latent_metadata(shards) == METADATA
    assert METADATA["plane_sizes"] == {"xy": [4, 4], "yt": [2, 4], "xt": [2, 4]}
    assert METADATA["stride"] == 8
    assert latent_shape(METADATA) == SHAPE


def test_one_pass_gives_every_window_to_half_precision(shards):
    batches = list(latent_batches(shards, "validation", 2, seed=None))
    assert [len(batch["video"]) for batch in batches] == [2, 2]
    seen = []
    for batch in batches:
        assert set(batch) == {"name", *LATENT_NAMES}
        for i, video in enumerate(batch["video"]):
            seen.append(index_of(video))
            for name in LATENT_NAMES:
                assert batch[name].dtype == np.float32
                stored = make_window(seen[-1])[name]
                np.testing.assert_allclose(batch[name][i], stored, atol=2**-11)
    assert set(seen[:3]) == {6, 7, 8}
    assert seen[3] == seen[2]
    assert len(list(latent_batches(shards, "validation", 2, seed=None, remainder="drop"))) == 1


def test_audio_that_is_not_there_is_told(shards):
    with pytest.raises(InputError, match="set: holds no audio features"):
        next(latent_batches(shards, "validation", 2, seed=None, audio=True))


def test_training_order_is_shuffled_endless_and_seeded(shards):
    def order(seed):
        batches = itertools.islice(latent_batches(shards, "train", 3, seed=seed), 8)
        return [index_of(video) for batch in batches for video in batch["video"]]

    first = order(0)
    epochs = [first[i : i + 6] for i in range(0, 24, 6)]
    assert all(sorted(epoch) == list(range(6)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1
    assert first == order(0)
    assert first != order(1)
    later = itertools.islice(latent_batches(shards, "train", 3, seed=0, start=5), 3)
    assert first[15:24] == [index_of(video) for batch in later for video in batch["video"]]


def test_processes_share_a_split(shards):
    shares = []
    for index in range(2):
        share = {"process_index": index, "process_count": 2}
        batches = itertools.islice(latent_batches(shards, "train", 3, seed=0, **share), 4)
        shares.append({index_of(video) for batch in batches for video in batch["video"]})
    assert not shares[0] & shares[1]
    assert shares[0] | shares[1] == set(range(6))


@pytest.mark.parametrize("latent", [np.zeros((31, 3)), np.full(SHAPE, np.nan), np.full(SHAPE, 1e6)])
def test_latents_that_do_not_fit_are_refused(tmp_path, latent):
    with pytest.raises(ValueError, match="clip0 at frame 0: pose"), np.errstate(over="ignore"):
        write_latents(tmp_path / "set", {"train": [make_window(0, pose=latent)]}, METADATA)
    assert list(tmp_path.iterdir()) == []


def test_a_window_twice_and_an_empty_split_are_refused(tmp_path):
    with pytest.raises(InputError, match="two records are named 'clip0@000000'"):
        write_latents(tmp_path / "set", {"train": [make_window(0)] * 2}, METADATA)
    with pytest.raises(InputError, match="there is nothing to write"):
        write_latents(tmp_path / "set", {"train": []}, METADATA)


def test_clips_and_latents_are_not_taken_for_each_other(shards, tmp_path):
    clips = tmp_path / "clips"
    write_dataset(clips, {"train": [make_clip("a", 4)]}, make_metadata())
    with pytest.raises(InputError, match="holds talking_heads, not talking_head_latents"):
        latent_batches(clips, "train", 1, seed=0)
    with pytest.raises(InputError, match="holds talking_head_latents, not talking_heads"):
        load_metadata(shards)
    with pytest.raises(InputError, match="make one with `python -m moditalker_jax.encode_latents`"):
        latent_batches(tmp_path, "train", 1, seed=0)
    with pytest.raises(InputError, match="no split 'test'"):
        latent_batches(shards, "test", 1, seed=0)
