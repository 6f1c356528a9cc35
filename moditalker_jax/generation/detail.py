"""Detail that the autoencoder loses, given back from the reference frames.

What a reference frame has beyond its own reconstruction is the blur and the tint that the
autoencoder adds to everything. It is moved along with the landmarks and added to the generated
frame, so that skin, stubble and the edge of the jaw are the person's own; inside the mouth, where
the reference shows something else, only its tint is added.
"""

import cv2
import numpy as np

from moditalker_jax.spec import INNER_LIPS

MOVED_POINTS = np.array([*range(2, 15), *range(27, 36), *range(48, 68)])
"""Jaw below the eyes, nose and mouth: what moves detail."""
REACH = 0.06
"""Standard deviation of a landmark's pull on pixels around it, in units of the frame's width."""
HOLD = 0.02
"""Weight of standing still, against a landmark's at its own place."""
MOUTH_MARGIN = 0.012
"""Around the inner lips, in the same units."""
TINT_REACH = 0.05
"""How far the tint around the mouth is carried into it, in the same units."""


def restore_detail(
    generated: np.ndarray,
    reconstructed: np.ndarray,
    reference_frames: np.ndarray,
    generated_landmarks: np.ndarray,
    reference_landmarks: np.ndarray,
) -> np.ndarray:
    """Generated frames with the reference's detail.

    Args:
      generated: (T, H, W, 3) in [-1, 1].
      reconstructed: uint8 (T, H, W, 3), the reference frames through the autoencoder and back.
      reference_frames: uint8 (T, H, W, 3).
      generated_landmarks, reference_landmarks: (T, 68, 3) in units of the frame's width.

    Returns:
      (T, H, W, 3), a little beyond [-1, 1] in places.
    """
    detail = (reference_frames.astype(np.float32) - reconstructed) / 127.5
    return np.stack(
        [
            frame + _moved(lost, ours, theirs)
            for frame, lost, ours, theirs in zip(
                generated, detail, generated_landmarks, reference_landmarks, strict=True
            )
        ]
    )


def _moved(detail: np.ndarray, target: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Detail (H, W, 3) where the landmarks took it, and its tint inside the mouth."""
    side = detail.shape[1]
    sampling = sampling_map(target, source, side)
    moved = cv2.remap(detail, sampling, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    # Not the inside of either mouth: of the new one, and of the reference's wherever it came.
    outside = 1.0 - _mouth(target, side)
    theirs = cv2.remap(_mouth(source, side), sampling, None, cv2.INTER_LINEAR)
    outside = np.minimum(outside, 1.0 - theirs)[..., None]
    sigma = TINT_REACH * side
    tint = cv2.GaussianBlur(moved * outside, (0, 0), sigma)
    weight = cv2.GaussianBlur(outside, (0, 0), sigma)
    return outside * moved + (1.0 - outside) * tint / np.maximum(weight[..., None], 1e-3)


def sampling_map(target: np.ndarray, source: np.ndarray, side: int) -> np.ndarray:
    """Where each pixel's detail comes from: (side, side, 2) float32, x and y in pixels.

    Args:
      target, source: (68, 2 or 3) landmarks in units of the frame's width: where they are, and
        where they were in the picture that is sampled.
      side: of the frame in pixels.
    """
    count = side // 4
    centres = ((np.arange(count) + 0.5) / count).astype(np.float32)
    grid = np.stack(np.meshgrid(centres, centres), axis=-1)  # (count, count, 2)
    nodes = target[MOVED_POINTS, :2].astype(np.float32)
    moves = nodes - source[MOVED_POINTS, :2].astype(np.float32)
    distances = np.square(grid[:, :, None] - nodes).sum(axis=-1)
    weights = np.exp(-0.5 * distances / REACH**2)
    moved = (weights @ moves) / (weights.sum(axis=-1, keepdims=True) + HOLD)
    moved = cv2.resize(moved, (side, side), interpolation=cv2.INTER_LINEAR)
    own = np.stack(np.meshgrid(*[np.arange(side, dtype=np.float32)] * 2), axis=-1)
    return own - side * moved


def _mouth(landmarks: np.ndarray, side: int) -> np.ndarray:
    """Soft mask (side, side) of the inside of the mouth."""
    hull = cv2.convexHull(np.round(landmarks[list(INNER_LIPS), :2] * side).astype(np.int32))
    mask = np.zeros((side, side), np.float32)
    cv2.fillConvexPoly(mask, hull, 1.0)
    margin = max(1, round(MOUTH_MARGIN * side))
    mask = cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * margin + 1,) * 2))
    return cv2.GaussianBlur(mask, (0, 0), margin)
