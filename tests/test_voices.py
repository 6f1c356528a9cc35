"""Speech in other voices: sound and landmarks stay in step."""

import numpy as np
import pytest

from data_pipelines.builder import load_metadata, read_clips, write_dataset
from data_pipelines.records import dataset_metadata
from data_pipelines.voices import Voice, main, say_again, stretch
from tests.clips import MEAN_FACE, make_clip

RATE = 16_000


def tone(frequency, seconds=1.0):
    return (0.3 * np.sin(2 * np.pi * frequency * np.arange(seconds * RATE) / RATE)).astype("f4")


def pitch(audio):
    return np.abs(np.fft.rfft(audio)).argmax() * RATE / len(audio)


def test_a_voice_is_higher_and_shorter_and_as_loud():
    rng = np.random.default_rng(0)
    said = say_again(tone(400), Voice(speed=1.25), rng)
    assert abs(len(said) - RATE / 1.25) <= 1 and abs(pitch(said) - 500) < 3
    loudness = [np.sqrt(np.mean(x**2)) for x in (tone(400), said)]
    assert abs(loudness[0] / loudness[1] - 1) < 0.05
    np.testing.assert_allclose(say_again(tone(400), Voice(), rng), tone(400), atol=1e-3)


def test_equaliser_room_and_noise_are_heard():
    rng = np.random.default_rng(0)
    both = (tone(250) + tone(4000)) / 2
    dark = say_again(both, Voice(equaliser=(0, 0, 0, 0, 0, 0, -40, -40)), rng)
    spectrum = np.abs(np.fft.rfft(dark))
    assert spectrum[4000] < 0.05 * spectrum[250]
    click = np.zeros(RATE, np.float32)
    click[1000] = 0.5
    assert np.abs(say_again(click, Voice(room=0.3, echo=0.5), rng)[3000:4000]).max() > 1e-4
    noisy = say_again(tone(400), Voice(noise_db=-20), rng)
    noise = noisy - tone(400)
    assert abs(20 * np.log10(noise.std() / tone(400).std()) + 20) < 1


def test_random_voices_differ():
    rng = np.random.default_rng(0)
    speeds = [Voice.random(rng).speed for _ in range(50)]
    assert min(speeds) < 0.9 and max(speeds) > 1.2


def test_landmarks_are_stretched_linearly():
    times = np.broadcast_to(np.arange(10.0)[:, None, None], (10, 68, 3))
    np.testing.assert_allclose(stretch(times, 19)[:, 0, 0], np.arange(19) / 2, atol=1e-6)


@pytest.mark.parametrize("worn", [False, True])
def test_the_command_joins_recordings_to_takes(tmp_path, worn):
    encoder = {"name": "log_mel", "width": 5, "version": 1}
    metadata = dataset_metadata(
        resolution=32,
        audio_encoder=encoder,
        landmark_backend="made_up",
        motion_scale=2.0,
        mean_face=MEAN_FACE,
    )
    clips = [make_clip(f"c{k}", 200) for k in range(6)]
    splits = {"train": clips, "validation": [make_clip("v", 50)]}
    write_dataset(tmp_path / "data", splits, metadata)
    arguments = ["--data", str(tmp_path / "data"), "--out", str(tmp_path / "voices")]
    arguments += ["--voices", "2", "--audio-encoder", "log_mel"]
    arguments += ["--faces", str(tmp_path / "data")] if worn else []
    assert main(arguments) == 0
    made = list(read_clips(tmp_path / "voices", "train"))
    assert load_metadata(tmp_path / "voices")["audio_encoder"]["width"] == 80
    own = [clip for clip in made if clip.name.startswith("train0")]
    assert sum(map(len, own)) == 1200 and len(made) > len(own)
    for clip in made:
        assert len(clip) <= 700 and len(clip.audio_features) == 2 * len(clip)
        motion = clip.frontal_landmarks[:, 0, 0]
        joins = np.flatnonzero(np.diff(motion) < -100) + 1
        for piece in np.split(motion, joins):
            # What is heard beside a frame is that frame's: both run evenly from start to end.
            assert (np.diff(piece) > 0).all()
            assert abs(np.ptp(piece) - 199) < 1e-2
    held_out = list(read_clips(tmp_path / "voices", "validation"))
    np.testing.assert_allclose(held_out[0].frontal_landmarks[:, 0, 0], np.arange(50), atol=1e-4)
