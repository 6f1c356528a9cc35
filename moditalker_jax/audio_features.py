"""Audio features at 50 Hz, two for every video frame: the slot that HuBERT also fills.

An encoder turns a 16 kHz waveform into (S, D) features, S = 2T for a waveform of T video frames;
features 2t and 2t+1 describe the sound heard while frame t is shown (paper section 3.2).
"""

import importlib
from typing import Protocol

import librosa
import numpy as np

from moditalker_jax.spec import (
    AUDIO_FEATURE_RATE,
    AUDIO_SAMPLE_RATE,
    AUDIO_STEPS_PER_FRAME,
    FPS,
)

HOP = AUDIO_SAMPLE_RATE // AUDIO_FEATURE_RATE
"""Samples from one feature to the next: 320, 20 ms."""


class AudioEncoder(Protocol):
    """What every audio encoder offers. Data sets and checkpoints remember name and version.

    Attributes:
      name: the encoder's registered name.
      width: D, numbers in one feature.
      version: raised whenever the same sound would give other features.
    """

    name: str
    width: int
    version: int

    def __call__(self, waveform: np.ndarray) -> np.ndarray:
        """Features (2T, D) float32 of a 16 kHz waveform (n,) float32, T = `count_frames(n)`."""


def encoder_metadata(encoder: AudioEncoder) -> dict[str, str | int]:
    """What data sets and checkpoints remember of an encoder."""
    return {"name": encoder.name, "width": encoder.width, "version": encoder.version}


RELEASE_AUDIO_ENCODER = {"name": "hubert-large-ls960-ft", "width": 1024, "version": 1}
"""What the authors' release makes its features with, and `speech.encoders.HuBERTFeatures` too."""


def count_frames(num_samples: int) -> int:
    """Video frames of a 16 kHz waveform of `num_samples`: to the nearest frame, at least one."""
    return max(1, round(num_samples * FPS / AUDIO_SAMPLE_RATE))


class LogMel:
    """Log-mel energies: an encoder that needs no weights.

    The waveform is brought to one loudness of active speech (see `normalise_loudness`) and
    pre-emphasised, which levels the fall of speech towards high frequencies. Then 80 mel bands,
    their log, and one fixed mean and deviation, measured on 31 recordings of speech: about
    zero mean and unit variance, from -1.4 (silence) to about 4. Each feature's 64 ms window is
    centred on its own 20 ms of sound.
    """

    name = "log_mel"
    width = 80
    version = 1

    _window = 1024
    _pre_emphasis = 0.97
    _floor = 1e-5
    """Mel energy taken as silence, about 50 dB below loud vowels: it hides the room's noise."""
    _mean = -7.4
    _deviation = 3.0

    def __init__(self):
        self._filters = librosa.filters.mel(
            sr=AUDIO_SAMPLE_RATE, n_fft=self._window, n_mels=self.width, fmin=55.0, fmax=7600.0
        )

    def __call__(self, waveform: np.ndarray) -> np.ndarray:
        """See `AudioEncoder`."""
        steps = AUDIO_STEPS_PER_FRAME * count_frames(waveform.size)
        sound = normalise_loudness(waveform)[: steps * HOP]
        sound = librosa.effects.preemphasis(sound, coef=self._pre_emphasis, zi=np.zeros(1))
        # Windows centred on the middles of the hops, without the silence of `center=True`.
        side = (self._window - HOP) // 2
        padded = np.pad(sound, (side, side + steps * HOP - sound.size))
        spectrum = librosa.stft(padded, n_fft=self._window, hop_length=HOP, center=False)
        energy = self._filters @ np.abs(spectrum) ** 2
        features = (np.log(energy + self._floor) - self._mean) / self._deviation
        return features.T.astype(np.float32)


def normalise_loudness(waveform: np.ndarray, *, target_rms: float = 0.1) -> np.ndarray:
    """Scales a waveform (n,) so that its active speech has one root mean square.

    Active are the 20 ms blocks within 25 dB of the loud ones (the 95th percentile of the blocks'
    energy), so neither pauses nor a single click move the scale. At most 40 dB are added: silence
    stays silence.
    """
    blocks = np.pad(waveform, (0, -waveform.size % HOP)).astype(np.float64).reshape(-1, HOP)
    energy = np.mean(blocks**2, axis=1)
    active = energy[energy >= np.percentile(energy, 95) * 10**-2.5]
    rms = np.sqrt(np.mean(np.minimum(active, np.percentile(energy, 95))))
    return (waveform * (target_rms / max(rms, target_rms / 100))).astype(np.float32)


def get_audio_encoder(name: str) -> AudioEncoder:
    """Makes the encoder of that name.

    Args:
      name: "log_mel"; "whisper-tiny.en", from an installed package; "hubert-large-ls960-ft" and
        other names of published HuBERTs and Whispers, from the hub; or a local folder with one.

    Raises:
      InputError: there is none of that name.
    """
    if name == LogMel.name:
        return LogMel()
    # The others need JAX and transformers, which take seconds to import.
    return importlib.import_module("moditalker_jax.speech.encoders").load_encoder(name)
