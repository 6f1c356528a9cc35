"""One video to clips: shots, sound in step, and what is left out."""

import av
import numpy as np
import pytest

from data_pipelines.prepare.clip import Rejected, Settings, crop_clips, read_shots
from data_pipelines.synthetic import make_clip
from moditalker_jax.audio_features import LogMel
from moditalker_jax.faces import FaceFinder
from moditalker_jax.landmarks import MEAN_FACE, mouth_opening
from moditalker_jax.media.video import write_video
from tests.videos import SMALL, KnownFace, source, write_clip


def prepare(path, settings=SMALL, *, finder=None, split="train", **fields):
    """All clips of a video."""
    video = source(path, split=split, **fields)
    reading = read_shots(video, settings, finder=finder or KnownFace(), encoder=LogMel())
    return [clip for _, clip in crop_clips(video, reading, settings)]


def test_a_clip_holds_everything_in_step(tmp_path):
    (clip,) = prepare(write_clip(tmp_path / "a.mp4"))
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
    settings = Settings(resolution=32, min_side=16, audio_offset_ms=offset)
    (clip,) = prepare(write_clip(tmp_path / "a.mp4"), settings)
    click = int(np.abs(clip.audio[:16_000]).argmax())
    assert abs(click - (8000 - 16 * offset)) <= 2
    assert clip.audio.size == 50 * 640
    loudest = clip.audio_features[:50].mean(1).argmax()
    assert abs(loudest - (25 - offset / 20)) <= 1


def test_lost_faces_are_held_and_counted(tmp_path):
    video = source(write_clip(tmp_path / "a.mp4"), split="train")
    finder = KnownFace(lost=(0, 30, 31, 40))
    (shot,) = read_shots(video, SMALL, finder=finder, encoder=LogMel()).shots
    assert shot.held == 4
    np.testing.assert_array_equal(shot.landmarks[0], shot.landmarks[1])
    np.testing.assert_array_equal(shot.landmarks[30], shot.landmarks[29])
    np.testing.assert_array_equal(shot.landmarks[31], shot.landmarks[29])


def test_a_part_of_a_video_is_cut_where_it_was_asked_for(tmp_path):
    shades = [np.full((48, 64, 3), 40 + 3 * k, np.uint8) for k in range(60)]
    audio = np.random.default_rng(0).normal(0, 0.1, 60 * 640).astype(np.float32)
    write_video(tmp_path / "a.mp4", shades, audio=audio)
    settings = Settings(resolution=32, min_side=16)
    (clip,) = prepare(tmp_path / "a.mp4", settings, start=0.8, stop=2.0, crop=(8, 4, 48, 44))
    assert len(clip) == 30
    np.testing.assert_allclose(clip.frames.mean((1, 2, 3)), 40 + 3 * np.arange(20, 50), atol=2)
    heard = clip.audio / 32767
    assert np.corrcoef(heard, audio[20 * 640 : 50 * 640])[0, 1] > 0.9


def test_shots_become_clips_of_their_own(tmp_path):
    rng = np.random.default_rng(0)
    scenes = [rng.integers(30, 220, (6, 8, 3), np.uint8).repeat(8, 0).repeat(8, 1) for _ in "ab"]
    frames = [scenes[0]] * 30 + [scenes[1]] * 20 + [scenes[0]] * 10
    sound = np.repeat(np.linspace(0.1, 0.5, 60), 640) * np.sin(np.arange(60 * 640))
    write_video(tmp_path / "cut.mp4", frames, audio=sound.astype(np.float32))
    finder = KnownFace()
    video = source(tmp_path / "cut.mp4", split="train")
    reading = read_shots(video, SMALL, finder=finder, encoder=LogMel())
    assert [(shot.start, len(shot)) for shot in reading.shots] == [(0, 30), (30, 20)]
    assert [(start, left.reason) for start, left in reading.left_out] == [(50, "too_short")]
    assert finder.forgotten == 2
    clips = [clip for _, clip in crop_clips(video, reading, SMALL)]
    assert [clip.name for clip in clips] == ["cut-000000", "cut-000030"]
    loudness = np.abs(clips[1].audio / 32767).reshape(20, 640).mean(1)
    expected = np.linspace(0.1, 0.5, 60)[30:50] * 2 / np.pi
    np.testing.assert_allclose(loudness[2:-2], expected[2:-2], rtol=0.1)


def test_fast_motion_is_no_cut(tmp_path):
    rng = np.random.default_rng(0)
    scene = rng.integers(30, 220, (12, 60, 3), np.uint8).repeat(4, 0).repeat(4, 1)
    frames = [np.ascontiguousarray(scene[:, 3 * k : 3 * k + 64]) for k in range(40)]
    write_video(tmp_path / "pan.mp4", frames, audio=rng.normal(0, 0.1, 40 * 640))
    assert len(prepare(tmp_path / "pan.mp4")) == 1


@pytest.mark.parametrize(
    ("options", "reason", "message"),
    [
        ({"dark": range(50)}, "no_face", "no face in 50 of 50"),
        ({"sound": False}, "no_sound", "no sound"),
        ({"level": 0.0}, "silent_sound", "silent"),
        ({"seconds": 0.4}, "too_short", "too few"),
    ],
)
def test_videos_that_cannot_be_prepared(tmp_path, options, reason, message):
    path = write_clip(tmp_path / "bad.mp4", **options)
    with pytest.raises(Rejected, match=message) as caught:
        prepare(path)
    assert caught.value.reason == reason
    assert str(path) in str(caught.value)


def test_small_faces_are_left_out(tmp_path):
    with pytest.raises(Rejected, match="fewer than 64") as caught:
        prepare(write_clip(tmp_path / "a.mp4"), Settings(resolution=32, min_side=64))
    assert caught.value.reason == "too_small"


def test_several_faces_of_like_size_are_left_out(tmp_path):
    class Crowd(KnownFace):
        def detect(self, frame):
            face = type("Detection", (), {"area": 100.0})
            return [face, face]

    with pytest.raises(Rejected, match="several faces") as caught:
        prepare(write_clip(tmp_path / "a.mp4"), finder=Crowd())
    assert caught.value.reason == "several_faces"


def test_sound_of_another_length_is_left_out(tmp_path):
    frames = [np.full((48, 64, 3), 128, np.uint8)] * 50
    write_video(tmp_path / "long.mp4", frames, audio=np.full(50 * 640, 0.1, np.float32))
    # The second half of the pictures, under all of the sound.
    path = tmp_path / "bad.mkv"
    with av.open(str(tmp_path / "long.mp4")) as old, av.open(str(path), "w") as new:
        streams = {s.index: new.add_stream_from_template(s) for s in old.streams}
        for packet in old.demux():
            late = packet.pts is not None and float(packet.pts * packet.time_base) >= 1.0
            if packet.dts is not None and not (packet.stream.type == "video" and late):
                packet.stream = streams[packet.stream.index]
                new.mux(packet)
    with pytest.raises(Rejected, match="sound lasts 2") as caught:
        prepare(path)
    assert caught.value.reason == "lengths_differ"


def test_found_lips_follow_the_drawn_ones(tmp_path):
    drawn = make_clip(speaker=1, seed=3, seconds=4.4, resolution=160)
    write_video(tmp_path / "talking.mp4", drawn.frames, audio=drawn.audio)
    (clip,) = prepare(tmp_path / "talking.mp4", Settings(resolution=128), finder=FaceFinder())
    found = mouth_opening(clip.frontal_landmarks)
    assert np.corrcoef(found, mouth_opening(drawn.landmarks))[0, 1] > 0.8
