"""A folder of `.npy` files that holds clips or latents, split by split; numpy and nothing else.

Of each split there is a folder with one array for each field, all records' values end to end, and
`records.json` with the records' names and lengths. Pictures are JPEG bytes. Arrays are mapped into
memory, so that a data set may be larger than it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data_pipelines.records import check_split_name, require_vacant
from moditalker_jax.errors import InputError

METADATA, RECORDS = "arrays.json", "records.json"
PICTURES = "frames"
_PICTURE_ENDS = "frame_ends"


def is_arrays(directory: str | Path) -> bool:
    """Whether a folder is a data set of this kind."""
    return (Path(directory) / METADATA).is_file()


def write_arrays(
    out_dir: str | Path,
    kind: str,
    splits: Mapping[str, Iterable[Mapping[str, Any]]],
    metadata: Mapping[str, Any],
) -> None:
    """Writes records as arrays, whole or not at all.

    Args:
      out_dir: a folder that does not exist, or is empty; its parents are made.
      kind: what the records are, such as "clips"; the reader asks for it.
      splits: for each split an iterable, read once, of records: numbers and texts, arrays that
        agree from record to record but for their first axis, and under `PICTURES` JPEG bytes.
      metadata: JSON values.

    Raises:
      InputError: `out_dir` holds something or cannot be written, or a split is empty.
    """
    out_dir = Path(out_dir)
    aside = out_dir.parent / f".{out_dir.name}-{np.random.randint(1 << 30):08x}.part"
    require_vacant(out_dir)
    try:
        for split, records in splits.items():
            check_split_name(split)
            (aside / split).mkdir(parents=True)
            _write_split(aside / split, records, f"{out_dir}: split {split!r}")
        (aside / METADATA).write_text(
            json.dumps({"kind": kind, "splits": list(splits), "metadata": dict(metadata)})
        )
        if out_dir.exists():
            out_dir.rmdir()
        aside.rename(out_dir)
    except OSError as error:
        reason = error.strerror or error
        raise InputError(
            f"{out_dir}: cannot be written ({reason}); choose another folder"
        ) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _write_split(folder: Path, records: Iterable[Mapping[str, Any]], where: str) -> None:
    facts: list[dict[str, Any]] = []
    files: dict[str, Any] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    types: dict[str, np.dtype] = {}
    ends: list[int] = []
    try:
        for record in records:
            fact: dict[str, Any] = {}
            for field, value in record.items():
                if field == PICTURES:
                    ends.extend(len(jpeg) for jpeg in value)
                    fact[field] = len(value)
                    value = np.frombuffer(b"".join(value), np.uint8)
                elif isinstance(value, np.ndarray):
                    fact[field] = len(value)
                else:
                    fact[field] = value
                    continue
                if field not in files:
                    files[field] = (folder / f"{field}.bin").open("wb")
                    shapes[field], types[field] = value.shape[1:], value.dtype
                if (value.shape[1:], value.dtype) != (shapes[field], types[field]):
                    raise ValueError(f"{where}: {field} changes its shape or type")
                files[field].write(np.ascontiguousarray(value).tobytes())
            facts.append(fact)
    finally:
        for file in files.values():
            file.close()
    if not facts:
        raise InputError(f"{where}: there is nothing to write; give more input")
    for field, shape in shapes.items():
        _as_npy(folder / f"{field}.bin", folder / f"{field}.npy", types[field], shape)
    np.save(folder / f"{_PICTURE_ENDS}.npy", np.cumsum(ends, dtype=np.int64))
    (folder / RECORDS).write_text(json.dumps(facts))


def _as_npy(raw: Path, out: Path, dtype: np.dtype, shape: tuple[int, ...]) -> None:
    """Puts the header of an `.npy` file before raw numbers."""
    rows = raw.stat().st_size // max(1, dtype.itemsize * int(np.prod(shape, dtype=np.int64)))
    header = {
        "descr": np.lib.format.dtype_to_descr(dtype),
        "fortran_order": False,
        "shape": (rows, *shape),
    }
    with out.open("wb") as file, raw.open("rb") as numbers:
        np.lib.format.write_array_header_1_0(file, header)
        shutil.copyfileobj(numbers, file)
    raw.unlink()


class ArraySet:
    """An opened data set of arrays.

    Raises:
      InputError: `directory` is none, or holds records of another kind.
    """

    def __init__(self, directory: str | Path, kind: str):
        self.directory = Path(directory)
        try:
            facts = json.loads((self.directory / METADATA).read_text())
            self.splits, self.metadata = facts["splits"], facts["metadata"]
        except (OSError, ValueError, KeyError) as error:
            raise InputError(
                f"{directory}: cannot be read as arrays; write them again with "
                "`python -m data_pipelines.arrays`"
            ) from error
        if facts["kind"] != kind:
            raise InputError(f"{directory}: holds {facts['kind']}, not {kind}; name other arrays")

    def split(self, name: str) -> ArraySplit:
        """The records of a split.

        Raises:
          InputError: there is no such split, or its files cannot be read.
        """
        if name not in self.splits:
            raise InputError(
                f"{self.directory}: has no split {name!r}; it has {', '.join(self.splits)}"
            )
        return ArraySplit(self.directory / name)


class ArraySplit:
    """Records by number; nothing is read before it is asked for."""

    def __init__(self, folder: Path):
        self._folder = folder
        try:
            self.facts: list[dict[str, Any]] = json.loads((folder / RECORDS).read_text())
            self._arrays = {
                path.stem: np.load(path, mmap_mode="r", allow_pickle=False)
                for path in folder.glob("*.npy")
            }
        except (OSError, ValueError) as error:
            raise InputError(
                f"{folder}: cannot be read ({error}); write the arrays again"
            ) from error
        self._starts = {
            field: np.cumsum([0, *(fact[field] for fact in self.facts)])
            for field in [*self._arrays, PICTURES]
            if field in self.facts[0]
        }

    def __len__(self) -> int:
        return len(self.facts)

    def length(self, index: int, field: str) -> int:
        """Rows of a record's array, or its pictures."""
        return int(self.facts[index][field])

    def rows(self, index: int, field: str, times: Sequence[int] | np.ndarray) -> np.ndarray:
        """Rows of a record's array by number; past its end the last one is repeated."""
        start, stop = self._starts[field][index : index + 2]
        return self._arrays[field][np.minimum(start + np.asarray(times), stop - 1)]

    def whole(self, index: int, field: str) -> np.ndarray:
        """A record's array."""
        start, stop = self._starts[field][index : index + 2]
        return self._arrays[field][start:stop]

    def pictures(self, index: int, times: Sequence[int] | np.ndarray) -> list[np.ndarray]:
        """JPEG bytes of a record's pictures by number, as arrays."""
        start, stop = self._starts[PICTURES][index : index + 2]
        ends, data = self._arrays[_PICTURE_ENDS], self._arrays[PICTURES]
        numbers = np.minimum(start + np.asarray(times), stop - 1)
        return [data[(ends[n - 1] if n else 0) : ends[n]] for n in numbers]
