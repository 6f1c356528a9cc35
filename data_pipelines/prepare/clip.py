"""One video to prepared clips: shots, pictures, sound, landmarks and audio features in step."""

import dataclasses
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np

from data_pipelines.datasets.base import SourceVideo
from data_pipelines.prepare.split import held_out_tail
from data_pipelines.prepare.sync import SyncEstimate, estimate_offset
from data_pipelines.prepare.tracking import Shot, track_shots
from data_pipelines.records import SAMPLES_PER_FRAME, PreparedClip, equal_parts, pcm16
from moditalker_jax.audio_features import AudioEncoder
from moditalker_jax.errors import InputError
from moditalker_jax.faces import CropBox, FaceFinder, centre_crop, centre_square, clip_crop
from moditalker_jax.faces.crop import crop_frame
from moditalker_jax.landmarks import fill_missing_landmarks, frontalize, smooth_landmarks
from moditalker_jax.media.video import iterate_frames, read_video_audio
from moditalker_jax.spec import AUDIO_SAMPLE_RATE, AUDIO_STEPS_PER_FRAME, CLIP_FRAMES, FPS

MAX_FACELESS_SHARE = 0.3
"""A shot with more frames without a face than this is refused."""
MAX_CROWDED_SHARE = 0.3
"""And so is one with more frames in which several faces are of like size."""
SILENCE = 1e-3
"""Sound whose loudest 40 ms stay below this root mean square (-60 dB) is silent."""
MAX_LENGTH_DIFFERENCE = 0.5
"""Seconds by which sound and picture may differ in length."""

Framing = Literal["face", "centre"]
Reason = Literal[
    "unreadable",
    "too_short",
    "no_sound",
    "silent_sound",
    "lengths_differ",
    "no_face",
    "several_faces",
    "too_small",
    "out_of_sync",
    "no_colour",
]


class Rejected(InputError):
    """A video, or a shot of one, that is left out; `reason` is one of `Reason`."""

    def __init__(self, reason: Reason, message: str):
        super().__init__(message)
        self.reason = reason


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """How videos are prepared.

    Attributes:
      resolution: side of the square pictures in pixels.
      framing: "face" crops around the face; "centre" takes the middle square of videos that are
        framed already, as the release does.
      max_seconds: longer shots are cut into equal pieces of at most this length.
      min_side: crops of fewer pixels a side are too small.
      audio_offset_ms: by how much the sound of all videos trails the lips; it is moved forward.
      sync: what an estimated offset between sound and lips leads to: a line in the report, the
        sound moved, or the shot left out where it is more than a frame.
    """

    resolution: int
    framing: Framing = "face"
    max_seconds: float = 10.0
    min_side: int = 128
    audio_offset_ms: float = 0.0
    sync: Literal["report", "correct", "reject"] = "report"


@dataclasses.dataclass(frozen=True)
class PreparedShot:
    """What is known of a shot before its pictures are cropped.

    Attributes:
      start: its first frame in the video.
      landmarks: (T, 68, 3) in pixels of the picture.
      audio: (T * 640,) float32.
      held: frames whose landmarks were held because no face was found.
    """

    start: int
    landmarks: np.ndarray
    frontal_landmarks: np.ndarray
    audio: np.ndarray
    audio_features: np.ndarray
    box: CropBox
    held: int
    sync: SyncEstimate

    def __len__(self) -> int:
        return len(self.landmarks)


@dataclasses.dataclass(frozen=True)
class VideoReading:
    """What a video was found to hold: shots to take, and those left out with their first frame."""

    num_frames: int
    shots: list[PreparedShot]
    left_out: list[tuple[int, Rejected]]


@dataclasses.dataclass(frozen=True)
class Prepared:
    """What came of one source.

    Attributes:
      seconds: of video read.
      clips: (split, clip) pairs; read once, so that memory holds one clip at a time.
      shots: facts of each shot taken, see `work.Outcome`.
      left_out: facts of each shot that was not.
    """

    seconds: float
    clips: Iterator[tuple[str, PreparedClip]]
    shots: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    left_out: list[dict[str, Any]] = dataclasses.field(default_factory=list)


def prepare_video(
    source: SourceVideo, settings: Settings, *, finder: FaceFinder, encoder: AudioEncoder
) -> Prepared:
    """A video's clips, cropped to the face, one for each shot and piece.

    Raises:
      Rejected: the video, or every shot of it, cannot be used.
    """
    reading = read_shots(source, settings, finder=finder, encoder=encoder)
    return Prepared(
        seconds=reading.num_frames / FPS,
        clips=crop_clips(source, reading, settings),
        shots=[
            {
                "start": shot.start,
                "frames": len(shot),
                "held": shot.held,
                "sync_ms": shot.sync.offset_ms,
                "sync_confidence": shot.sync.confidence,
            }
            for shot in reading.shots
        ],
        left_out=[
            {"start": start, "reason": rejection.reason, "message": str(rejection)}
            for start, rejection in reading.left_out
        ],
    )


def read_shots(
    source: SourceVideo, settings: Settings, *, finder: FaceFinder, encoder: AudioEncoder
) -> VideoReading:
    """The first pass: everything but the pictures.

    Raises:
      Rejected: the video, or every shot of it, cannot be used.
    """
    path = source.path
    try:
        frame_size = next(_pictures(source)).shape[:2]
        shots = track_shots(_pictures(source), finder)
        num_frames = sum(map(len, shots))
        audio = _read_sound(source, settings, num_frames)
    except Rejected:
        raise
    except (InputError, StopIteration) as error:
        raise Rejected("unreadable", str(error) or f"{path}: holds no frames") from error
    taken, left_out = [], []
    for shot in shots:
        try:
            taken.append(_examine(shot, audio, frame_size, settings, encoder, path))
        except Rejected as rejection:
            left_out.append((shot.start, rejection))
    if not taken:
        raise left_out[0][1]
    return VideoReading(num_frames, taken, left_out)


def crop_clips(
    source: SourceVideo, reading: VideoReading, settings: Settings
) -> Iterator[tuple[str, PreparedClip]]:
    """The second pass: yields (split, clip), of which memory holds one at a time."""
    pictures = enumerate(_pictures(source))
    whole = len(reading.shots) == 1 and len(reading.shots[0]) == reading.num_frames
    for shot in reading.shots:
        parts = _parts(len(shot), source.split, round(settings.max_seconds * FPS))
        for split, start, stop in parts:
            first = shot.start + start
            frames = []
            for index, picture in pictures:
                if index >= first:
                    frames.append(_square(picture, shot.box, settings))
                if len(frames) == stop - start:
                    break
            steps = slice(start * AUDIO_STEPS_PER_FRAME, stop * AUDIO_STEPS_PER_FRAME)
            samples = slice(start * SAMPLES_PER_FRAME, stop * SAMPLES_PER_FRAME)
            alone = whole and len(parts) == 1
            yield (
                split,
                PreparedClip(
                    name=source.name if alone else f"{source.name}-{first:06d}",
                    speaker=source.speaker,
                    frames=np.stack(frames),
                    landmarks=shot.box.to_crop(shot.landmarks[start:stop]),
                    frontal_landmarks=shot.frontal_landmarks[start:stop],
                    audio_features=shot.audio_features[steps],
                    audio=pcm16(shot.audio[samples], stop - start),
                ),
            )


def _pictures(source: SourceVideo) -> Iterator[np.ndarray]:
    for picture in iterate_frames(source.path, start=source.start, stop=source.stop):
        if source.crop is None:
            yield picture
        else:
            left, top, right, bottom = source.crop
            yield picture[top:bottom, left:right]


def _read_sound(source: SourceVideo, settings: Settings, num_frames: int) -> np.ndarray:
    path, length = source.path, num_frames / FPS
    audio = read_video_audio(path, advance=source.start + settings.audio_offset_ms / 1000)
    if audio is None:
        raise Rejected("no_sound", f"{path}: has no sound; give a video with an audio track")
    if source.stop is not None:
        audio = audio[: round(length * AUDIO_SAMPLE_RATE)]
    seconds = audio.size / AUDIO_SAMPLE_RATE + settings.audio_offset_ms / 1000
    if abs(seconds - length) > MAX_LENGTH_DIFFERENCE:
        raise Rejected(
            "lengths_differ",
            f"{path}: its sound lasts {seconds:.2f} s, its pictures {length:.2f} s; "
            "they may be of different recordings",
        )
    blocks = np.pad(audio, (0, -audio.size % SAMPLES_PER_FRAME)).reshape(-1, SAMPLES_PER_FRAME)
    if np.sqrt(np.mean(blocks**2, axis=1)).max() < SILENCE:
        raise Rejected("silent_sound", f"{path}: its sound is silent; give the recording's sound")
    return audio


def _examine(
    shot: Shot,
    audio: np.ndarray,
    frame_size: tuple[int, int],
    settings: Settings,
    encoder: AudioEncoder,
    path: object,
) -> PreparedShot:
    where = f"{path}: from {shot.start / FPS:.1f} s" if shot.start else str(path)
    if len(shot) < CLIP_FRAMES:
        raise Rejected(
            "too_short", f"{where}: {len(shot)} frames are too few; give {CLIP_FRAMES} or more"
        )
    held = int(np.isnan(shot.landmarks[:, 0, 0]).sum())
    if held > MAX_FACELESS_SHARE * len(shot):
        raise Rejected(
            "no_face",
            f"{where}: no face in {held} of {len(shot)} frames, more than "
            f"{MAX_FACELESS_SHARE:.0%}; cut the video to where one face is seen",
        )
    if shot.crowded_share > MAX_CROWDED_SHARE:
        raise Rejected(
            "several_faces",
            f"{where}: several faces of like size in {shot.crowded_share:.0%} of the frames; "
            "crop the video to one of them",
        )
    landmarks = fill_missing_landmarks(smooth_landmarks(shot.landmarks))
    if settings.framing == "centre":
        box = centre_crop(frame_size)
    else:
        box = clip_crop(landmarks, frame_size=frame_size)
    if box.size < settings.min_side:
        raise Rejected(
            "too_small",
            f"{where}: the face with its surroundings takes {box.size} pixels, fewer than "
            f"{settings.min_side}; give a larger picture",
        )
    frontal_landmarks, _ = frontalize(landmarks)
    sound = _sound_at(audio, shot.start * SAMPLES_PER_FRAME, len(shot))
    sync = estimate_offset(frontal_landmarks, sound)
    offset = round(sync.offset_ms * AUDIO_SAMPLE_RATE / 1000) if sync.is_trusted else 0
    if settings.sync == "reject" and abs(offset) > SAMPLES_PER_FRAME:
        raise Rejected(
            "out_of_sync",
            f"{where}: its sound seems {sync.offset_ms:+.0f} ms late; --sync correct moves it",
        )
    if settings.sync == "correct" and offset:
        sound = _sound_at(audio, shot.start * SAMPLES_PER_FRAME + offset, len(shot))
    return PreparedShot(
        start=shot.start,
        landmarks=landmarks,
        frontal_landmarks=frontal_landmarks,
        audio=sound,
        audio_features=encoder(sound),
        box=box,
        held=held,
        sync=sync,
    )


def _sound_at(audio: np.ndarray, start: int, num_frames: int) -> np.ndarray:
    """`num_frames` frames of sound from sample `start`, silence beyond both ends."""
    length = num_frames * SAMPLES_PER_FRAME
    part = audio[max(start, 0) : max(start + length, 0)]
    before = max(-start, 0)
    return np.pad(part, (before, length - before - part.size))


def _square(picture: np.ndarray, box: CropBox, settings: Settings) -> np.ndarray:
    if settings.framing == "centre":
        return np.round(centre_square(picture, settings.resolution)).astype(np.uint8)
    return crop_frame(picture, box, settings.resolution)


def _parts(num_frames: int, split: str | None, max_frames: int) -> list[tuple[str, int, int]]:
    """(split, start, stop) of the fewest pieces of about equal length."""
    if split is None:
        end = num_frames - held_out_tail(num_frames)
        spans = [("train", 0, end), ("validation", end, num_frames)]
    else:
        spans = [(split, 0, num_frames)]
    return [
        (name, start + a, start + b)
        for name, start, stop in spans
        for a, b in equal_parts(stop - start, max_frames)
    ]
