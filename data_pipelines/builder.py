"""Writes prepared clips as TFDS shards, and reads what a data set says about itself."""

import io
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from data_pipelines.quiet_tensorflow import tfds
from data_pipelines.records import MAX_CLIP_FRAMES, PreparedClip, encode_clip
from data_pipelines.shards import Example, RecordType, open_shards, write_shards
from moditalker_jax import spec
from moditalker_jax.errors import InputError

DEFAULT_NAME = "talking_heads"
VERSION = "1.0.0"
_POINTS = tfds.features.Tensor(shape=(None, spec.NUM_LANDMARKS, 3), dtype=np.float32)


def clip_type(
    resolution: int | None = None,
    audio_width: int | None = None,
    *,
    name: str = DEFAULT_NAME,
    version: str = VERSION,
    citation: str = "",
) -> RecordType:
    """The record of `PreparedClip`; sizes, name and version are needed to write, not to read.

    A size of 0 is that of a part which the data set lacks.
    """
    return RecordType(
        name=name,
        version=version,
        citation=citation,
        features=tfds.features.FeaturesDict(
            {
                "name": tfds.features.Text(),
                "speaker": tfds.features.Text(),
                "frames": tfds.features.Sequence(
                    tfds.features.Image(
                        shape=(resolution or None, resolution or None, 3), encoding_format="jpeg"
                    )
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
    encoded = {split: _encoded(clips, metadata, max_clip_frames) for split, clips in splits.items()}
    write_encoded_clips(
        out_dir,
        encoded,
        metadata,
        clip_type(metadata["resolution"], metadata["audio_encoder"]["width"]),
    )


def write_encoded_clips(
    out_dir: str | Path,
    splits: Mapping[str, Iterable[Example]],
    metadata: Mapping[str, Any],
    record_type: RecordType,
) -> None:
    """As `write_dataset`, of what `records.encode_clip` returns and under a name of its own."""
    examples = {split: _examples(clips) for split, clips in splits.items()}
    write_shards(out_dir, record_type, examples, metadata)


def load_metadata(directory: str | Path) -> dict[str, Any]:
    """What `records.dataset_metadata` gave to the data set in `directory`.

    Raises:
      InputError: `directory` is not a data set of clips.
    """
    return open_shards(directory, clip_type()).metadata


def read_clips(directory: str | Path, split: str) -> Iterator[PreparedClip]:
    """The clips of a split, one by one, with their pictures decoded.

    Raises:
      InputError: no data set, or no such split.
    """
    shards = open_shards(directory, clip_type())
    shards.split(split)
    for record in shards.builder.as_dataset(split=split).as_numpy_iterator():
        texts = {field: record[field].decode() for field in ("name", "speaker")}
        yield PreparedClip(**record | texts)


def split_sizes(directory: str | Path) -> dict[str, int]:
    """How many clips each split has.

    Raises:
      InputError: `directory` is not a data set of clips.
    """
    splits = open_shards(directory, clip_type()).builder.info.splits
    return {name: split.num_examples for name, split in splits.items() if split.num_examples}


def held_out_split(directory: str | Path) -> str:
    """The split to measure on while training: "validation", or "test" where there is only that.

    Raises:
      InputError: `directory` is not a data set of clips, or nothing in it is held out.
    """
    for split in ("validation", "test"):
        if split in split_sizes(directory):
            return split
    raise InputError(
        f"{directory}: nothing is held out for validation; prepare more or longer videos"
    )


def _encoded(
    clips: Iterable[PreparedClip], metadata: Mapping[str, Any], max_clip_frames: int
) -> Iterator[Example]:
    for clip in clips:
        _check_against(metadata, clip)
        for piece in clip.pieces(max_clip_frames):
            yield encode_clip(piece)


def _check_against(metadata: Mapping[str, Any], clip: PreparedClip) -> None:
    expected = (metadata["resolution"], metadata["audio_encoder"]["width"])
    found = (clip.resolution, clip.audio_features.shape[1])
    if found != expected:
        raise ValueError(
            f"clip {clip.name}: (resolution, audio width) is {found}, the metadata says {expected}"
        )


def _examples(clips: Iterable[Example]) -> Iterator[tuple[str, Example]]:
    for clip in clips:
        # TFDS takes encoded pictures as files, and keeps their bytes as they are.
        yield clip["name"], clip | {"frames": [io.BytesIO(frame) for frame in clip["frames"]]}
