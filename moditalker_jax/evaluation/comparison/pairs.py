"""Which generated video belongs to which real one, and whether the two can be compared."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from data_pipelines.prepare.split import VIDEO_SUFFIXES
from moditalker_jax.errors import InputError
from moditalker_jax.media.decoding import open_media
from moditalker_jax.media.video import picture_size

REAL = "Real Video"
"""What the real videos are called among the methods, as in the paper's table 1."""

_SAME_RATE = 0.01
"""Rates that differ by a smaller share are one: cameras' clocks, and 29.97 for 30."""


@dataclass(frozen=True)
class Scene:
    """A real video and what the methods made of it; `generated` has their files by method."""

    name: str
    real: Path
    generated: Mapping[str, Path]

    @property
    def videos(self) -> dict[str, Path]:
        """All files by method, the real one first."""
        return {REAL: self.real, **self.generated}


@dataclass(frozen=True)
class LeftOut:
    """Something that could not be measured.

    Attributes:
      video: name of the scene.
      method: whose video; `REAL` for the real one.
      figures: titles of the figures that it lacks; empty where the whole video is left out.
      message: one line that names the file and says why.
    """

    video: str
    method: str
    figures: tuple[str, ...]
    message: str


def find_scenes(real: Path, methods: Mapping[str, Path]) -> tuple[list[Scene], list[LeftOut]]:
    """Pairs videos by their path inside the folder, without the suffix.

    Args:
      real: folder of the real videos, searched throughout, or one file.
      methods: folders of generated videos by the method's name; files if `real` is one.

    Returns:
      Scenes with at least one generated video, by name; and the videos without a partner.

    Raises:
      InputError: a path is missing, a folder without videos, or there is no pair at all.
    """
    for path in (real, *methods.values()):
        if not path.exists():
            raise InputError(f"{path}: no such file or folder; check the path")
        if path.is_dir() != real.is_dir():
            raise InputError(f"{real} and {path}: give two folders, or two files")
    if real.is_file():
        return [Scene(real.stem, real, methods)], []
    left_out: list[LeftOut] = []
    truths = _by_name(real, REAL, left_out)
    made = {method: _by_name(folder, method, left_out) for method, folder in methods.items()}
    for method, videos in made.items():
        for name in sorted(truths.keys() - videos.keys()):
            message = f"{truths[name]}: has no partner in {methods[method]}"
            left_out.append(LeftOut(name, method, (), message))
        for name in sorted(videos.keys() - truths.keys()):
            message = f"{videos[name]}: has no partner in {real}"
            left_out.append(LeftOut(name, method, (), message))
    scenes = []
    for name, path in truths.items():
        generated = {method: videos[name] for method, videos in made.items() if name in videos}
        if generated:
            scenes.append(Scene(name, path, generated))
    if not scenes:
        raise InputError(f"{real}: no video has a partner of the same name; rename the files")
    return scenes, left_out


def _by_name(folder: Path, method: str, left_out: list[LeftOut]) -> dict[str, Path]:
    """The videos of a folder; of several with one name none is taken."""
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in VIDEO_SUFFIXES:
            found.setdefault(path.relative_to(folder).with_suffix("").as_posix(), []).append(path)
    if not found:
        raise InputError(f"{folder}: holds no video files; name another folder")
    for name, paths in found.items():
        if len(paths) > 1:
            files = " and ".join(path.name for path in paths)
            message = f"{paths[0]}: its folder holds {files} of one name; keep one of them"
            left_out.append(LeftOut(name, method, (), message))
    return {name: paths[0] for name, paths in found.items() if len(paths) == 1}


def frame_mismatch(generated: Path, real: Path) -> str | None:
    """Why the frames of two videos cannot be compared one by one, by their headers; or None.

    Raises:
      InputError: one of them is not a readable video.
    """
    (size, rate), (true_size, true_rate) = _format(generated), _format(real)
    if size == true_size and abs(rate - true_rate) <= _SAME_RATE * true_rate:
        return None
    texts = (f"{w}x{h} at {fps:.4g} fps" for (h, w), fps in ((size, rate), (true_size, true_rate)))
    return f"{generated}: is {next(texts)}, {real} is {next(texts)}"


def _format(path: Path) -> tuple[tuple[int, int], float]:
    """Height and width, and frames a second."""
    with open_media(path) as container:
        size = picture_size(path)
        stream = container.streams.video[0]
        return size, float(stream.average_rate or stream.guessed_rate or 0)
