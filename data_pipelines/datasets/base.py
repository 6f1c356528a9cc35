"""What a data set's layout on disk says about each of its videos."""

import dataclasses
from collections.abc import Callable
from pathlib import Path


@dataclasses.dataclass(frozen=True, kw_only=True)
class SourceVideo:
    """One video, or a part of one, that becomes one prepared clip.

    Attributes:
      name: unique within the data set.
      speaker: whose face it is, as far as the data set tells; else the name.
      path: the video file.
      split: "train", "validation" or "test" where the data set's rule says; None leaves it to
        the rule of `data_pipelines.prepare.split`.
      start, stop: seconds of the file that the clip takes; None is its end.
      crop: (x0, y0, x1, y1) in pixels of the file's picture, where the data set gives one.
    """

    name: str
    speaker: str
    path: Path
    split: str | None = None
    start: float = 0.0
    stop: float | None = None
    crop: tuple[int, int, int, int] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
    """How to read one data set's folder.

    Attributes:
      name: the TFDS name, lower case with underscores.
      version: of the layout's reading, "1.0.0" and so on; raised when its clips or splits change.
      resolution: side of the square pictures that the paper makes of it.
      citation: how the data set's authors want to be cited (one line: authors, title, venue).
      list_videos: the videos in a folder, in a fixed order; InputError tells what is missing and
        how the folder should look.
    """

    name: str
    version: str
    resolution: int
    citation: str
    list_videos: Callable[[Path], list[SourceVideo]]


def videos_in(folder: Path, pattern: str) -> list[Path]:
    """The files of a folder that match a pattern, in a fixed order; none where it is missing."""
    return sorted(path for path in folder.glob(pattern) if path.is_file())
