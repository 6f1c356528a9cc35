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
from data_pipelines.records import AUDIO
from data_pipelines.shards import Example, RecordType, open_shards, write_shards
from data_pipelines.streams import (
    Remainder,
    numpy_batches,
    process_seeds,
    record_stream,
    window_name,
)
from moditalker_jax import spec
from moditalker_jax.errors import InputError

LATENT_NAMES = ("video", "landmark", "pose", "reference")
"""Z, Z_L, Z_P and Z_I of the paper's figure 2."""


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
      splits: for each split an iterable, read once, of dicts: name (the clip's), start (the
        window's first frame), for each of `LATENT_NAMES` an array (L, C), and audio_features
        (2T, A) if the metadata name an audio_encoder.
      metadata: made by `latent_metadata`.

    Raises:
      InputError: `out_dir` holds something or cannot be written; a split is empty, or has one
        window twice.
      ValueError: a latent is not of the shape that `metadata` says, or not finite.
    """
    shapes = dict.fromkeys(LATENT_NAMES, latent_shape(metadata))
    audio_shape = None
    if "audio_encoder" in metadata:
        steps = spec.AUDIO_STEPS_PER_FRAME * metadata["plane_sizes"]["yt"][0]
        shapes[AUDIO] = audio_shape = (steps, metadata["audio_encoder"]["width"])
    examples = {split: _examples(windows, shapes) for split, windows in splits.items()}
    write_shards(out_dir, latent_type(shapes["video"], audio_shape), examples, metadata)


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


def _examples(
    windows: Iterable[Mapping[str, Any]], shapes: Mapping[str, tuple[int, int]]
) -> Iterator[tuple[str, Example]]:
    for window in windows:
        name, start = str(window["name"]), int(window["start"])
        example: Example = {"name": name, "start": start}
        for array, shape in shapes.items():
            stored = np.asarray(window[array]).astype(np.float16)
            if stored.shape != shape or not np.isfinite(stored).all():
                raise ValueError(
                    f"window {name} at frame {start}: {array} is {stored.shape}, or not finite; "
                    f"finite {shape} is asked for"
                )
            example[array] = stored
        yield f"{name}@{start:06d}", example
