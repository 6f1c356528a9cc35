"""Small videos to prepare, and a finder that knows where their faces are."""

import numpy as np

from data_pipelines.datasets.base import SourceVideo
from data_pipelines.prepare.clip import Settings
from moditalker_jax.landmarks import MEAN_FACE
from moditalker_jax.media.video import write_video

SMALL = Settings(resolution=32, min_side=16)


class KnownFace:
    """A finder that puts the mean face into every frame but the dark and the `lost` ones."""

    def __init__(self, *, lost=()):
        self.lost, self.forgotten = lost, 0

    def detect(self, frame):
        return []

    def tracker(self):
        return _KnownFaceTracker(self)


class _KnownFaceTracker:
    def __init__(self, finder):
        self.finder, self.index = finder, 0

    def __call__(self, frame):
        side = min(frame.shape[:2])
        face = MEAN_FACE * [1, -1, 1] * (0.2 * side) + [frame.shape[1] / 2, side / 2, 0]
        face[60:64, 1] += self.index % 5
        seen = frame.mean() > 20 and self.index not in self.finder.lost
        self.index += 1
        return (face if seen else np.full((68, 3), np.nan)).astype(np.float32)

    def forget(self):
        self.finder.forgotten += 1


def write_clip(path, seconds=2.0, *, dark=(), sound=True, level=1.0, sound_seconds=None):
    """A picture that darkens in the frames `dark`, with a click at the start of each second."""
    count = round(seconds * 25)
    frames = [np.full((48, 64, 3), 0 if k in dark else 128, np.uint8) for k in range(count)]
    audio = np.random.default_rng(0).normal(0, 1e-3, count * 640).astype(np.float32)
    audio[8000::16_000] = 0.9
    write_video(path, frames, audio=level * audio if sound else None)
    return path


def source(path, **fields):
    return SourceVideo(name=path.stem, speaker=path.stem, path=path, **fields)
