"""The landmarks of a video as the face finder sees them."""

import cv2
import numpy as np

from moditalker_jax.errors import InputError
from moditalker_jax.faces.finder import FaceFinder
from moditalker_jax.landmarks import fill_missing_landmarks, frontalize, smooth_landmarks

SEARCHED_RESOLUTION = 256
"""Smaller frames are enlarged until their shorter side has as many pixels before the search."""


class EnlargedFaceTracker:
    """One face, frame by frame; small frames are enlarged first.

    The finder's mesh looks at 192 pixels of face.
    """

    def __init__(self, finder: FaceFinder):
        self._track = finder.tracker()

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        """Landmarks (68, 3) in pixels of a frame (H, W, 3) uint8 RGB, NaN without a face."""
        height, width = frame.shape[:2]
        scale = SEARCHED_RESOLUTION / min(height, width)
        if scale > 1:
            size = round(width * scale), round(height * scale)
            frame = cv2.resize(frame, size, interpolation=cv2.INTER_CUBIC)
        return self._track(frame) / np.float32(max(1.0, scale))


def seen_landmarks(frames: np.ndarray, finder: FaceFinder) -> np.ndarray:
    """Landmarks (T, 68, 3) in pixels, weakly smoothed over time; NaN where there is no face."""
    track = EnlargedFaceTracker(finder)
    return smooth_landmarks(np.stack([track(frame) for frame in frames]))


def found_again(frames: np.ndarray, finder: FaceFinder) -> tuple[np.ndarray, float]:
    """Frontal landmarks (T, 68, 3) that the finder sees, and the share of frames with a face."""
    landmarks = seen_landmarks(frames, finder)
    share = float(np.isfinite(landmarks[:, 0, 0]).mean())
    if share == 0:
        raise InputError("no face found in any frame of the generated video")
    return frontalize(fill_missing_landmarks(landmarks))[0], share
