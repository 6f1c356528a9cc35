"""A data set's speech and motion by speaker: cross-validation over people that no training saw."""

import dataclasses
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from data_pipelines.builder import clip_type, write_dataset
from data_pipelines.quiet_tensorflow import tfds
from data_pipelines.records import PreparedClip
from data_pipelines.shards import open_shards
from moditalker_jax import spec
from moditalker_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class SpeechClip:
    """One recording without its pictures.

    Attributes:
      name: unique within its data set.
      speaker: whose face it is.
      frontal_landmarks: (T, 68, 3) float32 in the mean face's units.
      audio_features: (2T, D) float32 at 50 Hz.
    """

    name: str
    speaker: str
    frontal_landmarks: np.ndarray
    audio_features: np.ndarray


def read_speech_clips(directory: str | Path) -> list[SpeechClip]:
    """The recordings of all splits in the order of their names, pieces put together again.

    Raises:
      InputError: no data set, or one without audio features.
    """
    shards = open_shards(directory, clip_type())
    if not shards.metadata["audio_encoder"]["width"]:
        raise InputError(f"{directory}: holds no audio features; prepare the videos again")
    fields = {field.name for field in dataclasses.fields(SpeechClip)}
    pieces: dict[str, list[SpeechClip]] = defaultdict(list)
    for split in shards.builder.info.splits:
        records = shards.builder.as_dataset(
            split=split, decoders=tfds.decode.PartialDecoding(dict.fromkeys(fields, True))
        )
        for record in records.as_numpy_iterator():
            texts = {field: record[field].decode() for field in ("name", "speaker")}
            piece = SpeechClip(**record | texts)
            pieces[_recording(piece.name)].append(piece)
    return [_joined(name, parts) for name, parts in sorted(pieces.items())]


def _recording(name: str) -> str:
    """The name without the first frames that pieces of a recording are told apart by."""
    return re.sub(r"(-\d{6})+$", "", name)


def _joined(name: str, pieces: Sequence[SpeechClip]) -> SpeechClip:
    pieces = sorted(pieces, key=lambda piece: piece.name)
    return SpeechClip(
        name=name,
        speaker=pieces[0].speaker,
        frontal_landmarks=np.concatenate([piece.frontal_landmarks for piece in pieces]),
        audio_features=np.concatenate([piece.audio_features for piece in pieces]),
    )


def speaker_folds(clips: Iterable[SpeechClip], count: int) -> list[frozenset[str]]:
    """Speakers in `count` groups with about equally much speech, always the same ones.

    Raises:
      InputError: there are fewer speakers than groups.
    """
    lengths: dict[str, int] = defaultdict(int)
    for clip in clips:
        lengths[clip.speaker] += len(clip.frontal_landmarks)
    if len(lengths) < count:
        raise InputError(f"{len(lengths)} speakers cannot make {count} folds; take fewer folds")
    folds: list[set[str]] = [set() for _ in range(count)]
    frames = [0] * count
    for speaker in sorted(lengths, key=lambda name: (-lengths[name], name)):
        smallest = frames.index(min(frames))
        folds[smallest].add(speaker)
        frames[smallest] += lengths[speaker]
    return [frozenset(fold) for fold in folds]


def write_fold(
    out: str | Path,
    clips: Sequence[SpeechClip],
    held_out: frozenset[str],
    source: str | Path,
) -> None:
    """Writes recordings as a data set without pictures: "validation" has the held-out speakers.

    Args:
      out: a folder that does not exist yet, or is empty.
      clips: from `read_speech_clips(source)`.
      held_out: speakers.
      source: data set whose metadata the new one takes over.

    Raises:
      InputError: `out` cannot be written, or a split would be empty.
    """
    metadata = open_shards(source, clip_type()).metadata | {"resolution": 0}
    splits = {
        "train": [clip for clip in clips if clip.speaker not in held_out],
        "validation": [clip for clip in clips if clip.speaker in held_out],
    }
    write_dataset(
        out,
        {split: map(_without_pictures, chosen) for split, chosen in splits.items()},
        metadata,
    )


def _without_pictures(clip: SpeechClip) -> PreparedClip:
    return PreparedClip(
        name=clip.name,
        speaker=clip.speaker,
        frames=np.zeros((0, 0, 0, 3), np.uint8),
        landmarks=np.zeros((0, spec.NUM_LANDMARKS, 3), np.float32),
        frontal_landmarks=clip.frontal_landmarks,
        audio_features=clip.audio_features,
        audio=np.zeros(0, np.int16),
    )
