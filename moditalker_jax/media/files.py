"""Checks before reading a file, and writing beside the target so that failures leave nothing."""

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

from moditalker_jax.errors import InputError


def require_file(path: str | Path) -> Path:
    """Returns `path` as a Path; InputError if it is missing, a folder, empty or unreadable."""
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such file; check the path")
    if path.is_dir():
        raise InputError(f"{path}: is a folder, not a file; name one file")
    if not os.access(path, os.R_OK):
        raise InputError(f"{path}: may not be read; check its permissions")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty; give another one")
    return path


@contextlib.contextmanager
def written_aside(path: str | Path) -> Iterator[Path]:
    """Yields a temporary name in the target's folder, renamed to `path` when the block succeeds.

    The folder is made if it does not exist. Whatever goes wrong, an interrupt included, the
    temporary file is removed and an older file at `path` stays as it was.

    Raises:
      InputError: the folder cannot be made or the file cannot be written there.
    """
    temporary = _temporary_name(path)
    with _told(path):
        try:
            yield temporary
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def require_writable(path: str | Path) -> None:
    """Finds out before long work whether `path` can be written; its folder is made.

    Raises:
      InputError: as `written_aside`.
    """
    probe = _temporary_name(path)
    with _told(path):
        probe.touch()
        probe.unlink()


def _temporary_name(path: str | Path) -> Path:
    """A new name beside `path`, whose folder is made."""
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give the name of a file to write")
    with _told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")


@contextlib.contextmanager
def _told(path: str | Path) -> Iterator[None]:
    """Tells the system's refusals as InputError."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror or error}); choose another output path"
        ) from error
