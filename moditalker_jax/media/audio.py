"""Sound: any container to 16 kHz mono float32, and 16 bit WAV out."""

import logging
import wave
from collections.abc import Iterable
from pathlib import Path

import av
import numpy as np

from moditalker_jax.errors import InputError
from moditalker_jax.media.decoding import decode_frames, open_media
from moditalker_jax.media.files import written_aside
from moditalker_jax.spec import AUDIO_SAMPLE_RATE, FPS

SAMPLES_PER_FRAME = AUDIO_SAMPLE_RATE // FPS
"""Samples of sound beside one video frame: 640, 40 ms."""

_GAP_SECONDS = 0.02
"""Holes in the timestamps longer than this are filled with silence; shorter ones are rounding."""

_log = logging.getLogger(__name__)


def read_audio(path: str | Path, *, start: float | None = None) -> np.ndarray:
    """Reads the first sound track of an audio or video file.

    Args:
      path: any container and codec that FFmpeg reads; channels are mixed to one.
      start: the time of the file, in seconds, that becomes sample 0: earlier sound is cut, and a
        track that begins later is preceded by silence. None starts with the first sample.

    Returns:
      (n,) float32 in [-1, 1] at 16 kHz, n >= 640.

    Raises:
      InputError: missing or unreadable file, no sound track, or sound that is empty, not a number
        throughout, or shorter than one video frame (40 ms).
    """
    with open_media(path) as container:
        if not container.streams.audio:
            raise InputError(f"{path}: has no sound; give a file with an audio track")
        stream = container.streams.audio[0]
        origin, audio = _decode_mono(decode_frames(container, stream, path))
        if "mp4" in container.format.name and stream.duration:
            # aac works in blocks of 1024 samples; mp4 knows how much of the last one is sound.
            audio = audio[: round(stream.duration * stream.time_base * AUDIO_SAMPLE_RATE)]
    return _checked(_from_start(origin, audio, start), path)


def fit_to_frames(audio: np.ndarray, num_frames: int, *, fps: int = FPS) -> np.ndarray:
    """Cuts (n,) 16 kHz sound, or adds silence, to exactly `num_frames` video frames' length."""
    length = round(num_frames * AUDIO_SAMPLE_RATE / fps)
    return np.pad(audio[:length], (0, max(0, length - audio.size)))


def write_wav(path: str | Path, audio: np.ndarray, sample_rate: int = AUDIO_SAMPLE_RATE) -> None:
    """Writes (n,) float sound in [-1, 1] as 16 bit mono WAV; makes the folder.

    Raises:
      InputError: the file cannot be written.
    """
    samples = np.round(np.clip(audio, -1.0, 1.0) * 32767.0).astype("<i2")
    with written_aside(path) as temporary, wave.open(str(temporary), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(samples.itemsize)
        file.setframerate(sample_rate)
        file.writeframes(samples.tobytes())


def _decode_mono(frames: Iterable[av.AudioFrame]) -> tuple[float, np.ndarray]:
    """Resamples frames to 16 kHz mono; returns the first one's time in seconds and (n,) float32."""
    resampler = av.AudioResampler(format="flt", layout="mono", rate=AUDIO_SAMPLE_RATE)
    chunks, origin, expected = [], None, 0.0
    for frame in frames:
        time = expected if frame.time is None else frame.time
        if origin is None:
            origin = expected = time
        gap = round((time - expected) * frame.sample_rate)
        if gap > _GAP_SECONDS * frame.sample_rate:
            chunks += _resample(resampler, _silence_like(frame, gap))
        expected = time + frame.samples / frame.sample_rate
        chunks += _resample(resampler, frame)
    chunks += _resample(resampler, None)
    return origin or 0.0, np.concatenate(chunks)


def _resample(resampler: av.AudioResampler, frame: av.AudioFrame | None) -> list[np.ndarray]:
    """Feeds one frame, or None to flush; returns the sound that came out."""
    if frame is not None:
        frame.pts = None  # Time is kept by counting samples; FFmpeg shall not second-guess it.
    return [out.to_ndarray().reshape(-1) for out in resampler.resample(frame)]


def _silence_like(frame: av.AudioFrame, samples: int) -> av.AudioFrame:
    silence = av.AudioFrame(format=frame.format, layout=frame.layout, samples=samples)
    silence.sample_rate = frame.sample_rate
    for plane in silence.planes:
        plane.update(bytes(plane.buffer_size))
    return silence


def _from_start(origin: float, audio: np.ndarray, start: float | None) -> np.ndarray:
    """Makes the time `start` of the file sample 0 of sound that began at `origin`."""
    offset = 0 if start is None else round((start - origin) * AUDIO_SAMPLE_RATE)
    return audio[offset:] if offset >= 0 else np.pad(audio, (-offset, 0))


def _checked(audio: np.ndarray, path: str | Path) -> np.ndarray:
    """Clips to [-1, 1]; InputError if there is nothing to hear, stray NaNs become silence."""
    if audio.size < SAMPLES_PER_FRAME:
        raise InputError(
            f"{path}: its sound lasts {audio.size / AUDIO_SAMPLE_RATE * 1000:.0f} ms, less than "
            "one video frame (40 ms); give a longer recording"
        )
    bad = np.count_nonzero(~np.isfinite(audio))
    if bad == audio.size:
        raise InputError(f"{path}: its sound holds no numbers (all NaN); export it again")
    if bad:
        _log.warning("%s: %d samples that are not numbers were silenced", path, bad)
    return np.clip(np.nan_to_num(audio, nan=0.0), -1.0, 1.0)
