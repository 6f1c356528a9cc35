"""Measures that need no weights: how well a mouth follows the true one, and PSNR."""

import numpy as np

from moditalker_jax import spec
from moditalker_jax.landmarks import mouth_opening


def mouth_correlation(landmarks: np.ndarray, truth: np.ndarray) -> float:
    """Pearson correlation over time of the mouth's opening; 1 is best.

    Args:
      landmarks, truth: (T, 68, 3) in any units; only how they vary counts.
    """
    return float(np.corrcoef(mouth_opening(landmarks), mouth_opening(truth))[0, 1])


def mouth_error(landmarks: np.ndarray, truth: np.ndarray) -> float:
    """Mean distance of the 20 mouth points, in the units of the (T, 68, 3) landmarks."""
    mouth = list(spec.MOUTH)
    return float(np.linalg.norm(landmarks[:, mouth] - truth[:, mouth], axis=-1).mean())


def still_mouth_ratio(landmarks: np.ndarray, truth: np.ndarray) -> float:
    """Mouth error over that of the best still mouth, the truth's own mean; below 1 is better.

    Args:
      landmarks, truth: (T, 68, 3) frontal, in one space.
    """
    still = np.broadcast_to(truth.mean(axis=0), truth.shape)
    return mouth_error(landmarks, truth) / mouth_error(still, truth)


def psnr(video: np.ndarray, truth: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB of uint8 videos, over all their pixels together.

    Papers differ: others average over frames or videos. Equal videos give infinity.
    """
    error = np.mean((video.astype(np.float64) - truth.astype(np.float64)) ** 2)
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))
