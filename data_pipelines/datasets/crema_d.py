"""CREMA-D: `FOLDER/VideoFlash/1001_DFA_ANG_XX.flv`, pictures of 480x360.

Its authors give no split: one speaker in ten is for test, those whose numbers have the smallest
hashes.
"""

from pathlib import Path

from data_pipelines.datasets.base import Layout, SourceVideo, videos_in
from data_pipelines.prepare.split import held_out_videos
from moditalker_jax.errors import InputError


def list_videos(folder: Path) -> list[SourceVideo]:
    """All recordings; the speaker is the name's first part."""
    paths = [path for suffix in ("flv", "mp4") for path in videos_in(folder, f"*/*.{suffix}")]
    if not paths:
        raise InputError(f"{folder}: holds no CREMA-D; videos belong in VideoFlash/*.flv")
    speakers = {path: path.stem.split("_")[0] for path in paths}
    test = held_out_videos(sorted(set(speakers.values())))
    return [
        SourceVideo(
            name=path.stem,
            speaker=speaker,
            path=path,
            split="test" if speaker in test else "train",
        )
        for path, speaker in speakers.items()
    ]


CREMA_D = Layout(
    name="crema_d_video",
    version="1.0.0",
    resolution=256,
    citation="H. Cao et al., CREMA-D: Crowd-sourced Emotional Multimodal Actors Dataset, IEEE "
    "Transactions on Affective Computing, 2014",
    list_videos=list_videos,
)
