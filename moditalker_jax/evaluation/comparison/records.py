"""What was measured before: arrays in files of their own, found again while nothing changed."""

import hashlib
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from moditalker_jax import __version__
from moditalker_jax.media.files import written_aside

Arrays = dict[str, np.ndarray]

_MADE_OF = "made_of"


@dataclass(frozen=True)
class Record:
    """A place for the arrays that one part of the measuring gave.

    Attributes:
      path: the file, which need not exist.
      made_of: what the arrays depend on; those that were made of something else do not count.
    """

    path: Path
    made_of: str

    def load(self) -> Arrays | None:
        """The arrays, or None if they are missing, outdated or damaged."""
        try:
            with np.load(self.path, allow_pickle=False) as file:
                if str(file[_MADE_OF]) != self.made_of:
                    return None
                return {name: file[name] for name in file.files if name != _MADE_OF}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None

    def save(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Writes the arrays; whenever it is killed, the file is the old one or the new one.

        Raises:
          InputError: the file cannot be written.
        """
        with written_aside(self.path) as aside, aside.open("wb") as file:
            np.savez(file, **{_MADE_OF: np.array(self.made_of)}, **arrays)


def record(folder: Path, part: str, files: Sequence[Path], settings: Mapping[str, Any]) -> Record:
    """The record of one part of the measuring.

    Args:
      folder: of all records.
      part: its name.
      files: the videos that it looks at. What they are is noted now, before they are read.
      settings: JSON values that it depends on.
    """
    paths = [str(path.resolve()) for path in files]
    name = hashlib.sha256(json.dumps(paths).encode()).hexdigest()[:20]
    facts = {
        "version": __version__,
        "files": dict(zip(paths, map(fingerprint, files), strict=True)),
        "settings": dict(settings),
    }
    return Record(folder / f"{name}-{part}.npz", json.dumps(facts, sort_keys=True))


def fingerprint(path: Path) -> str:
    """Changes when the file does: size and time of change."""
    try:
        status = path.stat()
    except OSError:
        return "missing"
    return f"{status.st_size} {status.st_mtime_ns}"
