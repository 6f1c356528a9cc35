"""A folder that holds prepared clips until the shards are written."""

import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from data_pipelines.records import PreparedClip
from moditalker_jax.errors import InputError


class ClipSpool:
    """Clips on disk, in the order in which they were added; removed when the block ends.

    Args:
      beside: the temporary folder is made in this path's parent, to stay on its disk.

    Raises:
      InputError: the parent cannot be made or written.
    """

    def __init__(self, beside: Path):
        try:
            beside.parent.mkdir(parents=True, exist_ok=True)
            self._folder = tempfile.TemporaryDirectory(prefix=".prepare-", dir=beside.parent)
        except OSError as error:
            raise InputError(
                f"{beside}: cannot be written ({error.strerror}); choose another folder"
            ) from error
        self._files: dict[str, list[Path]] = {}

    def __enter__(self) -> "ClipSpool":
        return self

    def __exit__(self, *unused) -> None:
        self._folder.cleanup()

    def add(self, split: str, clip: PreparedClip) -> None:
        """Puts one clip aside."""
        files = self._files.setdefault(split, [])
        files.append(Path(self._folder.name) / f"{split}-{len(files):06d}.npz")
        np.savez(files[-1], **{f.name: getattr(clip, f.name) for f in dataclasses.fields(clip)})

    def __contains__(self, split: str) -> bool:
        return split in self._files

    def read(self, split: str) -> Iterator[PreparedClip]:
        """Yields the clips of a split."""
        for file in self._files.get(split, []):
            with np.load(file) as arrays:
                values = {key: arrays[key] for key in arrays.files}
            yield PreparedClip(**{k: v if v.ndim else v.item() for k, v in values.items()})
