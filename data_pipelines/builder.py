"""Writes prepared clips as TFDS shards, and reads what a data set says about itself."""

import io
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from data_pipelines.quiet_tensorflow import tf, tfds
from data_pipelines.records import MAX_CLIP_FRAMES, PreparedClip
from data_pipelines.shards import Example, RecordType, open_shards, write_shards
from moditalker_jax import spec

JPEG_QUALITY = 95
_POINTS = tfds.features.Tensor(shape=(None, spec.NUM_LANDMARKS, 3), dtype=np.float32)


def clip_type(resolution: int | None = None, audio_width: int | None = None) -> RecordType:
    """The record of `PreparedClip`; sizes are needed to write, not to read."""
    return RecordType(
        name="talking_heads",
        features=tfds.features.FeaturesDict(
            {
                "name": tfds.features.Text(),
                "speaker": tfds.features.Text(),
                "frames": tfds.features.Sequence(
                    tfds.features.Image(shape=(resolution, resolution, 3), encoding_format="jpeg")
                ),
                "landmarks": _POINTS,
                "frontal_landmarks": _POINTS,
                "audio_features": tfds.features.Tensor(shape=(None, audio_width), dtype=np.float32),
                "audio": tfds.features.Tensor(shape=(None,), dtype=np.int16),
            }
        ),
        made_by="`python -m data_pipelines.prepare` or `python -m data_pipelines.synthetic`",
    )


def write_dataset(
    out_dir: str | Path,
    splits: Mapping[str, Iterable[PreparedClip]],
    metadata: Mapping[str, Any],
    *,
    max_clip_frames: int = MAX_CLIP_FRAMES,
) -> None:
    """Writes clips as a TFDS data set.

    Args:
      out_dir: a folder that does not exist yet, or is empty.
      splits: "train", "validation", ...; each iterable is read once, clip by clip.
      metadata: made by `records.dataset_metadata`.
      max_clip_frames: longer clips are cut in pieces (`PreparedClip.pieces`).

    Raises:
      InputError: `out_dir` holds something or cannot be written; a split is empty, or has two
        clips of one name.
      ValueError: a clip disagrees with `metadata`.
    """
    record_type = clip_type(metadata["resolution"], metadata["audio_encoder"]["width"])
    examples = {
        split: _examples(clips, metadata, max_clip_frames) for split, clips in splits.items()
    }
    write_shards(out_dir, record_type, examples, metadata)


def load_metadata(directory: str | Path) -> dict[str, Any]:
    """What `records.dataset_metadata` gave to the data set in `directory`.

    Raises:
      InputError: `directory` is not a data set of clips.
    """
    return open_shards(directory, clip_type()).metadata


def _examples(
    clips: Iterable[PreparedClip], metadata: Mapping[str, Any], max_clip_frames: int
) -> Iterator[tuple[str, Example]]:
    for clip in clips:
        _check_against(metadata, clip)
        for piece in clip.pieces(max_clip_frames):
            yield piece.name, _encode(piece)


def _check_against(metadata: Mapping[str, Any], clip: PreparedClip) -> None:
    expected = (metadata["resolution"], metadata["audio_encoder"]["width"])
    found = (clip.resolution, clip.audio_features.shape[1])
    if found != expected:
        raise ValueError(
            f"clip {clip.name}: (resolution, audio width) is {found}, the metadata says {expected}"
        )


def _encode(clip: PreparedClip) -> Example:
    """One example; TFDS takes encoded pictures as files, and keeps their bytes as they are."""
    return {
        "name": clip.name,
        "speaker": clip.speaker,
        "frames": [io.BytesIO(_jpeg(frame)) for frame in clip.frames],
        "landmarks": clip.landmarks,
        "frontal_landmarks": clip.frontal_landmarks,
        "audio_features": clip.audio_features,
        "audio": clip.audio,
    }


def _jpeg(frame: np.ndarray) -> bytes:
    # Full colour resolution: lips are told from skin by their colour, a few pixels wide.
    encoded = tf.io.encode_jpeg(frame, quality=JPEG_QUALITY, chroma_downsampling=False)
    return encoded.numpy()
