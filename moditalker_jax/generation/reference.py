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


def read_reference(path: str | Path, *, resolution: int, finder: FaceFinder) -> Reference:
    """Reads a photo or a video and finds its face; see `reference_from_frames`."""
    frames = (
        read_image(path)[None] if is_image(path) else read_video(path, max_side=MAX_SIDE).frames
    )
    return reference_from_frames(frames, path, resolution, finder)


def reference_from_frames(
    frames: np.ndarray, source: str | Path, resolution: int, finder: FaceFinder
) -> Reference:
    """Finds the face in uint8 frames (R, H, W, 3) and crops it.

    Of several faces the largest is taken, with a warning. Video frames without a face keep the
    last landmarks, with a warning that counts them.

    Args:
      source: what the frames are called in messages.

    Raises:
      InputError: no face, or no face in more than 30 % of a video's frames.
    """
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
    box = clip_crop(landmarks, frame_size=frames.shape[1:3])
    return Reference(crop_frames(frames, box, resolution), box.to_crop(landmarks))
