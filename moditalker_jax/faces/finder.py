"""Faces in a picture, and one face through a video."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from moditalker_jax.faces.detector import FULL_RANGE, SHORT_RANGE, Detection, FaceDetector
from moditalker_jax.faces.mapping import NUM_MESH_POINTS, landmarks_from_mesh
from moditalker_jax.faces.mesh import FaceMesh, Roi, roi_from_detection, roi_from_mesh
from moditalker_jax.landmarks import smooth_landmarks
from moditalker_jax.spec import NUM_LANDMARKS

MIN_PRESENCE = 0.5


@dataclass(frozen=True)
class Face:
    """One face, in pixels of its picture (x right, y down, z towards the viewer).

    `box` is the detector's (x0, y0, x1, y1), from brows to chin; `score` the detector's
    certainty; `mesh` (468, 3) float32.
    """

    box: np.ndarray
    score: float
    mesh: np.ndarray

    @property
    def landmarks(self) -> np.ndarray:
        """The 68 landmarks (68, 3)."""
        return landmarks_from_mesh(self.mesh)


class FaceFinder:
    """Detector and mesh together.

    The short-range detector looks first; the full-range one is asked where it finds nothing, as
    in full-height pictures of a person.
    """

    def __init__(self, *, num_threads: int = 2):
        self._near = FaceDetector(SHORT_RANGE, num_threads=num_threads)
        self._far = FaceDetector(FULL_RANGE, num_threads=num_threads)
        self._mesh = FaceMesh(num_threads=num_threads)

    def detect(self, image: np.ndarray) -> list[Detection]:
        """Detections in image (H, W, 3) uint8 RGB, the largest first; the detectors only."""
        detections = self._near.detect(image) or self._far.detect(image)
        return sorted(detections, key=lambda detection: -detection.area)

    def find(self, image: np.ndarray) -> list[Face]:
        """Faces in image (H, W, 3) uint8 RGB, the largest first; empty where there is none."""
        faces = []
        for detection in self.detect(image):
            mesh = self._refined_mesh(image, detection)
            if mesh is not None:
                faces.append(Face(box=detection.box, score=detection.score, mesh=mesh))
        return faces

    def track(self, frames: Iterable[np.ndarray], *, smooth: bool = True) -> np.ndarray:
        """Landmarks (T, 68, 3) float32 of one face through a video, NaN where it is not found.

        Each frame is searched where the face was in the last one; the detector is asked only at
        the start and after a loss. Then the largest face is taken.

        Args:
          frames: (H, W, 3) uint8 RGB each; read once.
          smooth: weakly over time, see `smooth_landmarks`.
        """
        tracker = self.tracker()
        landmarks = [tracker(frame) for frame in frames]
        if not landmarks:
            return np.zeros((0, NUM_LANDMARKS, 3), np.float32)
        return smooth_landmarks(np.stack(landmarks)) if smooth else np.stack(landmarks)

    def tracker(self) -> "FaceTracker":
        """What follows one face frame by frame, see `track`."""
        return FaceTracker(self)

    def largest_mesh(self, image: np.ndarray) -> np.ndarray | None:
        """Mesh (468, 3) of the largest face that is one, None if there is none."""
        candidates = (self._refined_mesh(image, detection) for detection in self.detect(image))
        return next((mesh for mesh in candidates if mesh is not None), None)

    def _refined_mesh(self, image: np.ndarray, detection: Detection) -> np.ndarray | None:
        # The second pass starts from the mesh's own region, as tracking does, so that a photo
        # and the first frame of a video get what later frames get.
        mesh = self.present_mesh(image, roi_from_detection(detection))
        return None if mesh is None else self.present_mesh(image, roi_from_mesh(mesh))

    def present_mesh(self, image: np.ndarray, roi: Roi) -> np.ndarray | None:
        """Mesh (468, 3) of the face in a region of the picture, None if there is none."""
        mesh, presence = self._mesh(image, roi)
        return mesh if presence >= MIN_PRESENCE else None


class FaceTracker:
    """One face, frame by frame; made by `FaceFinder.tracker`."""

    def __init__(self, finder: FaceFinder):
        self._finder, self._roi = finder, None

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        """Landmarks (68, 3) float32 in a frame (H, W, 3) uint8 RGB, NaN where there is no face."""
        return landmarks_from_mesh(self.mesh(frame))

    def mesh(self, frame: np.ndarray) -> np.ndarray:
        """The mesh (468, 3) float32 whose landmarks `__call__` returns."""
        finder = self._finder
        mesh = finder.present_mesh(frame, self._roi) if self._roi is not None else None
        if mesh is None:
            mesh = finder.largest_mesh(frame)
        self._roi = None if mesh is None else roi_from_mesh(mesh)
        return np.full((NUM_MESH_POINTS, 3), np.nan, np.float32) if mesh is None else mesh

    def forget(self) -> None:
        """Searches the next frame anew: after a cut the face is elsewhere."""
        self._roi = None
