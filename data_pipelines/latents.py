"""Shards of cached tri-plane latents: what MToV trains on instead of video.

One record is one 16-frame window. The three planes of a latent are flattened and joined in the
order xy, yt, xt: L tokens of C channels (`TriPlane.to_tokens`). Stored as float16, which is finer
than the tanh-bounded latents need; read as float32.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from data_pipelines.quiet_tensorflow import tf, tfds
from data_pipelines.records import AUDIO, LATENT_NAMES, checked_latents, latent_shape
from data_pipelines.shards import RecordType, open_shards, write_shards
from data_pipelines.streams import (
    Remainder,
    numpy_batches,
    process_seeds,
    record_stream,
    window_name,
)
from moditalker_jax import spec
from moditalker_jax.errors import InputError


def latent_type(
    shape: tuple[int | None, int | None] = (None, None),
    audio_shape: tuple[int, int] | None = None,
) -> RecordType:
    """The record of one window's latents; the shapes are needed to write, not to read."""
    audio = {} if audio_shape is None else {AUDIO: _float16(audio_shape)}
    return RecordType(
        name="talking_head_latents",
        features=tfds.features.FeaturesDict(
            {
                "name": tfds.features.Text(),
                "start": tfds.features.Scalar(np.int64),
                **dict.fromkeys(LATENT_NAMES, _float16(shape)),
                **audio,
            }
        ),
        made_by="`python -m moditalker_jax.encode_latents`",
        optional=frozenset({AUDIO}),
    )


def _float16(shape: tuple[int | None, int | None]) -> tfds.features.Tensor:
    return tfds.features.Tensor(shape=shape, dtype=np.float16)


def write_latents(
    out_dir: str | Path,
    splits: Mapping[str, Iterable[Mapping[str, Any]]],
    metadata: Mapping[str, Any],
) -> None:
    """Writes latent shards, whole or not at all.

    Args:
      out_dir: a folder that does not exist yet, or is empty.
      splits: for each split an iterable, read once, of windows as `records.checked_latents` takes.
      metadata: made by `records.latent_metadata`.

    Raises:
      InputError: `out_dir` holds something or cannot be written; a split is empty, or has one
        window twice.
      ValueError: a latent is not of the shape that `metadata` says, or not finite.
    """
    audio_shape = None
    if "audio_encoder" in metadata:
        steps = spec.AUDIO_STEPS_PER_FRAME * metadata["plane_sizes"]["yt"][0]
        audio_shape = (steps, metadata["audio_encoder"]["width"])
    examples = {
        split: (
            (f"{window['name']}@{window['start']:06d}", window)
            for window in checked_latents(windows, metadata)
        )
        for split, windows in splits.items()
    }
    write_shards(out_dir, latent_type(latent_shape(metadata), audio_shape), examples, metadata)


def load_latent_metadata(directory: str | Path) -> dict[str, Any]:
    """What `latent_metadata` gave to the shards in `directory`.

    Raises:
      InputError: `directory` holds no latent shards.
    """
    return open_shards(directory, latent_type()).metadata


def latent_batches(
    directory: str | Path,
    split: str,
    batch_size: int,
    *,
    seed: int | None,
    audio: bool = False,
    start: int = 0,
    remainder: Remainder = "pad",
    process_index: int = 0,
    process_count: int = 1,
) -> Iterator[dict[str, np.ndarray]]:
    """Batches of cached latents: endless and shuffled, or with `seed=None` one pass.

    Args:
      directory: written by `write_latents`.
      audio: read the audio features too.
      split, batch_size, seed, start, remainder, process_index, process_count: as in
        `loader.atom_batches`.

    Yields:
      name (B,) bytes, "CLIP@FIRST_FRAME", for each of `LATENT_NAMES` a float32 array (B, L, C), and
      audio_features (B, 2T, A) float32 if asked for.

    Raises:
      InputError: no latent shards, no such split, nothing in it, or no audio features.
    """
    shards = open_shards(directory, latent_type())
    if audio and "audio_encoder" not in shards.metadata:
        raise InputError(
            f"{directory}: holds no audio features, which config.model.conditions asks for; "
            "remove it and train again, and it is written with them"
        )
    arrays = (*LATENT_NAMES, AUDIO) if audio else LATENT_NAMES
    order_seed, _ = process_seeds(seed, process_index)
    records = record_stream(
        shards,
        split,
        ("name", "start", *arrays),
        seed=order_seed,
        start=start * batch_size,
        process_index=process_index,
        process_count=process_count,
    )
    elements = records.map(
        lambda _, record: {
            "name": window_name(record["name"], record["start"]),
            **{name: tf.cast(record[name], tf.float32) for name in arrays},
        }
    )
    nothing = f"{directory}: split {split!r} holds no latents; write it again"
    return numpy_batches(elements, batch_size, remainder=remainder, nothing=nothing)
