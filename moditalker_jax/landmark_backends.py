"""Where landmarks come from: which mean face they are compared with, and AToM's motion space.

A backend's name, mean face and scale travel with shards and checkpoints; landmarks of different
backends do not mix.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
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
        """The backend that a data set's or a checkpoint's metadata remembers.

        Raises:
          InputError: it remembers no mean face, as a checkpoint that was converted without one.
        """
        if metadata.get("mean_face") is None:
            raise InputError(
                "a checkpoint was converted without the mean face of its landmarks, "
                f"{metadata['landmark_backend']!r}; convert it again with --mean-face"
            )
        return cls(
            metadata["landmark_backend"],
            np.asarray(metadata["mean_face"], np.float32),
            metadata["motion_scale"],
        )

    def metadata(self) -> dict[str, Any]:
        """What travels with shards and checkpoints, as plain JSON values."""
        return {
            "landmark_backend": self.name,
            "mean_face": self.mean_face.tolist(),
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


BFM_NAME, BFM_MOTION_SCALE = "deep3d-bfm/68", 10.0


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
    return LandmarkBackend(BFM_NAME, mean_face, BFM_MOTION_SCALE)


def read_bfm_backend(path: Path) -> LandmarkBackend:
    """`bfm_backend` of the mean face in an .npy file.

    Raises:
      InputError: the file is missing, or holds no mean face.
    """
    try:
        return bfm_backend(np.load(path, allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: cannot be read as an array; give the BFM's mean face") from error
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
