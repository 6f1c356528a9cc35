"""LSE-D and LSE-C: how well lips and sound go together, from SyncNet's features of both.

Chung and Zisserman, ACCV Workshops 2016, as their published code reckons it; the names LSE are of
Prajwal et al., ACM MM 2020. Every video frame is compared with the sound at shifts of up to 15
frames. What the published code does to a video before its network, and to the features after it,
is here; the network is `networks.syncnet`.

Published numbers follow one of two protocols that cannot be compared. SyncNet's own tracks faces
and crops them (`crop_faces`); Wav2Lip's, on LRS, resizes whole frames to 224x224.
"""

import math
from dataclasses import dataclass

import cv2
import librosa
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.fft import dct
from scipy.ndimage import median_filter

from moditalker_jax.spec import AUDIO_SAMPLE_RATE, FPS

MAX_SHIFT = 15
"""Frames by which the sound is shifted to either side."""

LIP_FRAMES = 5
SOUND_STEPS = 20
"""Steps of MFCC that are heard during `LIP_FRAMES` frames."""
CROP_SIDE = 224

_STEPS_PER_FRAME = SOUND_STEPS // LIP_FRAMES
_FEWEST_FRAMES = LIP_FRAMES + 1

_NORM_EPSILON = 1e-6
_FRAME_FILTER = 9
"""Frames of the median filter of the confidence in time."""

_WINDOW, _HOP = 400, 160
_FFT = 512
_NUM_FILTERS, _NUM_CEPSTRA = 26, 13
_PRE_EMPHASIS = 0.97
_LIFTER = 22
_INT16_SCALE = 32768.0

_BOX_FILTER = 13
_MARGIN = 0.4
"""Share of half the box's side that the crop adds left and right, and twice that below."""
_GREY = (110, 110, 110)


@dataclass(frozen=True)
class LipSync:
    """How lips and sound of one video go together.

    Attributes:
      distance: LSE-D, the mean distance of the features at the best shift; lower is better.
      confidence: LSE-C, the median of the mean distances over the shifts less the least of them;
        higher is better.
      offset: frames by which the sound is early; negative where it is late.
      frame_confidence: (N,) the same as `confidence` with each frame's own distance, smoothed.
    """

    distance: float
    confidence: float
    offset: int
    frame_confidence: np.ndarray


def lip_sync(lip_features: np.ndarray, sound_features: np.ndarray) -> LipSync:
    """Judges features (N, D) of the N windows of `sync_windows`, as SyncNet gives them.

    Short videos are judged by what lies before and after them, see `shift_distances`: only videos
    of one length can be compared.
    """
    distances = shift_distances(lip_features, sound_features)
    means = distances.mean(axis=0)
    best = int(means.argmin())
    median = np.median(means)
    return LipSync(
        distance=float(means[best]),
        confidence=float(median - means[best]),
        offset=MAX_SHIFT - best,
        frame_confidence=median_filter(median - distances[:, best], _FRAME_FILTER, mode="constant"),
    )


def shift_distances(lip_features: np.ndarray, sound_features: np.ndarray) -> np.ndarray:
    """Euclidean distances (N, 31): column j compares lips i with the sound at i + j - 15.

    Before and after the sound its features are taken as zeros, and these distances count like the
    others, as in the published code.

    Args:
      lip_features, sound_features: (N, D), not normalised.
    """
    lips, sound = (x.astype(np.float64) for x in (lip_features, sound_features))
    padded = np.pad(sound, ((MAX_SHIFT, MAX_SHIFT), (0, 0)))
    shifted = (padded[start : start + len(lips)] for start in range(2 * MAX_SHIFT + 1))
    return np.stack([np.linalg.norm(lips - x + _NORM_EPSILON, axis=1) for x in shifted], axis=1)


def sync_windows(frames: np.ndarray, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cuts a video and its sound into what the network compares: 0.2 s of each at every frame.

    Args:
      frames: (T, 224, 224, 3) uint8 at 25 fps.
      samples: (S,) at 16 kHz, see `mfcc`.

    Returns:
      Views of the frames (N, 5, 224, 224, 3), and `sound_windows` (N, 20, 13).

    Raises:
      ValueError: fewer than six frames have sound.
    """
    sound = sound_windows(samples, len(frames))
    lips = np.moveaxis(sliding_window_view(frames, LIP_FRAMES, axis=0), -1, 1)
    return lips[: len(sound)], sound


def sound_windows(samples: np.ndarray, num_frames: int) -> np.ndarray:
    """MFCC (N, 20, 13) of the sound beside frames n to n + 4 of a video, N five fewer than frames.

    The published code leaves out one window more than it needs to.

    Args:
      samples: (S,) at 16 kHz, see `mfcc`; frames after its end do not count.
      num_frames: of the video, at 25 fps.

    Raises:
      ValueError: fewer than six frames have sound.
    """
    length = min(num_frames, len(samples) * FPS // AUDIO_SAMPLE_RATE)
    if length < _FEWEST_FRAMES:
        raise ValueError(f"lip sync needs {_FEWEST_FRAMES} frames with sound, got {length}")
    windows = sliding_window_view(mfcc(samples), SOUND_STEPS, axis=0)[::_STEPS_PER_FRAME]
    return windows[: length - LIP_FRAMES].transpose(0, 2, 1)


def mfcc(samples: np.ndarray) -> np.ndarray:
    """Mel-frequency cepstral coefficients, 100 a second, as python_speech_features makes them.

    Windows of 25 ms without a taper, 26 triangular filters of power up to 8 kHz, the first 13
    coefficients, liftered; the first of them is replaced by the log of the window's energy.

    Args:
      samples: (S,) at 16 kHz, int16, or float in [-1, 1] (scaled to int16's range).

    Returns:
      (1 + ceil((S - 400) / 160), 13) float64.
    """
    scale = _INT16_SCALE if np.issubdtype(samples.dtype, np.floating) else 1.0
    signal = samples.astype(np.float64) * scale
    emphasised = np.append(signal[:1], signal[1:] - _PRE_EMPHASIS * signal[:-1])
    steps = math.ceil(max(0, len(signal) - _WINDOW) / _HOP)
    padded = np.pad(emphasised, (0, _WINDOW + steps * _HOP - len(signal)))
    windows = sliding_window_view(padded, _WINDOW)[::_HOP]
    power = np.abs(np.fft.rfft(windows, _FFT)) ** 2 / _FFT
    coefficients = dct(_log(power @ mel_filters().T), norm="ortho")[:, :_NUM_CEPSTRA]
    coefficients *= 1 + _LIFTER / 2 * np.sin(np.pi * np.arange(_NUM_CEPSTRA) / _LIFTER)
    coefficients[:, 0] = _log(power.sum(axis=1))
    return coefficients


def mel_filters() -> np.ndarray:
    """Triangular filters (26, 257) over the bins of the spectrum, their corners on whole bins."""
    frequencies = librosa.mel_frequencies(_NUM_FILTERS + 2, fmax=AUDIO_SAMPLE_RATE / 2, htk=True)
    corners = np.floor((_FFT + 1) * frequencies / AUDIO_SAMPLE_RATE)
    bins = np.arange(_FFT // 2 + 1)
    triangles = sliding_window_view(corners, 3)
    return np.stack([np.interp(bins, triangle, (0, 1, 0)) for triangle in triangles])


def _log(energy: np.ndarray) -> np.ndarray:
    return np.log(np.where(energy == 0, np.finfo(np.float64).eps, energy))


def crop_faces(frames: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """One face's crops uint8 (T, 224, 224, 3) as SyncNet's published pipeline makes them.

    The pipeline compresses its crops before it goes on, which moves its numbers slightly.

    Args:
      frames: (T, H, W, 3) uint8.
      boxes: see `crop_squares`, which also tells the errors.
    """
    pairs = zip(frames, crop_squares(boxes), strict=True)
    return np.stack([crop_face(frame, square) for frame, square in pairs])


def crop_squares(boxes: np.ndarray) -> np.ndarray:
    """Middle x and y and half the side of each frame's face (T, 3), steadied over time.

    Half the side is that of the box's longer one. A median filter over 13 frames, with zeros
    beyond the ends, goes over all three.

    Args:
      boxes: (T, 4) left, top, right and bottom of the face in pixels, as S3FD draws them; rows of
        NaN are interpolated from their neighbours.

    Raises:
      ValueError: there are fewer than seven frames, the least that the filter has a median of, or
        no box.
    """
    if len(boxes) <= _BOX_FILTER // 2:
        raise ValueError(f"a face's crops need {_BOX_FILTER // 2 + 1} frames, got {len(boxes)}")
    left, top, right, bottom = _interpolated(boxes).T
    half = np.maximum(right - left, bottom - top) / 2
    squares = np.stack([(left + right) / 2, (top + bottom) / 2, half], axis=1)
    return median_filter(squares, (_BOX_FILTER, 1), mode="constant")


def _interpolated(boxes: np.ndarray) -> np.ndarray:
    found = np.isfinite(boxes).all(axis=1)
    if not found.any():
        raise ValueError("there is no box of a face in any frame")
    times = np.arange(len(boxes))
    return np.stack([np.interp(times, times[found], x) for x in boxes[found].T], axis=1)


def crop_face(frame: np.ndarray, square: np.ndarray) -> np.ndarray:
    """The crop uint8 (224, 224, 3) of a frame (H, W, 3): more below the middle than above it.

    It reaches from s above the middle to 1.8 s below it, and 1.4 s to either side; beyond the
    frame it is grey.

    Args:
      square: (3,) middle x and y, and s, in pixels: a row of `crop_squares`.
    """
    x, y, half = square
    below, beside = (1 + 2 * _MARGIN) * half, (1 + _MARGIN) * half
    border = int(below)
    padded = cv2.copyMakeBorder(frame, *[border] * 4, cv2.BORDER_CONSTANT, value=_GREY)
    x, y = x + border, y + border
    face = padded[int(y - half) : int(y + below), int(x - beside) : int(x + beside)]
    return cv2.resize(face, (CROP_SIDE, CROP_SIDE))
