"""Audio features: count, alignment with the video frames, loudness, range."""

import numpy as np
import pytest

from moditalker_jax.audio_features import (
    LogMel,
    count_frames,
    get_audio_encoder,
    normalise_loudness,
)
from moditalker_jax.errors import InputError


def voice(seconds=4.0, seed=0):
    """Syllables: harmonics of a gliding pitch, four times a second, with pauses and faint noise."""
    rng = np.random.default_rng(seed)
    times = np.arange(round(seconds * 16_000)) / 16_000
    phase = 2 * np.pi * np.cumsum(120 + 20 * np.sin(2 * np.pi * 0.7 * times)) / 16_000
    tone = sum(np.sin(k * phase) / k for k in range(1, 40))
    envelope = np.clip(np.sin(2 * np.pi * 4 * times), 0, 1) * (times % 2 < 1.4)
    return (0.1 * tone * envelope + rng.normal(0, 1e-4, times.size)).astype(np.float32)


@pytest.mark.parametrize(
    ("samples", "frames"), [(1, 1), (640, 1), (959, 1), (961, 2), (1280, 2), (16_000, 25)]
)
def test_two_features_for_each_frame(samples, frames):
    assert count_frames(samples) == frames
    features = LogMel()(np.full(samples, 0.01, np.float32))
    assert features.shape == (2 * frames, 80) and features.dtype == np.float32
    assert np.isfinite(features).all()


@pytest.mark.parametrize("frame", [0, 10, 24])
@pytest.mark.parametrize("half", [0, 1])
def test_a_click_appears_in_its_own_feature(frame, half):
    waveform = np.zeros(16_000, np.float32)
    waveform[640 * frame + 320 * half + 160] = 0.5
    energy = LogMel()(waveform).mean(1)
    assert energy.argmax() == 2 * frame + half
    # The window is centred: what lies before and after hears the click alike.
    if frame == 10:
        centre = 2 * frame + half
        assert energy[centre - 1] == pytest.approx(energy[centre + 1], rel=0.02)


def test_tones_rise_through_the_bands():
    times = np.arange(16_000) / 16_000
    bands = [
        LogMel()(0.1 * np.sin(2 * np.pi * f * times).astype(np.float32))[25].argmax()
        for f in (100, 400, 1000, 3000, 7000)
    ]
    assert bands == sorted(set(bands))


@pytest.mark.parametrize("gain", [0.03, 0.3, 3.0])
def test_loudness_of_the_recording_does_not_matter(gain):
    waveform = voice()
    np.testing.assert_allclose(LogMel()(gain * waveform), LogMel()(waveform), atol=1e-3)


def test_pauses_and_a_click_do_not_move_the_scale():
    waveform = voice()
    scale = np.abs(normalise_loudness(waveform)).max() / np.abs(waveform).max()
    with_pause = np.concatenate([waveform, np.zeros(16_000 * 4, np.float32)])
    clicked = waveform.copy()
    clicked[20_000:20_040] = 1.0
    for changed in (with_pause, clicked):
        changed_scale = np.abs(normalise_loudness(changed)).max() / np.abs(changed).max()
        assert changed_scale == pytest.approx(scale, rel=0.15)


def test_silence_stays_silence():
    assert np.abs(normalise_loudness(np.zeros(6400, np.float32))).max() == 0
    features = LogMel()(np.zeros(6400, np.float32))
    assert np.ptp(features) == 0
    assert features.mean() == pytest.approx(-1.37, abs=0.01)


def test_a_voice_fills_the_normalised_range():
    features = LogMel()(voice())
    assert abs(features.mean()) < 0.7
    assert 0.6 < features.std() < 1.4
    assert features.min() > -1.4 and features.max() < 5


def test_encoders_are_found_by_name():
    encoder = get_audio_encoder("log_mel")
    assert (encoder.name, encoder.width, encoder.version) == ("log_mel", 80, 1)
    with pytest.raises(InputError, match="log_mel"):
        get_audio_encoder("telepathy")
