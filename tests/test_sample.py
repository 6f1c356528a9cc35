"""The command: a video with sound comes out; every bad input is one line and status 2."""

import av
import numpy as np
import pytest

from data_pipelines.synthetic import make_clip
from moditalker_jax.generation import command
from moditalker_jax.media.audio import write_wav
from moditalker_jax.media.image import write_png
from moditalker_jax.media.video import write_video
from tests.checkpoints import write_checkpoint


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    write_checkpoint(folder / "checkpoint")
    clip = make_clip(speaker=0, seed=1, seconds=1.0, resolution=192)
    write_wav(folder / "speech.wav", clip.audio)
    write_wav(folder / "short.wav", clip.audio[:200])
    write_wav(folder / "empty.wav", clip.audio[:0])
    write_png(folder / "face.png", clip.frames[0])
    write_png(folder / "grey.png", np.full((192, 192, 3), 128, np.uint8))
    small = clip.frames[0][::2, ::2]
    two = np.full((192, 320, 3), 90, np.uint8)
    two[:, :192] = clip.frames[0]
    two[48:144, 208:304] = small
    write_png(folder / "two.png", two)
    frames = clip.frames.copy()
    frames[3:5] = 128
    write_video(folder / "gap.mp4", frames, audio=clip.audio)
    frames[3:20] = 128
    write_video(folder / "away.mp4", frames, audio=clip.audio)
    (folder / "noise.mp4").write_bytes(np.random.RandomState(0).bytes(4000))
    (folder / "file").write_text("in the way")
    return folder


def run(folder, capsys, **changes):
    names = {"audio": "speech.wav", "identity": "face.png", "checkpoint": "checkpoint"}
    names |= {"out": "out/video.mp4"} | changes
    arguments = [part for k, v in names.items() for part in (f"--{k}", str(folder / v))]
    status = command.main(arguments)
    lines = capsys.readouterr().err.splitlines()
    return status, [line for line in lines if line.startswith(("error:", "warning:"))]


def test_a_photo_and_speech_give_a_video_with_sound(folder, capsys):
    status, told = run(folder, capsys)
    assert (status, told) == (0, [])
    with av.open(str(folder / "out" / "video.mp4")) as video:
        assert video.streams.video[0].codec_context.name == "h264"
        assert video.streams.audio[0].codec_context.name == "aac"
        assert abs(video.duration / av.time_base - 1.0) <= 0.04


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"audio": "missing.wav"}, "missing.wav"),
        ({"audio": "noise.mp4"}, "noise.mp4"),
        ({"audio": "empty.wav"}, "empty.wav"),
        ({"audio": "short.wav"}, "short.wav"),
        ({"identity": "missing.png"}, "missing.png"),
        ({"identity": "noise.mp4"}, "noise.mp4"),
        ({"identity": "grey.png"}, "no face"),
        ({"identity": "away.mp4"}, "17 of 25 frames"),
        ({"checkpoint": "missing"}, "no such directory"),
        ({"checkpoint": "out"}, "not a checkpoint directory"),
        ({"out": "file/video.mp4"}, "cannot be written"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(folder, capsys, changes, words):
    (folder / "out").mkdir(exist_ok=True)
    (folder / "out" / "video.mp4").unlink(missing_ok=True)
    status, told = run(folder, capsys, **changes)
    errors = [line for line in told if line.startswith("error:")]
    assert status == 2
    assert len(errors) == 1
    assert words in errors[0]
    assert list((folder / "out").iterdir()) == []


def test_of_two_faces_the_larger_is_taken_with_a_warning(folder, capsys):
    status, told = run(folder, capsys, identity="two.png")
    assert status == 0
    assert len(told) == 1
    assert "2 faces; taking the largest" in told[0]


def test_frames_without_a_face_are_counted_in_a_warning(folder, capsys):
    status, told = run(folder, capsys, identity="gap.mp4")
    assert status == 0
    assert len(told) == 1
    assert "no face in 2 of 25 frames" in told[0]
