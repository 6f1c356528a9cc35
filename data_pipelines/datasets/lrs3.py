"""LRS3: `FOLDER/{pretrain,trainval,test}/SPEAKER/00001.mp4`, faces cropped to 224x224 at 25 fps."""

from pathlib import Path

from data_pipelines.datasets.base import Layout, SourceVideo, videos_in
from moditalker_jax.errors import InputError

_SPLITS = {"pretrain": "train", "trainval": "train", "test": "test"}


def list_videos(folder: Path) -> list[SourceVideo]:
    """All utterances; pretrain and trainval are for training."""
    clips = [
        SourceVideo(
            name=path.relative_to(folder).with_suffix("").as_posix(),
            speaker=path.parent.name,
            path=path,
            split=split,
        )
        for part, split in _SPLITS.items()
        for path in videos_in(folder / part, "*/*.mp4")
    ]
    if not clips:
        raise InputError(f"{folder}: holds no LRS3; videos belong in trainval/SPEAKER/00001.mp4")
    return clips


LRS3 = Layout(
    name="lrs3",
    version="1.0.0",
    resolution=256,
    citation="T. Afouras, J. S. Chung, A. Zisserman, LRS3-TED: a large-scale dataset for visual "
    "speech recognition, arXiv:1809.00496, 2018",
    list_videos=list_videos,
)
