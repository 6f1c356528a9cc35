"""What MToV is told about a clip, as pictures: landmark video and pose frames (paper section 4.3).

Host-side numpy, so that training, latent encoding and generation draw one and the same thing.
"""

import numpy as np

from moditalker_jax.landmarks import draw_landmarks, mask_below_nose

PAPER_DISC_RADIUS = 3.0
PAPER_RESOLUTION = 256


def landmark_video(
    landmarks: np.ndarray, *, resolution: int, disc_radius: float | None = None
) -> np.ndarray:
    """White discs at the landmarks on black.

    Args:
      landmarks: (..., T, 68, 2 or 3), x and y in units of the frame's width.
      resolution: side of the frames in pixels.
      disc_radius: in pixels; None scales the paper's 3 px at 256 px.

    Returns:
      uint8 (..., T, resolution, resolution, 3).
    """
    if disc_radius is None:
        disc_radius = PAPER_DISC_RADIUS * resolution / PAPER_RESOLUTION
    return draw_landmarks(landmarks[..., :2] * resolution, resolution, disc_radius)


def pose_video(video: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """The frames with everything below the base of the nose (landmark 33) black.

    Args:
      video: uint8 (..., T, H, W, 3).
      landmarks: (..., T, 68, 2 or 3) in units of the frame's width.
    """
    return mask_below_nose(video, landmarks[..., :2] * video.shape[-2])
