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
from data_pipelines.shards import Example, RecordType, open_shards, write_shards
from data_pipelines.streams import (
    Remainder,
    numpy_batches,
    process_seeds,
    record_stream,
    window_name,
)

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


def latent_type(shape: tuple[int | None, int | None] = (None, None)) -> RecordType:
    """The record of one window's latents; the shape is needed to write, not to read."""
    latent = tfds.features.Tensor(shape=shape, dtype=np.float16)
    return RecordType(
        name="talking_head_latents",
        features=tfds.features.FeaturesDict(
            {
                "name": tfds.features.Text(),
                "start": tfds.features.Scalar(np.int64),
                **dict.fromkeys(LATENT_NAMES, latent),
            }
        ),
        made_by="`python -m moditalker_jax.encode_latents`",
    )


def write_latents(
    out_dir: str | Path,
    splits: Mapping[str, Iterable[Mapping[str, Any]]],
    metadata: Mapping[str, Any],
) -> None:
    """Writes latent shards, whole or not at all.

    Args:
      out_dir: a folder that does not exist yet, or is empty.
      splits: for each split an iterable, read once, of dicts: name (the clip's), start (the
        window's first frame) and for each of `LATENT_NAMES` an array (L, C).
      metadata: made by `latent_metadata`.

    Raises:
      InputError: `out_dir` holds something or cannot be written; a split is empty, or has one
        window twice.
      ValueError: a latent is not of the shape that `metadata` says, or not finite.
    """
    shape = latent_shape(metadata)
    examples = {split: _examples(windows, shape) for split, windows in splits.items()}
    write_shards(out_dir, latent_type(shape), examples, metadata)


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
    start: int = 0,
    remainder: Remainder = "pad",
    process_index: int = 0,
    process_count: int = 1,
) -> Iterator[dict[str, np.ndarray]]:
    """Batches of cached latents: endless and shuffled, or with `seed=None` one pass.

    Args:
      directory: written by `write_latents`.
      split, batch_size, seed, start, remainder, process_index, process_count: as in
        `loader.atom_batches`.

    Yields:
      name (B,) bytes, "CLIP@FIRST_FRAME", and for each of `LATENT_NAMES` a float32 array (B, L, C).

    Raises:
      InputError: no latent shards, no such split, or nothing in it.
    """
    shards = open_shards(directory, latent_type())
    order_seed, _ = process_seeds(seed, process_index)
    records = record_stream(
        shards,
        split,
        ("name", "start", *LATENT_NAMES),
        seed=order_seed,
        start=start * batch_size,
        process_index=process_index,
        process_count=process_count,
    )
    elements = records.map(
        lambda _, record: {
            "name": window_name(record["name"], record["start"]),
            **{name: tf.cast(record[name], tf.float32) for name in LATENT_NAMES},
        }
    )
    nothing = f"{directory}: split {split!r} holds no latents; write it again"
    return numpy_batches(elements, batch_size, remainder=remainder, nothing=nothing)


def _examples(
    windows: Iterable[Mapping[str, Any]], shape: tuple[int, int]
) -> Iterator[tuple[str, Example]]:
    for window in windows:
        name, start = str(window["name"]), int(window["start"])
        example: Example = {"name": name, "start": start}
        for latent in LATENT_NAMES:
            stored = np.asarray(window[latent]).astype(np.float16)
            if stored.shape != shape or not np.isfinite(stored).all():
                raise ValueError(
                    f"window {name} at frame {start}: {latent} is {stored.shape}, or not finite; "
                    f"finite {shape} is asked for"
                )
            example[latent] = stored
        yield f"{name}@{start:06d}", example
