"""Speech from phonemes: a glottal and a noise source, shaped by moving resonances.

The source-filter model of speech. Both sources are made for the whole utterance at once and
filtered in the short-time Fourier domain, where each frame has its own resonances, so that no
Python loop runs over samples.
"""

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.signal import istft, stft

from data_pipelines.synthetic.phonemes import Segment, sample_track
from moditalker_jax.spec import AUDIO_SAMPLE_RATE

CONTROL_RATE = 200
"""Steps a second of every control track (formants, pitch, loudness)."""
_WINDOW = 320
_HOP = 80
_FORMANT_WIDTHS = (70.0, 100.0, 160.0)
_PEAK = 0.6


def _smooth(track: np.ndarray, seconds: float) -> np.ndarray:
    return gaussian_filter1d(track, seconds * CONTROL_RATE, axis=0, mode="nearest")


def _source_levels(segments: list[Segment], times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Voicing and noise amplitude at each control step; a plosive is silent until its burst."""
    voicing = sample_track(segments, "voicing", times)
    noise = sample_track(segments, "noise", times)
    for segment in segments:
        inside = (times >= segment.start) & (times < segment.end)
        if segment.phoneme.burst:
            release = segment.start + segment.phoneme.burst * (segment.end - segment.start)
            noise[inside & (times < release)] = 0.0
        voicing[inside] *= segment.stress
        noise[inside] *= segment.stress
    return _smooth(voicing, 0.010), _smooth(noise, 0.005)


def _pitch(segments: list[Segment], times: np.ndarray, pitch: float) -> np.ndarray:
    knots = np.array([(s.start, s.end) for s in segments]).ravel()
    values = np.array([(s.pitch_start, s.pitch_end) for s in segments]).ravel()
    return pitch * _smooth(np.interp(times, knots, values), 0.03)


def _glottal(frequency: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Derivative of a Rosenberg pulse train with the given frequency (Hz) at each sample."""
    jitter = gaussian_filter1d(rng.standard_normal(frequency.size), 160) * 0.25
    phase = np.cumsum(frequency * (1 + jitter * 0.3)) / AUDIO_SAMPLE_RATE % 1.0
    opening = np.where(phase < 0.4, 0.5 * (1 - np.cos(np.pi * phase / 0.4)), 0.0)
    closing = np.where((phase >= 0.4) & (phase < 0.56), np.cos(np.pi * (phase - 0.4) / 0.32), 0.0)
    return np.diff(opening + closing, prepend=0.0) * 6


def _resonances(formants: np.ndarray, frequencies: np.ndarray) -> np.ndarray:
    """Magnitude of cascaded resonators: (frames, 3) Hz and (bins,) Hz -> (frames, bins)."""
    response = np.ones((formants.shape[0], frequencies.size))
    for index, width in enumerate(_FORMANT_WIDTHS):
        centre = formants[:, index : index + 1]
        detune = centre**2 - frequencies[None] ** 2
        response *= centre**2 / np.sqrt(detune**2 + (width * frequencies[None] + 40) ** 2 + 1.0)
    return np.minimum(response, 30.0)


def _band(bands: np.ndarray, frequencies: np.ndarray) -> np.ndarray:
    centre, width = bands[:, :1], bands[:, 1:]
    return np.exp(-0.5 * ((frequencies[None] - centre) / (0.5 * width)) ** 2)


def synthesize(
    segments: list[Segment], *, pitch: float, formant_scale: float, rng: np.random.Generator
) -> np.ndarray:
    """The sound of an utterance.

    Args:
      segments: what is said, from time 0.
      pitch: the voice's base frequency in Hz.
      formant_scale: 1 for a long vocal tract, about 1.2 for a short one.
      rng: randomness of the noise source and of the pitch's jitter.

    Returns:
      float32 (n,) at 16 kHz in [-0.6, 0.6], n = round(duration * 16000).
    """
    seconds = segments[-1].end
    samples = round(seconds * AUDIO_SAMPLE_RATE)
    times = np.arange(0, seconds + 1 / CONTROL_RATE, 1 / CONTROL_RATE)
    voicing, noise = _source_levels(segments, times)
    formants = _smooth(sample_track(segments, "formants", times), 0.018) * formant_scale
    bands = _smooth(sample_track(segments, "noise_band", times), 0.008)

    clock = np.arange(samples) / AUDIO_SAMPLE_RATE

    def at_samples(track):
        return np.interp(clock, times, track)

    breath = rng.standard_normal(samples)
    voiced = at_samples(voicing) * _glottal(at_samples(_pitch(segments, times, pitch)), rng)
    hiss = at_samples(noise) * breath

    shape = {"fs": AUDIO_SAMPLE_RATE, "nperseg": _WINDOW, "noverlap": _WINDOW - _HOP}
    frequencies, frame_times, voiced_spectrum = stft(voiced, **shape)
    _, _, hiss_spectrum = stft(hiss, **shape)
    index = np.clip(np.round(frame_times * CONTROL_RATE).astype(int), 0, times.size - 1)
    spectrum = (
        voiced_spectrum * _resonances(formants[index], frequencies).T
        + 0.25 * hiss_spectrum * _band(bands[index], frequencies).T
    )
    sound = istft(spectrum, **shape)[1]
    sound = np.pad(sound, (0, max(0, samples - sound.size)))[:samples]
    sound = sound + 1e-4 * breath
    return (_PEAK * sound / (np.abs(sound).max() + 1e-9)).astype(np.float32)
