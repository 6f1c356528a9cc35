"""The record contract: what one prepared clip holds, and what a data set says about itself.

Without TensorFlow, so that preparing and synthesising clips needs no TensorFlow.
"""

import dataclasses
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from moditalker_jax import spec
from moditalker_jax.errors import InputError

SAMPLES_PER_FRAME = spec.AUDIO_SAMPLE_RATE // spec.FPS
JPEG_QUALITY = 95
AUDIO = "audio_features"
LATENT_NAMES = ("video", "landmark", "pose", "reference")
"""Z, Z_L, Z_P and Z_I of the paper's figure 2."""
NO_AUDIO_FEATURES = {"name": "none", "width": 0, "version": 0}
"""The audio encoder of data sets without sound."""
MAX_CLIP_FRAMES = 300
"""Longer clips are cut, so that a reader who wants 16 frames never loads minutes of video."""


@dataclasses.dataclass(frozen=True)
class PreparedClip:
    """One talking face, cropped and cut to 25 fps, with its sound: T frames that belong together.

    What others preprocessed may lack a part: `frames` and `landmarks`, `audio_features`, or
    `audio` then have length 0.

    Attributes:
      name: unique within its split.
      speaker: whose face it is.
      frames: (T, R, R, 3) uint8 RGB.
      landmarks: (T, 68, 3) float32 in units of the crop's width: x right and y down from the top
        left corner, z on the same scale towards the viewer.
      frontal_landmarks: (T, 68, 3) float32 without head pose, in the mean face's units: x right,
        y up, z towards the viewer.
      audio_features: (2T, D) float32 at 50 Hz.
      audio: (T * 640,) int16 mono at 16 kHz.

    Raises:
      ValueError: shapes or types that disagree, or numbers that are not finite.
    """

    name: str
    speaker: str
    frames: np.ndarray
    landmarks: np.ndarray
    frontal_landmarks: np.ndarray
    audio_features: np.ndarray
    audio: np.ndarray

    def __post_init__(self):
        length = len(self.frontal_landmarks)
        points = (spec.NUM_LANDMARKS, 3)
        seen = length if len(self.frames) else 0
        side = self.frames.shape[1] if self.frames.ndim == 4 else 0
        self._require("frames", np.uint8, (seen, side, side, 3))
        self._require("landmarks", np.float32, (seen, *points))
        self._require("frontal_landmarks", np.float32, (length, *points))
        width = self.audio_features.shape[-1]
        steps = spec.AUDIO_STEPS_PER_FRAME * length if len(self.audio_features) else 0
        self._require("audio_features", np.float32, (steps, width))
        samples = SAMPLES_PER_FRAME * length if len(self.audio) else 0
        self._require("audio", np.int16, (samples,))

    def _require(self, field: str, dtype: type, shape: tuple[int, ...]) -> None:
        array = getattr(self, field)
        if array.shape != shape or array.dtype != dtype:
            raise ValueError(
                f"clip {self.name}: {field} is {array.dtype} {array.shape}, "
                f"not {np.dtype(dtype)} {shape}"
            )
        if not np.isfinite(array).all():
            raise ValueError(f"clip {self.name}: {field} holds numbers that are not finite")

    def __len__(self) -> int:
        return len(self.frontal_landmarks)

    @property
    def resolution(self) -> int:
        """The side of the square frames in pixels."""
        return self.frames.shape[1]

    def piece(self, start: int, stop: int) -> "PreparedClip":
        """Frames [start, stop) with everything that belongs to them, named after its start."""
        steps = spec.AUDIO_STEPS_PER_FRAME
        return dataclasses.replace(
            self,
            name=f"{self.name}-{start:06d}",
            frames=self.frames[start:stop],
            landmarks=self.landmarks[start:stop],
            frontal_landmarks=self.frontal_landmarks[start:stop],
            audio_features=self.audio_features[start * steps : stop * steps],
            audio=self.audio[start * SAMPLES_PER_FRAME : stop * SAMPLES_PER_FRAME],
        )

    def pieces(self, max_frames: int = MAX_CLIP_FRAMES) -> Iterator["PreparedClip"]:
        """The clip itself if it is short enough, or the fewest pieces of about equal length."""
        if len(self) <= max_frames:
            yield self
        else:
            for start, stop in equal_parts(len(self), max_frames):
                yield self.piece(start, stop)


def equal_parts(length: int, longest: int) -> list[tuple[int, int]]:
    """(start, stop) of the fewest parts of about equal length, none longer than `longest`."""
    count = -(-length // longest)
    edges = [round(i * length / count) for i in range(count + 1)] if count else []
    return list(zip(edges[:-1], edges[1:], strict=True))


def encode_clip(clip: PreparedClip) -> dict[str, Any]:
    """The clip as its data set holds it: the same fields, frames as a list of T JPEG files."""
    fields = {field.name: getattr(clip, field.name) for field in dataclasses.fields(clip)}
    return fields | {"frames": [_jpeg(frame) for frame in clip.frames]}


def _jpeg(frame: np.ndarray) -> bytes:
    # Full colour resolution: lips are told from skin by their colour, a few pixels wide.
    sampling = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    _, encoded = cv2.imencode(".jpg", frame[..., ::-1], [*quality, *sampling])
    return encoded.tobytes()


def pcm16(waveform: np.ndarray, num_frames: int) -> np.ndarray:
    """A float waveform as the record's audio: exactly `num_frames * 640` int16 samples.

    Args:
      waveform: (n,) at 16 kHz in [-1, 1]; cut or padded with silence, and clipped.
      num_frames: video frames T.
    """
    samples = np.zeros(num_frames * SAMPLES_PER_FRAME, np.float32)
    kept = waveform[: len(samples)]
    samples[: len(kept)] = kept
    return np.round(np.clip(samples, -1.0, 1.0) * 32767.0).astype(np.int16)


def dataset_metadata(
    *,
    resolution: int,
    audio_encoder: Mapping[str, Any],
    landmark_backend: str,
    motion_scale: float,
    mean_face: np.ndarray | Sequence[Any],
    **more: Any,
) -> dict[str, Any]:
    """What travels with the shards, as plain JSON values.

    Args:
      resolution: side of the frames in pixels.
      audio_encoder: {"name", "width", "version"} of what made `audio_features`.
      landmark_backend: what found the landmarks, such as "mediapipe" or "synthetic".
      motion_scale: AToM's motion space is `motion_scale * (frontal_landmarks - mean_face)`.
      mean_face: (68, 3).
      more: further facts worth keeping (JSON values), such as the command's arguments.
    """
    missing = {"name", "width", "version"} - set(audio_encoder)
    if missing:
        raise ValueError(f"audio_encoder lacks {', '.join(sorted(missing))}")
    mean_face = np.asarray(mean_face, np.float64)
    if mean_face.shape != (spec.NUM_LANDMARKS, 3):
        raise ValueError(f"mean_face is {mean_face.shape}, not ({spec.NUM_LANDMARKS}, 3)")
    return {
        "fps": spec.FPS,
        "resolution": int(resolution),
        "audio_encoder": dict(audio_encoder),
        "landmark_backend": landmark_backend,
        "motion_scale": float(motion_scale),
        "mean_face": mean_face.tolist(),
        **more,
    }


def latent_metadata(
    *,
    plane_sizes: Mapping[str, tuple[int, int]],
    latent_channels: int,
    autoencoder: str,
    landmark_autoencoder: str,
    **more: Any,
) -> dict[str, Any]:
    """What travels with latent shards, as plain JSON values.

    Args:
      plane_sizes: rows and columns of the planes "xy", "yt" and "xt", in this order.
      latent_channels: C.
      autoencoder, landmark_autoencoder: which encoders these latents belong to, such as a
        checkpoint's directory and step; a model trained on them needs the same decoder.
      more: further facts worth keeping (JSON values).
    """
    if list(plane_sizes) != ["xy", "yt", "xt"]:
        raise ValueError(f"plane_sizes names {list(plane_sizes)}, not xy, yt, xt in this order")
    return {
        "plane_sizes": {name: [int(n) for n in size] for name, size in plane_sizes.items()},
        "latent_channels": int(latent_channels),
        "autoencoder": autoencoder,
        "landmark_autoencoder": landmark_autoencoder,
        **more,
    }


def latent_shape(metadata: Mapping[str, Any]) -> tuple[int, int]:
    """(L, C) of one latent: all positions of the three planes, and the channels."""
    tokens = sum(rows * columns for rows, columns in metadata["plane_sizes"].values())
    return tokens, metadata["latent_channels"]


def checked_latents(
    windows: Iterable[Mapping[str, Any]], metadata: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """Windows of latents as they are stored: float16, of the shapes that the metadata say.

    Args:
      windows: dicts of name (the clip's), start (the window's first frame), for each of
        `LATENT_NAMES` an array (L, C), and audio_features (2T, A) if the metadata name an
        audio_encoder.
      metadata: made by `latent_metadata`.

    Raises:
      ValueError: a latent is of another shape, or not finite.
    """
    shapes = dict.fromkeys(LATENT_NAMES, latent_shape(metadata))
    if "audio_encoder" in metadata:
        steps = spec.AUDIO_STEPS_PER_FRAME * metadata["plane_sizes"]["yt"][0]
        shapes[AUDIO] = (steps, metadata["audio_encoder"]["width"])
    for window in windows:
        name, start = str(window["name"]), int(window["start"])
        stored: dict[str, Any] = {"name": name, "start": start}
        for array, shape in shapes.items():
            stored[array] = np.asarray(window[array]).astype(np.float16)
            if stored[array].shape != shape or not np.isfinite(stored[array]).all():
                raise ValueError(
                    f"window {name} at frame {start}: {array} is {stored[array].shape}, or not "
                    f"finite; finite {shape} is asked for"
                )
        yield stored


def reference_frame(clip: bytes, start: int, num_frames: int) -> int:
    """Number of the frame of a clip that identifies its window: any, the same in every call."""
    digest = hashlib.sha256(clip + b"@%d" % start).digest()
    return int.from_bytes(digest[:8], "big") % num_frames


def check_audio_encoder(
    metadata: Mapping[str, Any], expected: Mapping[str, Any], *, where: str | Path
) -> None:
    """Makes sure that a data set's audio features are those that a model was trained on.

    Args:
      metadata: the data set's.
      expected: {"name", "width", "version"} of the model's audio encoder.
      where: the model, for the error.

    Raises:
      InputError: the encoders differ.
    """
    found = metadata["audio_encoder"]
    if dict(found) != dict(expected):
        raise InputError(
            f"{where} was trained with audio encoder {_describe(expected)}, but the data's "
            f"features are of {_describe(found)}: prepare the data with that audio encoder"
        )


def _describe(encoder: Mapping[str, Any]) -> str:
    return f"{encoder['name']!r} (width {encoder['width']}, version {encoder['version']})"


def check_split_name(split: str) -> None:
    """Raises ValueError for a split name that cannot be part of a shard's file name."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", split):
        raise ValueError(f"split {split!r} is not a lower-case word")


def require_vacant(out_dir: str | Path) -> None:
    """Raises InputError unless `out_dir` is free for a new data set; call it before long work."""
    out_dir = Path(out_dir)
    if out_dir.is_file():
        raise InputError(f"{out_dir}: is a file; give a folder to write the data set to")
    if out_dir.is_dir() and any(out_dir.iterdir()):
        raise InputError(f"{out_dir}: is not empty; remove it or choose another folder")
