"""A steady square crop around a tracked face, framed as the clips of HDTF are."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

FACE_FRACTION = 0.62
"""Share of the crop's height between the top of the brows' forehead and the chin."""


@dataclass(frozen=True)
class CropBox:
    """A square in the image: left and top corner and side, in pixels. May reach beyond it."""

    left: float
    top: float
    size: float

    def to_crop(self, landmarks: np.ndarray, resolution: int = 1) -> np.ndarray:
        """Landmarks (..., 68, 3) in pixels to pixels of the crop at `resolution`.

        With resolution 1 they are in fractions of the crop's side. z keeps its zero and takes
        the same scale.
        """
        origin = np.array([self.left, self.top, 0.0])
        return ((landmarks - origin) * (resolution / self.size)).astype(np.float32)

    def to_image(self, landmarks: np.ndarray, resolution: int = 1) -> np.ndarray:
        """The inverse of `to_crop`."""
        origin = np.array([self.left, self.top, 0.0])
        return (landmarks * (self.size / resolution) + origin).astype(np.float32)
