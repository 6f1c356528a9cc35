"""A steady square crop around a tracked face, framed as the clips of HDTF are.

One box serves a whole clip: the picture stays as steady as the camera, and head motion remains
motion in the picture.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

from moditalker_jax.errors import InputError

FACE_FRACTION = 0.7
"""Share of the crop's height from hairline to chin; the detector's box then takes 0.6 to 0.65."""

FOREHEAD = 0.45
"""From brows up to the hairline, as a share of the height from brows to chin."""

FACE_CENTRE = 0.51
"""Where the middle of the face sits in the crop, from the top: hair needs more than the neck."""

_BROWS = slice(17, 27)


@dataclass(frozen=True)
class CropBox:
    """A square in the picture, in whole pixels: left and top edge, side. It may reach beyond."""

    left: int
    top: int
    size: int

    def to_crop(self, landmarks: np.ndarray, resolution: int = 1) -> np.ndarray:
        """Landmarks (..., 68, 3) in pixels of the picture to pixels of the crop.

        With resolution 1 they come in fractions of the crop's side. z takes the same scale.
        """
        return ((landmarks - self._origin) * (resolution / self.size)).astype(np.float32)

    def to_image(self, landmarks: np.ndarray, resolution: int = 1) -> np.ndarray:
        """The inverse of `to_crop`."""
        return (landmarks * (self.size / resolution) + self._origin).astype(np.float32)

    @property
    def _origin(self) -> np.ndarray:
        return np.array([self.left, self.top, 0.0])


def clip_crop(landmarks: np.ndarray, *, frame_size: tuple[int, int] | None = None) -> CropBox:
    """One box for all frames of a clip.

    Its size comes from the median face and its middle from the middle of the range that the face
    covers; where the face moves far, the box grows until the face stays inside.

    Args:
      landmarks: (T, 68, 3) or (T, 68, 2) in pixels, y down; NaN rows are left out.
      frame_size: (height, width) of the picture. Where given, the box is moved and, as far as the
        landmarks allow, made smaller to lie inside: clips that are already cropped stay as they
        are, without repeated edges.

    Raises:
      InputError: no frame has a face.
    """
    points = landmarks[np.isfinite(landmarks).all((1, 2))][..., :2]
    if not len(points):
        raise InputError("no face found to crop; give a picture or video of one frontal face")
    brows = points[:, _BROWS, 1].mean(axis=1)
    chin = points[..., 1].max(axis=1)
    hairline = brows - FOREHEAD * (chin - brows)
    low = np.array([points[..., 0].min(), hairline.min()])
    high = np.array([points[..., 0].max(), chin.max()])
    size = max(np.median(chin - hairline) / FACE_FRACTION, 1.1 * (high - low).max())
    if frame_size is not None:
        smallest = 1.1 * np.ptp(points, axis=(0, 1)).max()
        size = max(min(size, *frame_size), smallest)
    corner = (low + high) / 2 - size * np.array([0.5, FACE_CENTRE])
    # Whole pixels: the pictures are then cut without resampling, exactly where landmarks say.
    size = max(1, round(float(size)))
    left, top = (round(float(value)) for value in corner)
    if frame_size is not None:
        left, top = _inside(left, size, frame_size[1]), _inside(top, size, frame_size[0])
    return CropBox(left=left, top=top, size=size)


def _inside(start: int, size: int, limit: int) -> int:
    """The start nearest to the given one at which [start, start + size) lies in [0, limit)."""
    return (limit - size) // 2 if size > limit else min(max(start, 0), limit - size)


def centre_crop(frame_size: tuple[int, int]) -> CropBox:
    """The largest square in the middle of a picture of (height, width): the release's framing."""
    size = min(frame_size)
    return CropBox(left=(frame_size[1] - size) // 2, top=(frame_size[0] - size) // 2, size=size)


def centre_square(frame: np.ndarray, resolution: int) -> np.ndarray:
    """The release's picture of a frame that is framed already, as HDTF's videos are.

    Args:
      frame: (H, W, 3) uint8.
      resolution: side of the result; bilinear, without averaging where it shrinks.

    Returns:
      (resolution, resolution, 3) float32 in [0, 255].
    """
    box = centre_crop(frame.shape[:2])
    square = frame[box.top : box.top + box.size, box.left : box.left + box.size]
    return cv2.resize(square.astype(np.float32), (resolution, resolution))


def crop_frames(frames: Iterable[np.ndarray], box: CropBox, resolution: int) -> np.ndarray:
    """The crops uint8 (T, resolution, resolution, 3) of frames uint8 (H, W, 3)."""
    return np.stack([crop_frame(frame, box, resolution) for frame in frames])


def crop_frame(frame: np.ndarray, box: CropBox, resolution: int) -> np.ndarray:
    """The crop uint8 (resolution, resolution, 3) of one frame uint8 (H, W, 3).

    Where the box leaves the picture, the picture's edge is repeated. A shrunken crop is averaged
    over its pixels, an enlarged one interpolated.
    """
    rows = np.clip(np.arange(box.top, box.top + box.size), 0, frame.shape[0] - 1)
    columns = np.clip(np.arange(box.left, box.left + box.size), 0, frame.shape[1] - 1)
    square = frame[rows[:, None], columns]
    shrinks = box.size > resolution
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return cv2.resize(square, (resolution, resolution), interpolation=interpolation)
