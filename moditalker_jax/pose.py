"""Head poses as a 3DMM fit gives them: Euler angles, a shift, and a crop to undo.

The authors' release places its landmarks with these; here they serve data that comes with such
fits. Landmarks found in pictures need only `landmarks.frontalize` and `align_to_poses`.
"""

import numpy as np


def rotation_from_angles(angles: np.ndarray) -> np.ndarray:
    """Rotations (B, 3, 3), for row vectors (`points @ rotation`), of Euler angles (B, 3).

    angles are about x, y and z in radians, applied in this order.
    """
    cos, sin = np.cos(angles).T, np.sin(angles).T
    zero, one = np.zeros_like(cos[0]), np.ones_like(cos[0])
    about_x = _matrices([[one, zero, zero], [zero, cos[0], sin[0]], [zero, -sin[0], cos[0]]])
    about_y = _matrices([[cos[1], zero, -sin[1]], [zero, one, zero], [sin[1], zero, cos[1]]])
    about_z = _matrices([[cos[2], sin[2], zero], [-sin[2], cos[2], zero], [zero, zero, one]])
    return about_x @ about_y @ about_z


def rigid_transform(points: np.ndarray, rotation: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """points (B, N, 3) turned by rotation (B, 3, 3), see above, then moved by shift (B, 3)."""
    return points @ rotation + shift[:, None]


def undo_crop(
    points: np.ndarray,
    *,
    image_size: np.ndarray,
    resized_size: np.ndarray,
    centre: np.ndarray,
    scale: np.ndarray,
    crop_size: int = 224,
) -> np.ndarray:
    """Points (B, N, 2) of the crops that a 3DMM is fitted in, back in their pictures.

    The fit shrinks a picture by `scale`, then cuts crop_size pixels around the face. As in the
    release, whose formula this is, `centre` is added before the scale is undone.

    Args:
      points: pixels of the crop.
      image_size: (B, 2) width and height of the picture.
      resized_size: (B, 2) the same after shrinking, in whole pixels. The release pairs these
        numbers wrongly in batches of more than one picture.
      centre: (B, 2) of the face, in pixels of the picture.
      scale: (B,) of the shrinking.
    """
    shift = centre - image_size / 2 + resized_size / 2 - crop_size / 2
    return (points + shift[:, None]) / scale[:, None, None]


def _matrices(rows: list[list[np.ndarray]]) -> np.ndarray:
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)
