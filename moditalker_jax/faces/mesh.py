"""MediaPipe's 468-point face mesh, found inside a region of the picture."""

from dataclasses import dataclass

import cv2
import numpy as np

from moditalker_jax.faces.detector import Detection
from moditalker_jax.faces.mapping import NUM_MESH_POINTS
from moditalker_jax.faces.runtime import TfliteNetwork

ROI_MARGIN = 1.5
"""The network was trained on squares this much larger than the face."""

_LEFT_EYE_CORNER, _RIGHT_EYE_CORNER = 33, 263


@dataclass(frozen=True)
class Roi:
    """A rotated square in the image: centre (x, y), side in pixels, angle in radians.

    The angle is that of the line between the eyes; positive turns clockwise on the screen.
    """

    centre: np.ndarray
    size: float
    angle: float

    def to_image(self, size: int) -> np.ndarray:
        """Affine map (2, 3) from pixels of a size x size crop to pixels of the image."""
        scale = self.size / size
        cos, sin = np.cos(self.angle) * scale, np.sin(self.angle) * scale
        linear = np.array([[cos, -sin], [sin, cos]])
        return np.concatenate(
            [linear, (self.centre - linear @ np.full(2, size / 2))[:, None]], axis=1
        )


class FaceMesh:
    """The mesh network: 468 three-dimensional points of the face inside a region."""

    def __init__(self, *, num_threads: int = 2):
        self._network = TfliteNetwork("face_landmark.tflite", num_threads=num_threads)

    def __call__(self, image: np.ndarray, roi: Roi) -> tuple[np.ndarray, float]:
        """Mesh (468, 3) in pixels of the image, and the probability that a face is there.

        x points right, y down, z towards the viewer, all in the same unit. image is (H, W, 3)
        uint8 RGB; what lies outside it counts as black.
        """
        size = self._network.input_size
        to_image = roi.to_image(size)
        crop = warp(image, to_image, size)
        points, presence = self._network(crop.astype(np.float32) / 255.0)
        points = points.reshape(NUM_MESH_POINTS, 3)
        mesh = np.empty_like(points)
        mesh[:, :2] = points[:, :2] @ to_image[:, :2].T + to_image[:, 2]
        mesh[:, 2] = -points[:, 2] * (roi.size / size)
        return mesh, float(1.0 / (1.0 + np.exp(-np.clip(presence.item(), -80.0, 80.0))))


def warp(image: np.ndarray, to_image: np.ndarray, size: int) -> np.ndarray:
    """The size x size crop that `to_image` (2, 3) maps into the image, bilinear.

    Strongly shrunken regions are halved first, since bilinear sampling alone would alias and make
    the points tremble.
    """
    to_image = np.array(to_image)
    while np.hypot(*to_image[:, 0]) > 2.0 and min(image.shape[:2]) > 2:
        image = cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        to_image = to_image / 2
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(image, to_image, (size, size), flags=flags)


def roi_from_detection(detection: Detection) -> Roi:
    """Region for a detected face, level with its eyes."""
    low, high = detection.box[:2], detection.box[2:]
    return _roi((low + high) / 2, high - low, *detection.keypoints[:2])


def roi_from_mesh(mesh: np.ndarray) -> Roi:
    """Region for the same face in the next frame, from its mesh (468, 3)."""
    points = mesh[:, :2]
    left, right = points[_LEFT_EYE_CORNER], points[_RIGHT_EYE_CORNER]
    # The extent is measured along the axes of the face, so that a tilted head gets no larger one.
    angle = _angle(left, right)
    cos, sin = np.cos(angle), np.sin(angle)
    upright = points @ np.array([[cos, -sin], [sin, cos]])
    low, high = upright.min(axis=0), upright.max(axis=0)
    centre = np.array([[cos, -sin], [sin, cos]]) @ ((low + high) / 2)
    return _roi(centre, high - low, left, right)


def _angle(left: np.ndarray, right: np.ndarray) -> float:
    return float(np.arctan2(*(right - left)[::-1]))


def _roi(centre: np.ndarray, extent: np.ndarray, left: np.ndarray, right: np.ndarray) -> Roi:
    side = float(np.max(extent)) * ROI_MARGIN
    return Roi(centre=np.asarray(centre, np.float64), size=side, angle=_angle(left, right))
