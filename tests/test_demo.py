"""The shipped checkpoint: its demo runs and shows a face that the finder finds."""

import av
import pytest

from moditalker_jax.demo.__main__ import CHECKPOINT, main
from moditalker_jax.faces import FaceFinder
from moditalker_jax.media.image import read_image
from moditalker_jax.media.video import read_video

SECONDS = 2.0


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo")
    assert main(["--out", str(out), "--seconds", str(SECONDS)]) == 0
    return out


def test_the_video_has_h264_aac_and_the_audios_length(out):
    with av.open(str(out / "talking.mp4")) as video:
        assert video.streams.video[0].codec_context.name == "h264"
        assert video.streams.audio[0].codec_context.name == "aac"
        assert abs(video.duration / av.time_base - SECONDS) <= 0.04


def test_the_face_is_found_in_nearly_every_frame(out):
    frames = read_video(out / "talking.mp4").frames
    assert frames.shape[1:] == (128, 128, 3)
    finder = FaceFinder()
    found = [bool(finder.find(frame)) for frame in frames]
    assert sum(found) >= 0.95 * len(found)


def test_an_overview_picture_is_left(out):
    assert read_image(out / "frames.png").shape == (3 * 128, 6 * 128, 3)


def test_the_checkpoint_is_small_enough_to_ship():
    size = sum(path.stat().st_size for path in CHECKPOINT.rglob("*") if path.is_file())
    assert size <= 25e6
