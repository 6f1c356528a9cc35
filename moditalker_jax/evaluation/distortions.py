"""Do the measures move as they must? Real videos spoiled in known ways, and measured.

    python -m moditalker_jax.evaluation.distortions --real FOLDER --out OUT

OUT/real gets each face's crop, and beside it stand the crop blurred, its pictures later than its
sound, and in its place the next video's face. OUT/report is that of `moditalker_jax.evaluation`.
Videos that are there already are not made again.
"""

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from data_pipelines.prepare.split import list_videos
from moditalker_jax.errors import SOMETHING_LEFT_OUT, InputError, command
from moditalker_jax.evaluation.comparison.compare import compare
from moditalker_jax.evaluation.comparison.flags import add_every_flag, add_lpips_flag
from moditalker_jax.evaluation.comparison.page import PAGE
from moditalker_jax.evaluation.comparison.report import MARKDOWN
from moditalker_jax.faces.finder import FaceFinder
from moditalker_jax.generation.command import warnings_on_stderr
from moditalker_jax.generation.reference import Reference, read_reference
from moditalker_jax.media.video import read_video_audio, write_video

BLUR = 2.0
"""Standard deviation in pixels."""
DELAY = 5
"""Frames."""

Distortion = Callable[[Reference, Reference], Iterable[np.ndarray]]
"""From a face and another person's to the frames that are shown in the first one's place."""


def blurred(face: Reference, other: Reference) -> Iterable[np.ndarray]:
    """Each frame through a Gaussian."""
    del other
    return (cv2.GaussianBlur(frame, (0, 0), BLUR) for frame in face.frames)


def delayed(face: Reference, other: Reference) -> Iterable[np.ndarray]:
    """Frame t is frame t - `DELAY`; the first one stands until then."""
    del other
    return face.frames[np.maximum(np.arange(len(face.frames)) - DELAY, 0)]


def swapped(face: Reference, other: Reference) -> Iterable[np.ndarray]:
    """The other face, played to and fro where it is seen for a shorter time."""
    return other.played_for(len(face.frames)).frames


DISTORTIONS: dict[str, Distortion] = {
    f"blurred (sigma {BLUR:g})": blurred,
    f"{DELAY} frames late": delayed,
    "another speaker": swapped,
}
FOLDERS = {name: distort.__name__ for name, distort in DISTORTIONS.items()}


def write_distorted(videos: Mapping[str, Path], out: Path, *, resolution: int) -> None:
    """Writes each video's face and its distortions, two faces in memory at a time.

    Args:
      videos: by the names that theirs get.
      out: folder to write.
      resolution: side of the faces' crops.

    Raises:
      InputError: a video can't be read, or there are fewer than two.
    """
    if len(videos) < 2:
        raise InputError("speakers are swapped: give two videos at least")
    finder = FaceFinder()

    def read(path: Path) -> Reference:
        return read_reference(path, resolution=resolution, finder=finder)

    following = None
    paths = list(videos.values())
    next_paths = [*paths[1:], paths[0]]
    for (name, path), next_path in zip(tqdm(videos.items()), next_paths, strict=True):
        file = f"{name}.mp4"
        targets = {distortion: out / FOLDERS[distortion] / file for distortion in DISTORTIONS}
        cropped = out / "real" / file
        if all(target.exists() for target in (cropped, *targets.values())):
            following = None
            continue
        face, following = following or read(path), read(next_path)
        sound = read_video_audio(path, len(face.frames))
        write_video(cropped, face.frames, audio=sound)
        for distortion, target in targets.items():
            write_video(target, DISTORTIONS[distortion](face, following), audio=sound)


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the videos and the report; returns the exit status."""
    parser = argparse.ArgumentParser(description="Measures real videos spoiled in known ways.")
    parser.add_argument("--real", type=Path, required=True, help="folder of talking faces")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--resolution", type=int, default=256, help="side of the crops")
    add_every_flag(parser, default=10)
    add_lpips_flag(parser)
    options = parser.parse_args(arguments)
    with warnings_on_stderr():
        write_distorted(list_videos([options.real]), options.out, resolution=options.resolution)
        report = compare(
            options.out / "real",
            {name: options.out / folder for name, folder in FOLDERS.items()},
            options.out / "report",
            every=options.every,
            lpips=options.lpips,
            clip_frames=0,
        )
    print((options.out / "report" / MARKDOWN).read_text())
    print(f"report: {options.out / 'report' / PAGE}")
    return SOMETHING_LEFT_OUT if report.left_out else 0


if __name__ == "__main__":
    sys.exit(main())
