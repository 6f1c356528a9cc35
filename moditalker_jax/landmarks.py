"""The 68 landmarks in 3D: frontalizing, aligning to poses, drawing, masking, measuring.

Two sets of axes occur. **Image axes**: x right, y down, z towards the viewer, in pixels or in
fractions of a picture's side. **Face axes**, those of `MEAN_FACE`: x right, y up, z towards the
viewer, the face 2 wide. Numpy only.
"""

from dataclasses import dataclass

import numpy as np

from moditalker_jax.mean_face import MEAN_FACE
from moditalker_jax.spec import NOSE_BASE

STABLE_POINTS = np.array([*range(17, 36), 36, 39, 42, 45])
"""Brows, nose and eye corners: what speech and blinking leave in place."""

MIRRORED_LANDMARKS = np.array(
    [
        *range(16, -1, -1),  # jaw
        *range(26, 16, -1),  # brows
        *range(27, 31),  # bridge of the nose
        *range(35, 30, -1),  # its base
        *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),  # eyes
        *range(54, 47, -1),  # outer lips
        *range(59, 54, -1),
        *range(64, 59, -1),  # inner lips
        *range(67, 64, -1),
    ]
)
"""Which landmark of a face stands where landmark i stands in the mirror."""

_FLIP_Y = np.array([1.0, -1.0, 1.0])


@dataclass(frozen=True)
class Poses:
    """How each frame's head stands: image (y flipped up) = scale * frontal @ rotation.T + shift.

    rotation (T, 3, 3), scale (T,), shift (T, 3), the latter two in the unit of the landmarks that
    were frontalized.
    """

    rotation: np.ndarray
    scale: np.ndarray
    shift: np.ndarray


def frontalize(
    landmarks: np.ndarray, mean_face: np.ndarray = MEAN_FACE
) -> tuple[np.ndarray, Poses]:
    """Turns every frame's face to the front by rigid alignment to the mean face, and scales it.

    The least-squares similarity transform (Umeyama 1991) between `STABLE_POINTS` and those of
    the mean face; mouth and jaw have no say in it, so that speaking does not nod the head.

    Args:
      landmarks: (T, 68, 3) in image axes, any unit.
      mean_face: (68, 3) in face axes, of the landmarks' backend.

    Returns:
      (T, 68, 3) float32 in face axes, and the poses that lead back.
    """
    points = np.asarray(landmarks, np.float64) * _FLIP_Y
    mean = mean_face[STABLE_POINTS].astype(np.float64)
    poses = _similarity(mean, points[:, STABLE_POINTS])
    frontal = (points - poses.shift[:, None]) @ poses.rotation / poses.scale[:, None, None]
    return frontal.astype(np.float32), poses


def align_to_poses(
    frontal: np.ndarray, poses: Poses, reference_landmarks: np.ndarray | None = None
) -> np.ndarray:
    """Puts frontal faces back onto the heads of the reference frames (paper figure 11).

    Args:
      frontal: (T, 68, 3) in face axes.
      poses: of the T reference frames, from `frontalize`.
      reference_landmarks: (T, 68, 3) of these frames in image axes; where given, each result is
        shifted until the mean of its five points (see `five_points`) is the reference's.

    Returns:
      (T, 68, 3) float32 in image axes, in the unit of the landmarks that gave the poses.
    """
    turned = np.asarray(frontal, np.float64) @ poses.rotation.transpose(0, 2, 1)
    placed = (turned * poses.scale[:, None, None] + poses.shift[:, None]) * _FLIP_Y
    if reference_landmarks is not None:
        target = five_points(reference_landmarks).mean(axis=-2, keepdims=True)
        placed = placed + target - five_points(placed).mean(axis=-2, keepdims=True)
    return placed.astype(np.float32)


def _similarity(source: np.ndarray, targets: np.ndarray) -> Poses:
    """Least-squares transforms of source (N, 3) onto each of targets (T, N, 3), eq. 40-42."""
    source_mean, target_means = source.mean(axis=0), targets.mean(axis=1)
    centred = source - source_mean
    covariance = np.einsum("tni,nj->tij", targets - target_means[:, None], centred)
    left, values, right = np.linalg.svd(covariance)
    # The last axis is mirrored where the best orthogonal matrix would be a reflection.
    signs = np.ones_like(values)
    signs[:, -1] = np.sign(np.linalg.det(left @ right))
    rotation = (left * signs[:, None]) @ right
    scale = (values * signs).sum(axis=1) / np.square(centred).sum()
    shift = target_means - scale[:, None] * (rotation @ source_mean)
    return Poses(rotation=rotation, scale=scale, shift=shift)


def five_points(landmarks: np.ndarray) -> np.ndarray:
    """The five points (..., 5, D) of landmarks (..., 68, D).

    Middles of the eyes (of their corners), nose tip, corners of the mouth; left to right as the
    picture shows them.
    """
    eyes = (landmarks[..., [36, 42], :] + landmarks[..., [39, 45], :]) / 2
    return np.concatenate([eyes, landmarks[..., [30, 48, 54], :]], axis=-2)


def mouth_opening(landmarks: np.ndarray) -> np.ndarray:
    """Distance (...) between the inner lips, the mean of three pairs, of landmarks (..., 68, D)."""
    upper, lower = landmarks[..., [61, 62, 63], :], landmarks[..., [67, 66, 65], :]
    return np.linalg.norm(upper - lower, axis=-1).mean(axis=-1)


def draw_landmarks(landmarks_xy: np.ndarray, resolution: int, radius: float = 3.0) -> np.ndarray:
    """White discs on black, as the landmark video of the paper is drawn (section 4.3).

    A disc holds the pixels within `radius` of the pixel that its landmark falls in (coordinates
    truncated towards zero, as the release does).

    Args:
      landmarks_xy: (..., N, 2) in pixels, y down; discs may reach over the edge; points that are
        not finite are left out.
      resolution: side of the frames.
      radius: in pixels; the paper's 3 at 256 is 1.5 at 128.

    Returns:
      uint8 (..., resolution, resolution, 3).
    """
    reach = np.arange(-int(radius), int(radius) + 1)
    dx, dy = np.meshgrid(reach, reach)
    inside = dx**2 + dy**2 <= radius**2
    offsets = np.stack([dx[inside], dy[inside]], axis=-1)

    *leading, points, _ = landmarks_xy.shape
    points_xy = landmarks_xy.reshape(-1, points, 2)
    frames = np.zeros((len(points_xy), resolution, resolution, 3), np.uint8)
    frame, point = np.nonzero(np.isfinite(points_xy).all(axis=-1))
    # Far points are brought near the edge first: they stay outside and cannot overflow.
    centres = np.clip(points_xy[frame, point], -2.0 * resolution, 3.0 * resolution)
    pixels = centres.astype(np.int64)[:, None] + offsets
    visible = ((pixels >= 0) & (pixels < resolution)).all(axis=-1)
    x, y = pixels[visible].T
    frames[np.broadcast_to(frame[:, None], visible.shape)[visible], y, x] = 255
    return frames.reshape(*leading, resolution, resolution, 3)


def mask_below_nose(frames: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """Pose frames: black from the row of the nose's base (landmark 33) down (section 4.3).

    Args:
      frames: (..., H, W, C); a copy is returned.
      landmarks: (..., 68, 2 or 3) in pixels of the frames, y down.
    """
    masked = frames.copy()
    cuts = np.asarray(landmarks)[..., NOSE_BASE, 1].astype(np.int64)
    for index, cut in np.ndenumerate(cuts):
        masked[index][max(cut, 0) :] = 0
    return masked


def fill_missing_landmarks(landmarks: np.ndarray) -> np.ndarray:
    """Frames without a face (NaN) take the last face seen, those before the first face that one.

    Args:
      landmarks: (T, 68, D).

    Raises:
      ValueError: no frame has a face.
    """
    found = np.isfinite(landmarks).all(axis=(1, 2))
    if not found.any():
        raise ValueError("no frame has landmarks")
    last = np.maximum.accumulate(np.where(found, np.arange(len(found)), found.argmax()))
    return landmarks[last]


def smooth_landmarks(landmarks: np.ndarray) -> np.ndarray:
    """Weakly smoothed over time: each frame with half the weight, its neighbours with a quarter.

    The finder's points tremble by half a pixel or more in a face of 150; this halves it, centred,
    so that nothing is late. Frames without a face (NaN) stay so and have no weight.

    Args:
      landmarks: (T, N, D).
    """
    found = np.isfinite(landmarks).all(axis=(1, 2), keepdims=True)
    weights = np.pad(found.astype(landmarks.dtype), ((1, 1), (0, 0), (0, 0)))
    values = np.pad(np.where(found, landmarks, 0), ((1, 1), (0, 0), (0, 0)))
    total = weights[1:-1] / 2 + (weights[:-2] + weights[2:]) / 4
    mean = values[1:-1] / 2 + (values[:-2] + values[2:]) / 4
    return np.where(found, mean / np.where(found, total, 1), landmarks)
