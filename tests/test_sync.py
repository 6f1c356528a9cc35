"""How late a clip's sound is: the estimate of it, and that reading any frame rate adds nothing."""

from fractions import Fraction

import av
import numpy as np
import pytest

from data_pipelines.prepare.sync import estimate_offset
from data_pipelines.synthetic.articulation import random_motion
from data_pipelines.synthetic.head import expressions, get_head
from data_pipelines.synthetic.phonemes import random_utterance
from data_pipelines.synthetic.speakers import get_speaker
from data_pipelines.synthetic.voice import synthesize
from moditalker_jax.media.video import iterate_frames, read_video_audio


def utterance(speaker: int, seconds: float = 6.4) -> tuple[np.ndarray, np.ndarray]:
    """Frontal landmarks (T, 68, 3) and sound of a synthetic head, without its pictures."""
    rng = np.random.default_rng([speaker, 77])
    person, num_frames = get_speaker(speaker), round(25 * seconds)
    segments = random_utterance(rng, seconds, person.rate)
    audio = synthesize(segments, pitch=person.pitch, formant_scale=person.formant_scale, rng=rng)
    motion = random_motion(segments, num_frames, rng)
    audio = np.pad(audio, (0, 640))[: 640 * num_frames]
    return expressions(get_head(speaker), motion), audio


@pytest.mark.parametrize("speaker", range(3))
def test_known_offsets_are_found_to_a_frame(speaker):
    landmarks, audio = utterance(speaker)
    errors = []
    for frames in range(-5, 6):
        moved = np.roll(audio, 640 * frames)  # later by so many frames
        estimate = estimate_offset(landmarks, moved)
        assert estimate.is_trusted
        errors.append(estimate.offset_ms - 40 * frames)
    assert np.mean(np.abs(errors)) < 40


def test_sound_of_another_utterance_is_not_trusted():
    landmarks, _ = utterance(0, 10.0)
    _, audio = utterance(4, 10.0)
    right = estimate_offset(*utterance(0, 10.0)).confidence
    assert estimate_offset(landmarks, audio).confidence < right / 2


def test_a_still_face_tells_nothing():
    landmarks, audio = utterance(0)
    estimate = estimate_offset(np.broadcast_to(landmarks[:1], landmarks.shape), audio)
    assert not estimate.is_trusted


MINUTES = 10
TICKS = 90_000


def picture_times(rate) -> np.ndarray:
    """In ticks, of a video of ten minutes; "variable" jumps between 15 and 60 frames a second."""
    if rate == "variable":
        rng = np.random.default_rng(0)
        seconds = np.cumsum(rng.uniform(1 / 60, 1 / 15, 60 * MINUTES * 30))
        seconds = np.concatenate([[0.0], seconds[seconds < 60 * MINUTES]])
    else:
        seconds = np.arange(round(60 * MINUTES * rate)) / float(rate)
    return np.round(seconds * TICKS).astype(int)


def write_mouth(path, rate, opening, audio) -> None:
    """Pictures as bright as the mouth is open at their times, with the sound beside."""
    times = picture_times(rate)
    levels = np.interp(times / TICKS, np.arange(len(opening)) / 25, 30 + 190 * opening)
    with av.open(str(path), "w") as container:
        pictures = container.add_stream("libx264", rate=60, options={"preset": "ultrafast"})
        pictures.width = pictures.height = 32
        pictures.pix_fmt = "yuv420p"
        pictures.codec_context.time_base = Fraction(1, TICKS)
        sound = container.add_stream("aac", rate=16_000, layout="mono")
        for index, (time, level) in enumerate(zip(times.tolist(), levels, strict=True)):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), level, np.uint8), "rgb24")
            frame.pts, frame.time_base = time, Fraction(1, TICKS)
            container.mux(pictures.encode(frame))
            if index % 250 == 0:
                start = time * 16_000 // TICKS
                stop = times[min(index + 250, len(times) - 1)] * 16_000 // TICKS
                samples = av.AudioFrame.from_ndarray(audio[None, start:stop], "fltp", "mono")
                samples.sample_rate, samples.pts = 16_000, start
                samples.time_base = Fraction(1, 16_000)
                container.mux(sound.encode(samples))
        container.mux(pictures.encode(None))
        container.mux(sound.encode(None))


def lag(found: np.ndarray, true: np.ndarray) -> int:
    """Steps by which `found` trails `true`, from -100 to 100."""
    found, true = found - found.mean(), true - true.mean()
    steps = range(-100, 101)
    inner = true[100:-100]
    scores = [np.dot(found[100 + k : len(found) - 100 + k], inner) for k in steps]
    return steps[int(np.argmax(scores))]


@pytest.fixture(scope="module")
def long_speech() -> tuple[np.ndarray, np.ndarray]:
    """How far the mouth is open in each frame of ten minutes, and the sound."""
    rng = np.random.default_rng(1)
    person = get_speaker(0)
    segments = random_utterance(rng, 60.0 * MINUTES, person.rate)
    audio = synthesize(segments, pitch=person.pitch, formant_scale=person.formant_scale, rng=rng)
    opening = random_motion(segments, 25 * 60 * MINUTES, rng).opening
    return opening, audio.astype(np.float32)


@pytest.mark.parametrize(
    "rate", [24, 25, Fraction(30_000, 1001), 30, 60, "variable"], ids=lambda r: f"{r}"
)
def test_sound_and_mouth_end_ten_minutes_in_step(tmp_path, rate, long_speech):
    opening, audio = long_speech
    write_mouth(tmp_path / "long.mkv", rate, opening, audio)
    levels = [frame.mean() for frame in iterate_frames(tmp_path / "long.mkv")]
    assert abs(len(levels) - len(opening)) <= 1
    heard = read_video_audio(tmp_path / "long.mkv")
    end = 25 * 60 * MINUTES - 50
    mouth = slice(end - 500, end)
    speech = slice(640 * (end - 100), 640 * end)
    lag_of_mouth = 40.0 * lag(np.array(levels)[mouth], opening[mouth])
    lag_of_sound = lag(heard[speech], audio[speech]) / 16.0
    assert abs(lag_of_mouth - lag_of_sound) < 40.0  # ms, a frame
