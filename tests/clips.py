"""Small prepared clips whose every field tells which frame it belongs to."""

from typing import Any

import numpy as np

from data_pipelines.records import SAMPLES_PER_FRAME, PreparedClip, dataset_metadata

RESOLUTION = 32
AUDIO_WIDTH = 5
MOTION_SCALE = 2.0
MEAN_FACE = np.linspace(-1.0, 1.0, 68 * 3).reshape(68, 3)


def make_clip(name: str, num_frames: int, *, value: int = 0) -> PreparedClip:
    """Frame t is grey level `value + 2t`, its landmarks are t / 1000, its frontal ones t."""
    t = np.arange(num_frames)
    grey = (value + 2 * t).astype(np.uint8)
    frames = np.broadcast_to(grey[:, None, None, None], (num_frames, RESOLUTION, RESOLUTION, 3))
    points = np.broadcast_to(t[:, None, None], (num_frames, 68, 3)).astype(np.float32)
    steps = np.arange(2 * num_frames, dtype=np.float32)
    return PreparedClip(
        name=name,
        speaker="nobody",
        frames=np.ascontiguousarray(frames),
        landmarks=points / 1000,
        frontal_landmarks=points,
        audio_features=np.broadcast_to(steps[:, None], (2 * num_frames, AUDIO_WIDTH)).copy(),
        audio=np.repeat(t.astype(np.int16), SAMPLES_PER_FRAME),
    )


def make_metadata(**more: Any) -> dict[str, Any]:
    """Metadata that fits `make_clip`."""
    return dataset_metadata(
        resolution=RESOLUTION,
        audio_encoder={"name": "log_mel", "width": AUDIO_WIDTH, "version": 1},
        landmark_backend="made_up",
        motion_scale=MOTION_SCALE,
        mean_face=MEAN_FACE,
        **more,
    )
