"""Which videos there are, and which of their frames are held out.

The rule of the split, so that a validation frame is never trained on:
- ten videos or more: one whole video in ten is held out, the same ones however the files are
  listed (those whose names have the smallest hashes);
- fewer: the last tenth of every video of at least four seconds, from one to twelve seconds.
"""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from moditalker_jax.errors import InputError
from moditalker_jax.spec import FPS

VIDEO_SUFFIXES = frozenset(
    (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".wmv", ".flv", ".ogv")
)

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
    videos: dict[str, Path] = {}
    for path in map(Path, paths):
        found = [path]
        if path.is_dir():
            found = sorted(p for p in path.rglob("*") if p.suffix.lower() in VIDEO_SUFFIXES)
            if not found:
                raise InputError(f"{path}: holds no video files; name another folder")
        for file in found:
            if file.resolve() in {known.resolve() for known in videos.values()}:
                continue
            inside = file.relative_to(path) if path.is_dir() else Path(file.name)
            videos[_unused(inside.with_suffix("").as_posix(), videos)] = file
    if not videos:
        raise InputError("no videos given; name files or folders")
    return videos


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


def _unused(name: str, taken: Iterable[str]) -> str:
    names = [name, *(f"{name}-{k}" for k in range(2, len(list(taken)) + 3))]
    return next(candidate for candidate in names if candidate not in taken)
