"""Which videos there are, and which of their frames are held out.

The rule of the split, so that a validation frame is never trained on:
- ten videos or more: one whole video in ten is held out, the same ones however the files are
  listed (those whose names have the smallest hashes);
- fewer: the last tenth of every video of at least four seconds, from one to twelve seconds.
"""

import hashlib
import itertools
from collections.abc import Container, Iterable, Sequence
from pathlib import Path

from moditalker_jax.errors import InputError
from moditalker_jax.spec import FPS

VIDEO_SUFFIXES = frozenset(
    (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".wmv", ".flv", ".ogv")
)

PICTURE_SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"))

HELD_OUT_SHARE = 10
"""One in this many, of videos or of frames."""

_SHORTEST_WITH_TAIL = 4 * FPS
_TAIL_FRAMES = (FPS, 12 * FPS)


def list_videos(paths: Iterable[str | Path]) -> dict[str, Path]:
    """Finds the videos among files and folders (searched throughout), in a fixed order.

    Returns:
      Unique names, made from each file's own and, inside a folder, its path there; to files. A
      file that was named is taken whatever its suffix, and need not exist: reading it tells.

    Raises:
      InputError: a folder without videos, or no path at all.
    """
    return _list_files(paths, VIDEO_SUFFIXES, "video")


def list_pictures(paths: Iterable[str | Path]) -> dict[str, Path]:
    """As `list_videos`, of still pictures."""
    return _list_files(paths, PICTURE_SUFFIXES, "picture")


def _list_files(
    paths: Iterable[str | Path], suffixes: frozenset[str], kind: str
) -> dict[str, Path]:
    files: dict[str, Path] = {}
    known: set[Path] = set()
    for path in map(Path, paths):
        found = [path]
        if path.is_dir():
            found = sorted(p for p in path.rglob("*") if p.suffix.lower() in suffixes)
            if not found:
                raise InputError(f"{path}: holds no {kind} files; name another folder")
        for file in found:
            if file.resolve() in known:
                continue
            known.add(file.resolve())
            inside = file.relative_to(path) if path.is_dir() else Path(file.name)
            files[_unused(inside.with_suffix("").as_posix(), files)] = file
    if not files:
        raise InputError(f"no {kind}s given; name files or folders")
    return files


def held_out_videos(names: Sequence[str]) -> frozenset[str]:
    """The names of the videos that go wholly into validation; see the rule above."""
    by_hash = sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())
    return frozenset(by_hash[: len(names) // HELD_OUT_SHARE])


def held_out_tail(num_frames: int) -> int:
    """Frames at a video's end that go into validation where no whole video is held out."""
    if num_frames < _SHORTEST_WITH_TAIL:
        return 0
    shortest, longest = _TAIL_FRAMES
    return min(max(num_frames // HELD_OUT_SHARE, shortest), longest)


def _unused(name: str, taken: Container[str]) -> str:
    numbered = (f"{name}-{k}" for k in itertools.count(2))
    return next(n for n in itertools.chain([name], numbered) if n not in taken)
