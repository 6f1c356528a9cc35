"""Preparing videos: the split's rule, sound in step, bad files left out, and the command."""

import os

import numpy as np
import pytest

from data_pipelines.builder import load_metadata
from data_pipelines.loader import atom_batches, clip_batches
from data_pipelines.prepare.__main__ import main
from data_pipelines.prepare.batch import prepare_dataset
from data_pipelines.prepare.clip import prepare_clip
from data_pipelines.prepare.split import held_out_tail, held_out_videos, list_videos
from data_pipelines.synthetic import make_clip
from moditalker_jax.audio_features import LogMel
from moditalker_jax.errors import InputError
from moditalker_jax.faces import FaceFinder
from moditalker_jax.landmarks import MEAN_FACE, mouth_opening
from moditalker_jax.media.video import write_video


class KnownFace:
    """A finder that puts a face, the mean face, in the middle of every frame but the dark ones."""

    def track(self, frames):
        tracked = []
        for index, frame in enumerate(frames):
            side = min(frame.shape[:2])
            face = MEAN_FACE * [1, -1, 1] * (0.2 * side) + [frame.shape[1] / 2, side / 2, 0]
            face[60:64, 1] += index % 5
            tracked.append(face if frame.mean() > 20 else np.full((68, 3), np.nan))
        return np.array(tracked, np.float32).reshape(-1, 68, 3)


def write_clip(path, seconds=2.0, *, dark=(), sound=True):
    """A picture that darkens in the frames `dark`, with a click at the start of each second."""
    count = round(seconds * 25)
    frames = [np.full((48, 64, 3), 0 if k in dark else 128, np.uint8) for k in range(count)]
    audio = np.random.default_rng(0).normal(0, 1e-3, count * 640).astype(np.float32)
    audio[8000::16_000] = 0.9
    write_video(path, frames, audio=audio if sound else None)
    return path


def prepare(path, **options):
    return prepare_clip(path, resolution=32, finder=KnownFace(), encoder=LogMel(), **options)


@pytest.fixture(scope="module")
def talking_head(tmp_path_factory):
    """A synthetic clip and the video file of it."""
    clip = make_clip(speaker=1, seed=3, seconds=4.4, resolution=160)
    path = tmp_path_factory.mktemp("videos") / "talking.mp4"
    write_video(path, clip.frames, audio=clip.audio)
    return clip, path


def test_a_clip_holds_everything_in_step(tmp_path):
    clip = prepare(write_clip(tmp_path / "a.mp4"))
    assert (clip.name, clip.speaker) == ("a", "a")
    assert clip.frames.shape == (50, 32, 32, 3)
    assert clip.landmarks.shape == clip.frontal_landmarks.shape == (50, 68, 3)
    assert clip.audio_features.shape == (100, 80)
    assert clip.audio.size == 50 * 640
    assert abs(int(np.abs(clip.audio[:16_000]).argmax()) - 8000) <= 2
    assert clip.landmarks[..., :2].min() > 0 and clip.landmarks[..., :2].max() < 1
    np.testing.assert_allclose(
        clip.frontal_landmarks[:, 17:60], np.tile(MEAN_FACE[17:60], (50, 1, 1)), atol=1e-4
    )


@pytest.mark.parametrize("offset", [120.0, -200.0])
def test_the_sound_is_moved_against_the_picture(tmp_path, offset):
    clip = prepare(write_clip(tmp_path / "a.mp4"), audio_offset_ms=offset)
    click = int(np.abs(clip.audio[:16_000]).argmax())
    assert abs(click - (8000 - 16 * offset)) <= 2
    assert clip.audio.size == 50 * 640
    loudest = clip.audio_features[:50].mean(1).argmax()
    assert abs(loudest - (25 - offset / 20)) <= 1


def test_lost_faces_are_held_with_a_warning(tmp_path, caplog):
    clip = prepare(write_clip(tmp_path / "a.mp4", dark=(0, 1, 20)))
    np.testing.assert_array_equal(clip.landmarks[0], clip.landmarks[2])
    np.testing.assert_array_equal(clip.landmarks[20], clip.landmarks[19])
    assert "3 of 50" in caplog.text


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"dark": range(20)}, "no face in 20 of 50"),
        ({"dark": range(50)}, "no face"),
        ({"sound": False}, "no sound"),
        ({"seconds": 0.4}, "too few"),
    ],
)
def test_videos_that_cannot_be_prepared(tmp_path, options, reason):
    path = write_clip(tmp_path / "bad.mp4", **options)
    with pytest.raises(InputError, match=reason) as caught:
        prepare(path)
    assert str(path) in str(caught.value)


def test_videos_are_found_and_named_once(tmp_path):
    for name in ("b/1.mp4", "a/1.mp4", "a/deep/2.MOV", "a/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    videos = list_videos([tmp_path / "a", tmp_path / "b" / "1.mp4", tmp_path / "a" / "1.mp4"])
    assert {name: path.name for name, path in videos.items()} == {
        "1": "1.mp4",
        "deep/2": "2.MOV",
        "1-2": "1.mp4",
    }
    (tmp_path / "c").mkdir()
    with pytest.raises(InputError, match="no video files"):
        list_videos([tmp_path / "c"])


def test_the_rule_of_the_split():
    names = [f"video{k}" for k in range(35)]
    held = held_out_videos(names)
    assert len(held) == 3
    assert held == held_out_videos(names[::-1])
    assert not held_out_videos(names[:9])
    assert [held_out_tail(n) for n in (99, 100, 500, 10_000)] == [0, 25, 50, 300]


def test_one_bad_video_does_not_end_the_batch(tmp_path, capsys):
    videos = {
        "good": write_clip(tmp_path / "good.mp4", seconds=6.0),
        "missing": tmp_path / "missing.mp4",
        "dark": write_clip(tmp_path / "dark.mp4", dark=range(50)),
        "other": write_clip(tmp_path / "other.mp4"),
    }
    out = tmp_path / "new" / "shards"
    outcome = prepare_dataset(
        out, videos, resolution=32, encoder=LogMel(), finder=KnownFace(), max_seconds=3.0
    )
    assert outcome.prepared == ["good", "other"]
    assert set(outcome.left_out) == {"missing", "dark"}
    assert outcome.frames == {"train": 125 + 50, "validation": 25}
    errors = capsys.readouterr().err
    assert "missing.mp4" in errors and "dark.mp4" in errors
    assert [path.name for path in out.parent.iterdir()] == ["shards"]
    metadata = load_metadata(out)
    assert (metadata["resolution"], metadata["audio_encoder"]["name"]) == (32, "log_mel")
    batch = next(clip_batches(out, "validation", batch_size=1, seed=None, num_frames=16))
    assert batch["video"].shape == (1, 16, 32, 32, 3)


def test_large_sets_hold_out_whole_videos(tmp_path):
    source = write_clip(tmp_path / "a.mp4", seconds=1.0)
    videos = {f"video{k}": source for k in range(11)}
    outcome = prepare_dataset(
        tmp_path / "out", videos, resolution=16, encoder=LogMel(), finder=KnownFace()
    )
    assert outcome.frames == {"train": 250, "validation": 25}


def test_the_command_says_what_is_wrong(tmp_path, capsys):
    (tmp_path / "noise.mp4").write_bytes(b"noise" * 100)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("x")
    for out, needle in (("out", "noise.mp4"), ("full", "not empty")):
        arguments = ["--out", str(tmp_path / out), str(tmp_path / "noise.mp4")]
        assert main(arguments) == 2
        errors = capsys.readouterr().err
        assert needle in errors and "error: " in errors
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full", "noise.mp4"]


def test_the_command_prepares_a_talking_head(tmp_path, talking_head, capsys):
    _, path = talking_head
    out = tmp_path / "shards"
    assert main(["--out", str(out), "--resolution", "64", str(path)]) == 0
    assert "prepared 1; 3.4 s train, 1.0 s validation" in capsys.readouterr().out
    batch = next(atom_batches(out, "train", batch_size=1, seed=0, num_frames=32))
    assert np.abs(batch["motion"]).max() < 3
    assert batch["audio_features"].shape == (1, 64, 80)


def test_found_lips_follow_the_drawn_ones(talking_head):
    truth, path = talking_head
    clip = prepare_clip(path, resolution=128, finder=FaceFinder(), encoder=LogMel())
    opening = mouth_opening(clip.frontal_landmarks)
    drawn = mouth_opening(truth.landmarks)
    assert np.corrcoef(opening, drawn)[0, 1] > 0.8


@pytest.mark.real_media
@pytest.mark.skipif("REAL_MEDIA" not in os.environ, reason="REAL_MEDIA names no folder of videos")
def test_real_lips_move_with_their_sound():
    """Over a folder of videos the lips open where the voice is loud.

    Loudness tells only part of what a mouth does, so single videos may fail to show it: the
    median is judged, every video is printed.
    """
    finder, best = FaceFinder(), []
    for path in list_videos([os.environ["REAL_MEDIA"]]).values():
        clip = prepare_clip(path, resolution=128, finder=finder, encoder=LogMel())
        opening = mouth_opening(clip.frontal_landmarks)[8:-8]
        loudness = clip.audio_features.reshape(len(clip), -1).mean(1)
        by_lag = [
            np.corrcoef(opening, loudness[8 + lag : len(clip) - 8 + lag])[0, 1]
            for lag in range(-8, 9)
        ]
        best.append(max(by_lag))
        lag = int(np.argmax(by_lag)) - 8
        print(f"{path}: sound late by {40 * lag} ms, correlation {best[-1]:.2f}")
    assert np.median(best) > 0.2
