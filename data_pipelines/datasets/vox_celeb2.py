"""VoxCeleb2: `FOLDER/{dev,test}/mp4/id00012/21Uxsk56VDQ/00001.mp4`, faces cropped to 224x224."""

from pathlib import Path

from data_pipelines.datasets.base import Layout, SourceVideo, videos_in
from moditalker_jax.errors import InputError

_SPLITS = {"dev": "train", "test": "test"}


def list_videos(folder: Path) -> list[SourceVideo]:
    """All utterances; dev is for training."""
    clips = [
        SourceVideo(
            name="/".join(path.with_suffix("").parts[-3:]),
            speaker=path.parts[-3],
            path=path,
            split=split,
        )
        for part, split in _SPLITS.items()
        for path in videos_in(folder / part / "mp4", "id*/*/*.mp4")
    ]
    if not clips:
        raise InputError(
            f"{folder}: holds no VoxCeleb2; videos belong in dev/mp4/id00012/VIDEO/00001.mp4"
        )
    return clips


VOX_CELEB2 = Layout(
    name="vox_celeb2_video",
    version="1.0.0",
    resolution=256,
    citation="J. S. Chung, A. Nagrani, A. Zisserman, VoxCeleb2: Deep Speaker Recognition, "
    "Interspeech 2018",
    list_videos=list_videos,
)
