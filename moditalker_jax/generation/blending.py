"""Blending the generated face into the reference frames, against jitter.

Only what the pose frames hide is new, the face below the base of the nose; the rest of a clip is
the reference frame itself, so that the autoencoder's blur and a clip's own brightness don't show.
"""

import cv2
import numpy as np

CHEEKS_AND_CHIN = slice(3, 14)
"""The part of the jaw line below the nose."""
NOSTRILS = [31, 33, 35]
MASK_MARGIN = 0.03
"""The mask reaches this far beyond its outline, in units of the frame's width."""
FEATHER = 0.02
"""Standard deviation of the Gaussian blur of its edge, in the same units."""
COLOUR_REACH = 0.12
"""How far inwards the colours at the mask's edge are carried, in the same units."""


def face_mask(landmarks: np.ndarray, resolution: int) -> np.ndarray:
    """A soft mask of the face below the nose: cheeks, mouth and chin.

    Args:
      landmarks: (68, 2 or 3) in units of the frame's width.
      resolution: side of the frame in pixels.

    Returns:
      (resolution, resolution) float32 in [0, 1].
    """
    outline = np.concatenate([landmarks[CHEEKS_AND_CHIN, :2], landmarks[NOSTRILS, :2]])
    hull = cv2.convexHull(np.round(outline * resolution).astype(np.int32))
    mask = np.zeros((resolution, resolution), np.float32)
    cv2.fillConvexPoly(mask, hull, 1.0)
    margin = max(1, round(MASK_MARGIN * resolution))
    mask = cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * margin + 1,) * 2))
    sigma = FEATHER * resolution
    return cv2.GaussianBlur(mask, (0, 0), sigma)


def blend(
    generated: np.ndarray,
    reference_frames: np.ndarray,
    generated_landmarks: np.ndarray,
    reference_landmarks: np.ndarray,
) -> np.ndarray:
    """Generated lower faces in their reference frames.

    The mask covers the jaw of both, so that an open mouth is not cut and the reference's own chin
    does not stand out beneath a closed one. The generated part takes the colours of the frame
    around it, see `edge_colours`.

    Args:
      generated: (T, H, W, 3) in [-1, 1].
      reference_frames: uint8 (T, H, W, 3).
      generated_landmarks, reference_landmarks: (T, 68, 3) in units of the frame's width.

    Returns:
      uint8 (T, H, W, 3).
    """
    resolution = generated.shape[1]
    masks = np.stack(
        [
            np.maximum(face_mask(ours, resolution), face_mask(theirs, resolution))
            for ours, theirs in zip(generated_landmarks, reference_landmarks, strict=True)
        ]
    )[..., None]
    pixels = (generated + 1.0) * 127.5
    pixels = pixels + edge_colours(pixels, reference_frames, masks)
    blended = masks * pixels + (1.0 - masks) * reference_frames
    return np.clip(np.round(blended), 0, 255).astype(np.uint8)


def edge_colours(pixels: np.ndarray, reference_frames: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """By how much the reference's colours differ from the generated ones where the mask ends.

    Measured in the mask's soft edge, where both show the same skin, averaged over the frames given
    and carried smoothly inwards.

    Args:
      pixels: (T, H, W, 3) generated, in [0, 255].
      reference_frames: uint8 (T, H, W, 3).
      masks: (T, H, W, 1) in [0, 1].

    Returns:
      (H, W, 3) float32 to be added.
    """
    weights = (4.0 * masks * (1.0 - masks)).astype(np.float32)  # 1 in the middle of the edge
    difference = (weights * (reference_frames - pixels)).mean(axis=0)
    sigma = COLOUR_REACH * pixels.shape[1]
    # A trace of the whole edge, so that the middle of a large mask is not left without a colour.
    weight = weights.mean(axis=0)
    spread = cv2.GaussianBlur(np.concatenate([difference, weight], axis=-1), (0, 0), sigma)
    total = np.concatenate([difference, weight], axis=-1).mean(axis=(0, 1)) * 0.02
    return (spread + total)[..., :3] / np.maximum((spread + total)[..., 3:], 1e-6)
