"""TFDS shards of any record type: written whole or not at all, opened with clear errors."""

import dataclasses
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from data_pipelines.quiet_tensorflow import tfds
from data_pipelines.records import check_split_name, require_vacant
from moditalker_jax.errors import InputError

INFO_FILE = "dataset_info.json"
Example = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class RecordType:
    """A kind of data set.

    Attributes:
      name: of the data set for TFDS; sets of one kind may have different ones.
      features: what tells the kind.
      optional: names of features that a set of this kind may have besides.
      made_by: the commands that make one.
      version: for TFDS; the first number is the record's own and must be the reader's.
      citation: of those who published the data.
    """

    name: str
    features: tfds.features.FeaturesDict
    made_by: str
    version: str = "1.0.0"
    citation: str = ""
    optional: frozenset[str] = frozenset()


class _ShardBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Writes given examples; TFDS encodes, shuffles by key and cuts them into shards."""

    def __init__(
        self,
        record_type: RecordType,
        splits: Mapping[str, Iterable[tuple[str, Example]]],
        metadata: Mapping[str, Any],
        **kwargs: Any,
    ):
        self.name = record_type.name
        self.VERSION = tfds.core.Version(record_type.version)
        self._record_type, self._splits, self._metadata = record_type, splits, metadata
        super().__init__(**kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=f"Written by {self._record_type.made_by}.",
            features=self._record_type.features,
            citation=self._record_type.citation or None,
            metadata=tfds.core.MetadataDict(self._metadata),
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[str, Example]]]:
        del dl_manager
        return {split: self._generate_examples(split) for split in self._splits}

    def _generate_examples(self, split: str) -> Iterator[tuple[str, Example]]:
        keys = set()
        for key, example in self._splits[split]:
            if key in keys:
                raise InputError(f"split {split!r}: two records are named {key!r}; rename one")
            keys.add(key)
            yield key, example
        if not keys:
            raise InputError(f"split {split!r}: there is nothing to write; give more input")

    def _log_download_bytes(self) -> None:
        """TFDS would announce a download; nothing is downloaded."""

    def _log_download_done(self) -> None:
        """As above."""


def write_shards(
    out_dir: str | Path,
    record_type: RecordType,
    splits: Mapping[str, Iterable[tuple[str, Example]]],
    metadata: Mapping[str, Any],
) -> None:
    """Writes `splits` as a TFDS data set that `tfds.builder_from_directory(out_dir)` opens.

    The shards are written beside `out_dir` and renamed when they are complete: whatever goes
    wrong, `out_dir` is a whole data set or does not exist.

    Args:
      out_dir: a folder that does not exist, or is empty; its parents are made.
      record_type: name and features.
      splits: for each split an iterable, read once, of (unique key, example).
      metadata: JSON values, stored with the shards.

    Raises:
      InputError: `out_dir` holds something or cannot be written; a split is empty, or has two
        examples of one key.
    """
    out_dir = Path(out_dir)
    for split in splits:
        check_split_name(split)
    require_vacant(out_dir)
    try:
        out_dir.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            prefix=f".{out_dir.name}-", suffix=".part", dir=out_dir.parent
        ) as aside:
            builder = _ShardBuilder(record_type, splits, metadata, data_dir=aside)
            builder.download_and_prepare()
            os.replace(builder.data_dir, out_dir)
    except OSError as error:
        reason = error.strerror or error
        raise InputError(
            f"{out_dir}: cannot be written ({reason}); choose another folder"
        ) from error


@dataclasses.dataclass(frozen=True)
class Shards:
    """An opened data set."""

    directory: Path
    builder: tfds.core.DatasetBuilder

    @property
    def metadata(self) -> dict[str, Any]:
        """What the writer said about the data set, as plain JSON values."""
        return dict(self.builder.info.metadata)

    def split(self, name: str) -> tfds.core.SplitInfo:
        """The split's size and shards.

        Raises:
          InputError: there is no such split, or it is empty.
        """
        splits = self.builder.info.splits
        if name not in splits:
            raise InputError(
                f"{self.directory}: has no split {name!r}; it has {', '.join(sorted(splits))}"
            )
        if not splits[name].num_examples:
            raise InputError(f"{self.directory}: split {name!r} is empty; write it again")
        return splits[name]


def open_shards(directory: str | Path, record_type: RecordType) -> Shards:
    """Opens a data set of `record_type`.

    Raises:
      InputError: `directory` is none, or holds records of another type.
    """
    directory = Path(directory)
    if not (directory / INFO_FILE).is_file():
        what = "is not a data set" if directory.exists() else "does not exist"
        raise InputError(f"{directory}: {what}; make one with {record_type.made_by}")
    try:
        builder = tfds.builder_from_directory(str(directory))
    except (ValueError, OSError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{directory}: cannot be read as a data set ({reason}); "
            f"make it again with {record_type.made_by}"
        ) from error
    if set(builder.info.features) - record_type.optional != (
        set(record_type.features) - record_type.optional
    ):
        raise InputError(
            f"{directory}: holds {builder.name}, not {record_type.name}; "
            f"make those with {record_type.made_by}"
        )
    if builder.version.major != tfds.core.Version(record_type.version).major:
        raise InputError(
            f"{directory}: is of version {builder.version}, this code reads {record_type.version}; "
            f"make it again with {record_type.made_by}"
        )
    return Shards(directory, builder)
