"""The landmarks of a video as the face finder sees them."""

import cv2
import numpy as np

from moditalker_jax.errors import InputError
from moditalker_jax.faces.finder import FaceFinder
from moditalker_jax.landmarks import fill_missing_landmarks, frontalize

SEARCHED_RESOLUTION = 256
"""Smaller frames are enlarged to this side before they are searched."""


def found_again(frames: np.ndarray, finder: FaceFinder) -> tuple[np.ndarray, float]:
    """Frontal landmarks (T, 68, 3) that the finder sees, and the share of frames with a face.

    Small frames are enlarged first: the finder's mesh looks at 192 pixels of face.
    """
    side = max(SEARCHED_RESOLUTION, frames.shape[1])
    large = [cv2.resize(frame, (side, side), interpolation=cv2.INTER_CUBIC) for frame in frames]
    landmarks = finder.track(large)
    share = float(np.isfinite(landmarks[:, 0, 0]).mean())
    if share == 0:
        raise InputError("no face found in any frame of the generated video")
    return frontalize(fill_missing_landmarks(landmarks) / side)[0], share
