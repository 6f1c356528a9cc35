"""The face that is to speak: a photo or a video, cropped and with its landmarks found."""

import dataclasses
import logging
from pathlib import Path

import numpy as np

from moditalker_jax.errors import InputError
from moditalker_jax.faces.crop import clip_crop, crop_frames
from moditalker_jax.faces.finder import FaceFinder
from moditalker_jax.landmarks import fill_missing_landmarks
from moditalker_jax.media.image import is_image, read_image
from moditalker_jax.media.video import read_video
from moditalker_jax.spec import NUM_LANDMARKS

_log = logging.getLogger(__name__)

MAX_MISSING_SHARE = 0.3
"""A video without a face in more than this share of its frames is refused."""
MAX_SIDE = 1280


@dataclasses.dataclass(frozen=True)
class Reference:
    """Frames of one face and their landmarks.

    Attributes:
      frames: uint8 (R, H, W, 3) square crops; R is 1 for a photo.
      landmarks: (R, 68, 3) in units of the crop's width (x right, y down, z to the viewer).
    """

    frames: np.ndarray
    landmarks: np.ndarray

    def played_for(self, num_frames: int) -> "Reference":
        """Exactly `num_frames` frames: played to and fro, so that no cut shows; a photo stands."""
        forth = np.arange(len(self.frames))
        to_and_fro = np.concatenate([forth, forth[-2:0:-1]])
        chosen = np.resize(to_and_fro, num_frames)
        return Reference(self.frames[chosen], self.landmarks[chosen])


def read_reference(
    path: str | Path,
    *,
    resolution: int,
    finder: FaceFinder,
    landmarks: np.ndarray | None = None,
) -> Reference:
    """Reads a photo or a video and finds its face; see `reference_from_frames`."""
    frames = (
        read_image(path)[None] if is_image(path) else read_video(path, max_side=MAX_SIDE).frames
    )
    return reference_from_frames(frames, path, resolution, finder, landmarks)


def read_landmarks(path: str | Path) -> np.ndarray:
    """A user's landmarks of an identity: an .npy of (R, 68, 3), or (68, 3) for a photo.

    In pixels of the pictures: x right, y down, z on the same scale towards the viewer.

    Raises:
      InputError: the file is missing, no array, or of another shape.
    """
    try:
        landmarks = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: cannot be read as an .npy array of landmarks") from error
    if isinstance(landmarks, np.ndarray) and landmarks.shape == (NUM_LANDMARKS, 3):
        landmarks = landmarks[None]
    if (
        not isinstance(landmarks, np.ndarray)
        or landmarks.ndim != 3
        or landmarks.shape[1:] != (NUM_LANDMARKS, 3)
        or not np.isfinite(landmarks.astype(np.float32)).all()
    ):
        raise InputError(f"{path}: holds no landmarks; give finite numbers (frames, 68, 3)")
    return landmarks.astype(np.float32)


def reference_from_frames(
    frames: np.ndarray,
    source: str | Path,
    resolution: int,
    finder: FaceFinder,
    landmarks: np.ndarray | None = None,
) -> Reference:
    """Finds the face in uint8 frames (R, H, W, 3), unless its landmarks are given, and crops it.

    Of several faces the largest is taken, with a warning. Video frames without a face keep the
    last landmarks, with a warning that counts them.

    Args:
      source: what the frames are called in messages.
      landmarks: (R, 68, 3) in pixels of the frames.

    Raises:
      InputError: no face, or no face in more than 30 % of a video's frames; landmarks of another
        number of frames.
    """
    if landmarks is None:
        landmarks = _find_face(frames, source, finder)
    elif len(landmarks) != len(frames):
        raise InputError(
            f"{source}: has {len(frames)} frames at 25 fps, the landmarks are of {len(landmarks)}; "
            "give one set a frame"
        )
    box = clip_crop(landmarks, frame_size=frames.shape[1:3])
    return Reference(crop_frames(frames, box, resolution), box.to_crop(landmarks))


def _find_face(frames: np.ndarray, source: str | Path, finder: FaceFinder) -> np.ndarray:
    faces = finder.find(frames[0])
    if len(faces) > 1:
        left, top, right, bottom = (round(float(edge)) for edge in faces[0].box)
        _log.warning(
            f"{source}: {len(faces)} faces; taking the largest, at x {left}-{right}, "
            f"y {top}-{bottom}",
        )
    landmarks = finder.track(frames)
    missing = int(np.isnan(landmarks[:, 0, 0]).sum())
    if missing == len(frames):
        raise InputError(f"{source}: no face found; give a picture with one frontal face")
    if missing > MAX_MISSING_SHARE * len(frames):
        raise InputError(
            f"{source}: no face in {missing} of {len(frames)} frames; cut the video to where the "
            "face is seen"
        )
    if missing:
        _log.warning(
            f"{source}: no face in {missing} of {len(frames)} frames; they keep the last landmarks",
        )
        landmarks = fill_missing_landmarks(landmarks)
    return landmarks
