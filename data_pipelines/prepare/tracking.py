"""Shots of a video and the face in each: the pass over the whole picture."""

import dataclasses
from collections.abc import Iterable

import cv2
import numpy as np

from moditalker_jax.faces import FaceFinder
from moditalker_jax.spec import FPS

_THUMBNAIL = (32, 32)
CUT_CHANGE = 0.1
"""Mean change of a pixel from frame to frame, of the full range, that a cut makes at least."""
CUT_RATIO = 5.0
"""And by how much a cut changes the picture more than motion did in the second before."""
LIKE_SIZE = 0.5
"""A second face of at least this share of the first one's area is of like size."""


@dataclasses.dataclass(frozen=True)
class Shot:
    """Frames without a cut in between.

    Attributes:
      start: the first frame's number in the video.
      landmarks: (T, 68, 3) float32 in pixels, NaN where no face was found; not smoothed.
      crowded_share: of the frames looked at, those with two faces or more of like size.
    """

    start: int
    landmarks: np.ndarray
    crowded_share: float

    def __len__(self) -> int:
        return len(self.landmarks)


def track_shots(frames: Iterable[np.ndarray], finder: FaceFinder) -> list[Shot]:
    """Follows the largest face through the frames (H, W, 3) uint8 RGB, anew after every cut.

    The detector looks for further faces once a second.
    """
    tracker = finder.tracker()
    shots: list[Shot] = []
    landmarks: list[np.ndarray] = []
    crowded: list[bool] = []
    changes: list[float] = []
    previous, start = None, 0

    def close() -> None:
        if landmarks:
            shots.append(Shot(start, np.stack(landmarks), float(np.mean(crowded))))

    for index, frame in enumerate(frames):
        thumbnail = cv2.resize(frame, _THUMBNAIL, interpolation=cv2.INTER_AREA).astype(np.float32)
        if previous is not None:
            changes.append(float(np.abs(thumbnail - previous).mean()) / 255)
            if _is_cut(changes[-1], changes[-1 - FPS : -1]):
                close()
                landmarks, crowded, changes, start = [], [], [], index
                tracker.forget()
        previous = thumbnail
        landmarks.append(tracker(frame))
        if (index - start) % FPS == 0:
            crowded.append(_is_crowded(finder, frame))
    close()
    return shots


def _is_cut(change: float, before: list[float]) -> bool:
    # Without a change before it there is nothing that tells a cut from fast motion.
    return bool(before) and change > CUT_CHANGE and change > CUT_RATIO * np.mean(before)


def _is_crowded(finder: FaceFinder, frame: np.ndarray) -> bool:
    areas = [detection.area for detection in finder.detect(frame)]
    return len(areas) > 1 and areas[1] >= LIKE_SIZE * areas[0]
