"""Whether a video made of clips shows where they join."""

from collections.abc import Sequence

import cv2
import numpy as np


def frame_changes(frames: np.ndarray) -> np.ndarray:
    """Mean absolute difference (T - 1,) of each frame (T, H, W, 3) uint8 from the next."""
    pairs = zip(frames[:-1], frames[1:], strict=True)
    return np.array([cv2.absdiff(*pair).mean() for pair in pairs])


def seam_ratio(changes: np.ndarray, boundaries: Sequence[int]) -> float:
    """Change from frame to frame across the clips' seams over that inside clips; 1 is seamless.

    A measure of this project.

    Args:
      changes: (T - 1,) `frame_changes` of the video's T frames.
      boundaries: first frames of all clips but the first, each in 1..T-1.

    Raises:
      ValueError: there is no boundary, one lies outside the video, or nothing changes inside the
        clips.
    """
    seams = np.asarray(boundaries, int) - 1
    if not seams.size or seams.min() < 0 or seams.max() >= len(changes):
        raise ValueError(f"boundaries within 1..{len(changes)} are needed: {list(boundaries)}")
    inside = np.delete(changes, seams)
    if not inside.any():
        raise ValueError("nothing changes inside the clips, so their seams cannot be compared")
    return float(changes[seams].mean() / inside.mean())
