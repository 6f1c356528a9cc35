"""Motion of a talking head: the mouth from its phonemes, and what heads do besides.

Mouth targets are piecewise constant over phonemes and smoothed symmetrically in time, so that a
frame depends on about 100 ms of sound to either side (coarticulation) and is predictable from it.
Closures are smoothed less and multiply the opening, so that m, b and p truly shut the lips.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from data_pipelines.synthetic.phonemes import Segment, sample_track
from moditalker_jax.spec import FPS

_RATE = 200
_COARTICULATION = 0.034
_CLOSURE = 0.016


@dataclass(frozen=True)
class Motion:
    """Tracks over T frames of 25 fps.

    Attributes:
      opening: (T,) 0 closed to about 1.1 wide open.
      spread: (T,) -1 to 1.
      rounding, closure, tuck: (T,) 0 to 1.
      blink: (T,) 0 open to 1 shut.
      brows: (T,) -1 lowered to 1 raised.
      rotation: (T, 3) yaw, pitch and roll in radians.
      translation: (T, 2) right and down, in face units (half a face's width).
      gaze: (T, 2) right and down, -1 to 1.
    """

    opening: np.ndarray
    spread: np.ndarray
    rounding: np.ndarray
    closure: np.ndarray
    tuck: np.ndarray
    blink: np.ndarray
    brows: np.ndarray
    rotation: np.ndarray
    translation: np.ndarray
    gaze: np.ndarray


def mouth_tracks(segments: list[Segment], num_frames: int) -> dict[str, np.ndarray]:
    """Articulators (opening, spread, rounding, closure, tuck) at the middle of each frame."""
    times = np.arange(0, num_frames / FPS + 0.5, 1 / _RATE)
    middles = (np.arange(num_frames) + 0.5) / FPS

    def track(name, seconds):
        raw = sample_track(segments, name, times)
        return gaussian_filter1d(raw, seconds * _RATE, mode="nearest")

    stress = np.array([segment.stress for segment in segments])
    starts = np.array([segment.start for segment in segments])
    stress = stress[np.clip(np.searchsorted(starts, times, side="right") - 1, 0, None)]
    stress = gaussian_filter1d(stress, 0.05 * _RATE, mode="nearest")

    closure = np.clip(1.35 * track("closure", _CLOSURE), 0, 1)
    tuck = np.clip(1.2 * track("tuck", 0.024), 0, 1)
    opening = track("opening", _COARTICULATION) * (0.45 + 0.6 * stress)
    tracks = {
        "opening": opening * (1 - closure) * (1 - 0.75 * tuck),
        "spread": track("spread", 0.045) * (1 - 0.5 * closure),
        "rounding": track("rounding", 0.045),
        "closure": closure,
        "tuck": tuck,
    }
    return {name: np.interp(middles, times, values) for name, values in tracks.items()}


def _wander(rng: np.random.Generator, num_frames: int, seconds: float) -> np.ndarray:
    """A smooth random track of unit variance whose bends last about `seconds`."""
    sigma = seconds * FPS
    margin = int(4 * sigma) + 1
    noise = rng.standard_normal(num_frames + 2 * margin)
    gain = np.sqrt(2 * sigma * np.sqrt(np.pi))
    return np.clip(gain * gaussian_filter1d(noise, sigma)[margin:-margin], -2, 2)


def _blinks(rng: np.random.Generator, num_frames: int) -> np.ndarray:
    """Blinks of about 240 ms, two to five seconds apart."""
    blink = np.zeros(num_frames)
    middle = rng.uniform(0.5, 2.5) * FPS
    frames = np.arange(num_frames)
    while middle < num_frames:
        shut = np.exp(-0.5 * ((frames - middle) / 1.5) ** 2)
        blink = np.maximum(blink, np.clip(1.25 * shut, 0, 1))
        middle += rng.uniform(2.0, 5.0) * FPS
    return blink


def random_motion(segments: list[Segment], num_frames: int, rng: np.random.Generator) -> Motion:
    """The mouth of an utterance, and blinking, brows, gaze and head motion of its own."""
    mouth = mouth_tracks(segments, num_frames)
    loudness = gaussian_filter1d(mouth["opening"], 4)
    yaw, pitch, roll = (_wander(rng, num_frames, s) for s in (0.8, 0.7, 0.9))
    limits = np.radians([6.0, 3.5, 2.5])
    nod = 0.02 * (loudness - loudness.mean())
    rotation = np.stack([yaw * limits[0], pitch * limits[1] + nod, roll * limits[2]], axis=1)
    translation = np.stack([_wander(rng, num_frames, 1.0), _wander(rng, num_frames, 0.9)], axis=1)
    gaze = np.stack([_wander(rng, num_frames, 0.5), 0.6 * _wander(rng, num_frames, 0.5)], axis=1)
    brows = 0.45 * _wander(rng, num_frames, 0.35) + 0.6 * (loudness - loudness.mean())
    return Motion(
        **mouth,
        blink=_blinks(rng, num_frames),
        brows=np.clip(brows, -1, 1),
        rotation=rotation,
        translation=0.035 * translation,
        gaze=np.clip(0.4 * gaze - 0.35 * rotation[:, :1] / limits[0], -1, 1),
    )
