"""Real videos spoiled in known ways: what is written, and that it is not written twice."""

import numpy as np
import pytest

from data_pipelines.synthetic import make_clip
from moditalker_jax.errors import InputError
from moditalker_jax.evaluation.distortions import DELAY, FOLDERS, write_distorted
from moditalker_jax.media.video import read_video, write_video

LENGTHS = {"ann": 30, "bob": 20}


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    for speaker, (name, length) in enumerate(LENGTHS.items()):
        clip = make_clip(speaker=speaker, seed=2_000_000, seconds=length / 25, resolution=128)
        write_video(folder / f"{name}.mp4", clip.frames, audio=clip.audio)
    return {name: folder / f"{name}.mp4" for name in LENGTHS}


def test_every_distortion_is_what_it_is_called(videos, tmp_path):
    write_distorted(videos, tmp_path, resolution=64)
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.mp4")}
    assert len(stamps) == 2 * (1 + len(FOLDERS))
    read = {
        (folder, name): read_video(tmp_path / folder / f"{name}.mp4")
        for folder in ("real", *FOLDERS.values())
        for name in LENGTHS
    }
    for (_, name), video in read.items():
        assert video.frames.shape == (LENGTHS[name], 64, 64, 3)
        assert video.audio is not None
    real, blurred, late, swapped = (
        read[folder, "ann"].frames.astype(float)
        for folder in ("real", "blurred", "delayed", "swapped")
    )
    assert np.abs(late[DELAY:] - real[:-DELAY]).mean() < 3
    assert np.abs(np.diff(blurred, axis=2)).mean() < 0.8 * np.abs(np.diff(real, axis=2)).mean()
    other = read["real", "bob"].frames.astype(float)
    assert np.abs(swapped[:20] - other).mean() < 3 < np.abs(swapped[:20] - real[:20]).mean()
    np.testing.assert_allclose(swapped[20], swapped[18], atol=40)  # It is played back.

    (tmp_path / "real" / "bob.mp4").unlink()
    write_distorted(videos, tmp_path, resolution=64)
    again = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.mp4")}
    assert all(again[p] == stamps[p] for p in stamps if p.stem == "ann") and len(again) == 8


def test_one_speaker_cannot_be_swapped(videos, tmp_path):
    with pytest.raises(InputError, match="two videos at least"):
        write_distorted({"ann": videos["ann"]}, tmp_path, resolution=64)
