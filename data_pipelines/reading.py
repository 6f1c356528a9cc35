"""One door to both forms of data sets: TFDS shards, and arrays, which need no TensorFlow.

A folder's own files say which it is. TensorFlow is imported when the first shards are opened.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from data_pipelines.arrays import loader as arrays
from data_pipelines.arrays.store import is_arrays, write_arrays
from data_pipelines.records import checked_latents

Batch = dict[str, np.ndarray]


def _reader(directory: str | Path, of_shards: str) -> Any:
    return (
        arrays if is_arrays(directory) else importlib.import_module(f"data_pipelines.{of_shards}")
    )


def load_metadata(directory: str | Path) -> dict[str, Any]:
    """What `records.dataset_metadata` gave to the data set in `directory`.

    Raises:
      InputError: `directory` is not a data set of clips.
    """
    return _reader(directory, "builder").load_metadata(directory)


def held_out_split(directory: str | Path) -> str:
    """The split to measure on while training, see `builder.held_out_split`."""
    return _reader(directory, "builder").held_out_split(directory)


def atom_batches(directory: str | Path, *args: Any, **options: Any) -> Iterator[Batch]:
    """Windows of motion and speech, see `loader.atom_batches`."""
    return _reader(directory, "loader").atom_batches(directory, *args, **options)


def clip_batches(directory: str | Path, *args: Any, **options: Any) -> Iterator[Batch]:
    """Short clips of video with their landmarks, see `loader.clip_batches`."""
    return _reader(directory, "loader").clip_batches(directory, *args, **options)


def clip_windows(directory: str | Path, *args: Any, **options: Any) -> Iterator[dict[str, Any]]:
    """Every window of every clip, see `loader.clip_windows`."""
    return _reader(directory, "loader").clip_windows(directory, *args, **options)


def latent_batches(directory: str | Path, *args: Any, **options: Any) -> Iterator[Batch]:
    """Batches of cached latents, see `latents.latent_batches`."""
    return _reader(directory, "latents").latent_batches(directory, *args, **options)


def write_latents(
    out_dir: str | Path,
    splits: Mapping[str, Iterable[Mapping[str, Any]]],
    metadata: Mapping[str, Any],
    *,
    beside: str | Path,
) -> None:
    """Writes latents in the form of the data set that they were made of, see
    `latents.write_latents`.

    Args:
      out_dir, splits, metadata: as there.
      beside: the data set of clips.
    """
    if not is_arrays(beside):
        importlib.import_module("data_pipelines.latents").write_latents(out_dir, splits, metadata)
        return
    checked = {split: checked_latents(windows, metadata) for split, windows in splits.items()}
    write_arrays(out_dir, arrays.LATENTS, checked, metadata)
