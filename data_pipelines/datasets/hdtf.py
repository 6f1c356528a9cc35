"""HDTF: source videos cut and cropped by the annotation files that its authors publish.

    FOLDER/RD_annotion_time.txt     Radio11.mp4 00:30-01:00 01:30-02:30
    FOLDER/RD_crop_wh.txt           Radio11_0.mp4 412 599 0 599
    FOLDER/RD_resolution.txt        Radio11.mp4 720
    ... and the same for WDA_ and WRA_
    FOLDER/test_ids.txt             Radio11_0
    FOLDER/videos/Radio11.mp4

The files are those of github.com/MRzzm/HDTF, folder HDTF_dataset. Videos that are no longer to be
had are passed over. `test_ids.txt` lists the clips of the test split, one a line; the authors of
MoDiTalker publish theirs, of 98, as `train_id.txt`: it is the evaluation list in spite of its
name, and may stand here under that name too.
"""

import re
from pathlib import Path

from data_pipelines.datasets.base import Layout, SourceVideo
from moditalker_jax.errors import InputError
from moditalker_jax.media.video import picture_size

SUBSETS = ("RD", "WDA", "WRA")
_TEST_LISTS = ("test_ids.txt", "train_id.txt")
_SPAN = re.compile(r"(\d+(?::\d+){0,2})-(\d+(?::\d+){0,2})")


def list_videos(folder: Path) -> list[SourceVideo]:
    """The clips of every source video that is there."""
    test = test_ids(folder)
    clips = []
    for subset in SUBSETS:
        times = folder / f"{subset}_annotion_time.txt"
        if not times.is_file():
            continue
        crops = _table(folder / f"{subset}_crop_wh.txt")
        heights = _table(folder / f"{subset}_resolution.txt")
        for file, spans in _table(times).items():
            path = folder / "videos" / file
            if path.is_file():
                clips += _clips(path, spans, crops, heights.get(file), test, times)
    if not clips:
        raise InputError(
            f"{folder}: holds no HDTF; put {SUBSETS[0]}_annotion_time.txt and the like of "
            "github.com/MRzzm/HDTF there, and the source videos in videos/"
        )
    return clips


def _clips(path, spans, crops, height, test, times: Path) -> list[SourceVideo]:
    clips = []
    scale = _scale(path, height)
    for index, span in enumerate(spans):
        match = _SPAN.fullmatch(span)
        if match is None:
            raise InputError(f"{times}: {path.name}: {span!r} is not a span such as 00:30-01:00")
        name = f"{path.stem}_{index}"
        crop = crops.get(f"{name}.mp4")
        if crop is not None and scale is not None:
            left, width, top, height_of_crop = (round(int(value) * scale) for value in crop)
            box = (left, top, left + width, top + height_of_crop)
        else:
            box = None
        clips.append(
            SourceVideo(
                name=name,
                speaker=path.stem,
                path=path,
                split="test" if name in test else "train",
                start=_seconds(match[1]),
                stop=_seconds(match[2]),
                crop=box,
            )
        )
    return clips


def _scale(path: Path, height: list[str] | None) -> float | None:
    """The file's height over the one that the annotations were made at; None if not known."""
    if not height or not height[0].isdigit():
        return None
    try:
        return picture_size(path)[0] / int(height[0])
    except InputError:
        return None  # Told with its reason when its turn comes.


def _seconds(clock: str) -> float:
    seconds = 0
    for part in clock.split(":"):
        seconds = 60 * seconds + int(part)
    return float(seconds)


def _table(path: Path) -> dict[str, list[str]]:
    """Lines "key value value ..." by key."""
    if not path.is_file():
        raise InputError(f"{path}: is missing; take it from github.com/MRzzm/HDTF")
    rows = (line.split() for line in path.read_text().splitlines())
    return {row[0]: row[1:] for row in rows if row}


def test_ids(folder: Path) -> frozenset[str]:
    """Names of the clips of the test split; InputError where no list is there."""
    for name in _TEST_LISTS:
        if (folder / name).is_file():
            lines = (folder / name).read_text().split()
            return frozenset(line.removesuffix(".mp4") for line in lines)
    raise InputError(f"{folder}: {_TEST_LISTS[0]} is missing; list the test clips, one a line")


HDTF = Layout(
    name="hdtf",
    version="1.0.0",
    resolution=256,
    citation="Z. Zhang et al., Flow-Guided One-Shot Talking Face Generation With a "
    "High-Resolution Audio-Visual Dataset, CVPR 2021",
    list_videos=list_videos,
)
