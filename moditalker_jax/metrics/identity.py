"""Whether a face stays that of its person: aligned faces, CSIM, drift."""

import cv2
import numpy as np
from skimage.transform import estimate_transform

from moditalker_jax.landmarks import STABLE_POINTS, five_points, frontalize
from moditalker_jax.metrics.landmarks import has_face

ALIGNED_SIDE = 112

ALIGNED_POINTS = np.array(
    [
        [38.2946, 51.6963],
        [73.5318, 51.5014],
        [56.0252, 71.7366],
        [41.5493, 92.3655],
        [70.7299, 92.2041],
    ]
)
"""x, y of the eyes, the nose's tip and the mouth's corners in ArcFace's pictures."""

_OUTER_EYE_CORNERS = [36, 45]


def align_faces(frames: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """Faces as ArcFace was trained on them (Deng et al., CVPR 2019).

    Each frame is moved by the least-squares similarity transform of its five points (see
    `landmarks.five_points`) onto `ALIGNED_POINTS`; bilinear, black beyond the frame.

    Args:
      frames: (T, H, W, 3) uint8.
      landmarks: (T, 68, 2 or 3) in pixels of the frames, y down.

    Returns:
      (T, 112, 112, 3) uint8.

    Raises:
      ValueError: a frame has no face (NaN).
    """
    if not has_face(landmarks).all():
        raise ValueError("every frame needs a face: choose the frames by `has_face`")
    points = five_points(landmarks[..., :2].astype(np.float64))
    return np.stack([_align(*pair) for pair in zip(frames, points, strict=True)])


def _align(frame: np.ndarray, points: np.ndarray) -> np.ndarray:
    transform = estimate_transform("similarity", points, ALIGNED_POINTS).params
    return cv2.warpAffine(frame, transform[:2], (ALIGNED_SIDE, ALIGNED_SIDE))


def csim(embeddings: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Cosine similarity (T,) of each frame's face embedding (T, D) to the true one's; 1 is equal.

    Papers differ in the network, in the alignment, and in whether the truth is the frame of the
    same time, as here, or one reference picture.
    """
    lengths = np.linalg.norm(embeddings, axis=1) * np.linalg.norm(truth, axis=1)
    return np.sum(embeddings * truth, axis=1) / lengths


def identity_drift(landmarks: np.ndarray) -> float:
    """How far the shape of the face has moved by the end of a video; 0 for one that stays.

    A measure of this project, which needs no weights. Each frame's face is turned to the front by
    its rigid points (`landmarks.frontalize`). Of brows, nose and eye corners, which neither speech
    nor blinking moves, the mean place over the last fifth of the frames is compared with that over
    the first fifth: mean distance of the points over the distance between the outer eye corners.

    Args:
      landmarks: (T, 68, 3) in image axes, any unit. Frames without a face (NaN) are left out.

    Raises:
      ValueError: fewer than five frames have a face.
    """
    faces = landmarks[has_face(landmarks)]
    fifth = len(faces) // 5
    if not fifth:
        raise ValueError(f"identity drift needs at least 5 frames with a face, got {len(faces)}")
    frontal, _ = frontalize(faces)
    first, last = frontal[:fifth].mean(axis=0), frontal[-fifth:].mean(axis=0)
    moved = np.linalg.norm(last - first, axis=-1)[STABLE_POINTS].mean()
    return float(moved / np.linalg.norm(np.subtract(*first[_OUTER_EYE_CORNERS])))
