"""One video file to one prepared clip: pictures, sound, landmarks, audio features in step."""

import logging
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Literal

import numpy as np

from data_pipelines.records import PreparedClip, pcm16
from moditalker_jax.audio_features import AudioEncoder
from moditalker_jax.errors import InputError
from moditalker_jax.faces import (
    FaceFinder,
    centre_crop,
    centre_square,
    clip_crop,
    crop_frames,
)
from moditalker_jax.landmarks import fill_missing_landmarks, frontalize
from moditalker_jax.media.video import iterate_frames, read_video_audio
from moditalker_jax.spec import CLIP_FRAMES

MAX_FACELESS_SHARE = 0.3
"""A video with more frames without a face than this is refused."""

Framing = Literal["face", "centre"]

_log = logging.getLogger(__name__)


def prepare_clip(
    path: str | Path,
    *,
    resolution: int,
    finder: FaceFinder,
    encoder: AudioEncoder,
    name: str | None = None,
    audio_offset_ms: float = 0.0,
    framing: Framing = "face",
    on_frame: Callable[[], object] = lambda: None,
) -> PreparedClip:
    """Prepares a whole video of one speaking face.

    The file is read twice, first to follow the face, then to crop, so that memory holds only the
    cropped pictures. One crop serves the whole video: the picture stays as steady as the camera.

    Args:
      path: any video file with sound.
      resolution: side of the square pictures in pixels.
      finder: follows the face.
      encoder: makes the audio features, from the whole sound at once.
      name: of the clip and its speaker; the file's stem if None.
      audio_offset_ms: by how much the sound trails the lips; it is moved forward by as much.
      framing: "face" crops around the face; "centre" takes the middle square of videos that are
        framed already, as the release does.
      on_frame: called for each frame read, so twice for every frame.

    Raises:
      InputError: unreadable, without pictures or sound, shorter than one clip of 16 frames, or
        without a face in more than 30 % of its frames.
    """
    path = Path(path)
    frame_size = next(iterate_frames(path)).shape[:2]
    landmarks = finder.track(_counted(iterate_frames(path), on_frame))
    if len(landmarks) < CLIP_FRAMES:
        raise InputError(f"{path}: {len(landmarks)} frames are too few; give {CLIP_FRAMES} or more")
    landmarks = _without_gaps(landmarks, path)
    audio = read_video_audio(path, len(landmarks), advance=audio_offset_ms / 1000)
    if audio is None:
        raise InputError(f"{path}: has no sound; give a video with an audio track")
    pictures = _counted(iterate_frames(path), on_frame)
    if framing == "centre":
        box = centre_crop(frame_size)
        squares = np.stack([centre_square(picture, resolution) for picture in pictures])
        frames = np.round(squares).astype(np.uint8)
    else:
        box = clip_crop(landmarks, frame_size=frame_size)
        frames = crop_frames(pictures, box, resolution)
    frontal_landmarks, _ = frontalize(landmarks)
    name = name or path.stem
    return PreparedClip(
        name=name,
        speaker=name,
        frames=frames,
        landmarks=box.to_crop(landmarks),
        frontal_landmarks=frontal_landmarks,
        audio_features=encoder(audio),
        audio=pcm16(audio, len(frames)),
    )


def _without_gaps(landmarks: np.ndarray, path: Path) -> np.ndarray:
    """Holds the last landmarks (T, 68, 3) where no face was found (NaN), unless that is often."""
    lost = int(np.isnan(landmarks[:, 0, 0]).sum())
    if lost > MAX_FACELESS_SHARE * len(landmarks):
        raise InputError(
            f"{path}: no face in {lost} of {len(landmarks)} frames, more than "
            f"{MAX_FACELESS_SHARE:.0%}; cut the video to where one face is seen"
        )
    if lost:
        _log.warning("%s: no face in %d of %d frames; held the last", path, lost, len(landmarks))
    return fill_missing_landmarks(landmarks)


def _counted(frames: Iterable[np.ndarray], on_frame: Callable[[], object]) -> Iterator[np.ndarray]:
    for frame in frames:
        yield frame
        on_frame()
