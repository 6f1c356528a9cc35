"""How well landmarks, above all the mouth's, follow the true ones.

Frames without a face, whose landmarks are NaN, are left out where either side has none.
"""

import math
from typing import Literal

import numpy as np
from scipy.signal import correlate, correlation_lags

from moditalker_jax import spec
from moditalker_jax.landmarks import mouth_opening

_REGIONS = {"mouth": list(spec.MOUTH), "face": list(range(spec.NUM_LANDMARKS))}


def has_face(landmarks: np.ndarray) -> np.ndarray:
    """Which frames of landmarks (T, 68, D) hold numbers: bool (T,)."""
    return np.isfinite(landmarks).all(axis=(1, 2))


def lmd(
    landmarks: np.ndarray,
    truth: np.ndarray,
    *,
    region: Literal["mouth", "face"] = "mouth",
    centred: bool = True,
) -> float:
    """Landmark distance: mean over frames and points of how far a point is from the true one.

    First the region's mean is subtracted from its points, frame by frame on both sides: where the
    mouth is does not count, its size and turn do. RAD-NeRF and its successors reckon so. Papers
    differ: Chen et al., ECCV 2018, who proposed it, sum over the 20 points in their script
    (values 20 times as large), and many do not centre.

    Args:
      landmarks, truth: (T, 68, D); D = 2 in pixels of 256x256 frames is what papers give.
      region: the mouth's 20 points or all 68.
      centred: False leaves the means in.

    Raises:
      ValueError: there is no frame with a face in both.
    """
    points, true_points = (x[:, _REGIONS[region]] for x in _faces_of_both(landmarks, truth))
    if centred:
        points, true_points = (x - x.mean(axis=1, keepdims=True) for x in (points, true_points))
    return float(np.linalg.norm(points - true_points, axis=-1).mean())


def mouth_error(landmarks: np.ndarray, truth: np.ndarray) -> float:
    """`lmd` of the mouth where it is, not centred, in the units of the (T, 68, D) landmarks."""
    return lmd(landmarks, truth, centred=False)


def still_mouth_ratio(landmarks: np.ndarray, truth: np.ndarray) -> float:
    """Mouth error over that of the best still mouth, the truth's own mean; below 1 is better.

    NaN where the true mouth never moves.

    Args:
      landmarks, truth: (T, 68, 3) frontal, in one space.
    """
    landmarks, truth = _faces_of_both(landmarks, truth)
    if not np.ptp(truth[:, _REGIONS["mouth"]], axis=0).any():
        return math.nan
    still = np.broadcast_to(truth.mean(axis=0), truth.shape)
    return mouth_error(landmarks, truth) / mouth_error(still, truth)


def mouth_correlation(landmarks: np.ndarray, truth: np.ndarray) -> float:
    """Pearson correlation over time of the mouth's opening; 1 is best, NaN where a mouth is still.

    Args:
      landmarks, truth: (T, 68, D) in any units; only how they vary counts.
    """
    openings = np.stack([mouth_opening(x) for x in _faces_of_both(landmarks, truth)])
    return float(np.corrcoef(openings)[0, 1]) if _both_move(openings) else math.nan


def mouth_lag(landmarks: np.ndarray, truth: np.ndarray, *, max_lag: int = 15) -> float:
    """Frames by which the mouth is late; negative where it is early, NaN where a mouth is still.

    The shift at which the cross-correlation of the two openings is greatest, each less its mean.

    Args:
      landmarks, truth: (T, 68, D) in any units.
      max_lag: shifts of at most this many frames are tried.
    """
    openings = np.stack([mouth_opening(x) for x in _faces_of_both(landmarks, truth)])
    if not _both_move(openings):
        return math.nan
    deviations = np.zeros((2, len(truth)))  # Frames without a face keep their time.
    deviations[:, _both_have_faces(landmarks, truth)] = openings - openings.mean(axis=1)[:, None]
    lags = correlation_lags(len(truth), len(truth))
    tried = np.abs(lags) <= max_lag
    return float(lags[tried][correlate(*deviations)[tried].argmax()])


def _faces_of_both(landmarks: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The frames with a face on both sides, in float64."""
    both = _both_have_faces(landmarks, truth)
    if not both.any():
        raise ValueError("there is no frame with a face in both videos")
    return landmarks[both].astype(np.float64), truth[both].astype(np.float64)


def _both_have_faces(landmarks: np.ndarray, truth: np.ndarray) -> np.ndarray:
    if landmarks.shape != truth.shape:
        raise ValueError(f"landmarks of one shape are needed: {landmarks.shape}, {truth.shape}")
    return has_face(landmarks) & has_face(truth)


def _both_move(openings: np.ndarray) -> bool:
    return bool(np.ptp(openings, axis=1).all())
