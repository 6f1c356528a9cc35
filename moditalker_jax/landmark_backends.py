"""Where landmarks come from: which mean face they are compared with, and AToM's motion space.

A backend's name, mean face and scale travel with shards and checkpoints; landmarks of different
backends do not mix.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from moditalker_jax.errors import InputError
from moditalker_jax.mean_face import MEAN_FACE
from moditalker_jax.spec import NUM_LANDMARKS


@dataclass(frozen=True)
class LandmarkBackend:
    """A source of landmarks.

    Attributes:
      name: what data sets and checkpoints remember.
      mean_face: (68, 3) in face axes: x right, y up, z towards the viewer.
      motion_scale: AToM's motion is `motion_scale * (frontal landmarks - mean_face)`.
    """

    name: str
    mean_face: np.ndarray
    motion_scale: float

    @classmethod
    def of(cls, metadata: Mapping[str, Any]) -> "LandmarkBackend":
        """The backend that a data set's or a checkpoint's metadata remembers."""
        return cls(
            metadata["landmark_backend"],
            np.asarray(metadata["mean_face"], np.float32),
            metadata["motion_scale"],
        )

    def metadata(self) -> dict[str, Any]:
        """What travels with shards and checkpoints, as arguments of `records.dataset_metadata`."""
        return {
            "landmark_backend": self.name,
            "mean_face": self.mean_face,
            "motion_scale": self.motion_scale,
        }

    @property
    def finds_faces(self) -> bool:
        """Whether landmarks are found here; otherwise the user supplies them."""
        return self.name == MEDIAPIPE.name


MEDIAPIPE = LandmarkBackend("mediapipe-0.10.21/68", MEAN_FACE, 2.0)
"""The face finder that comes with the project.

The paper's scale of 10 belongs to its 3DMM, whose landmarks move less. Between any two frames of
the 28 recordings of speech that were measured a coordinate moves by 0.46 at most (0.11 in 99 % of
cases), so that residuals to a first frame stay inside [-1, 1], where sampling clips them."""


def bfm_backend(mean_face: np.ndarray) -> LandmarkBackend:
    """Landmarks of Deep3DFaceReconstruction on the BFM, which the user supplies (paper section 3).

    Args:
      mean_face: (68, 3), the keypoints of the BFM's mean shape as the release takes them
        (`key_mean_shape`); the BFM's licence forbids shipping them.

    Raises:
      InputError: it has another shape, or numbers that are not finite.
    """
    mean_face = np.asarray(mean_face, np.float32)
    if mean_face.shape != (NUM_LANDMARKS, 3) or not np.isfinite(mean_face).all():
        raise InputError(
            f"the mean face has shape {mean_face.shape}; give ({NUM_LANDMARKS}, 3), all finite"
        )
    return LandmarkBackend("deep3d-bfm/68", mean_face, 10.0)
