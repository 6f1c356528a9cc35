"""HDTF as the release trains MToV on it: pictures and landmarks, a file a frame; no sound.

    FOLDER/frames/ID/00000.jpg
    FOLDER/keypoints/non-face-centric/posed/ID/00000.npy    (68, 2) pixels, y down
    FOLDER/keypoints/face-centric/posed/ID/00000.npy        (68, 3) with head pose, y up
    FOLDER/keypoints/face-centric/unposed/ID/00000.npy      (68, 3) frontal, y up
    FOLDER/train_id.txt                                     the test split, in spite of its name

Where the release's own reconstruction failed, a frame has no landmarks: the clip ends there.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from data_pipelines.datasets.hdtf import test_ids
from data_pipelines.records import PreparedClip
from moditalker_jax.errors import InputError
from moditalker_jax.faces import centre_crop, centre_square
from moditalker_jax.spec import CLIP_FRAMES, NUM_LANDMARKS

MAX_FRAMES = 250
_ON_PICTURE, _POSED, _FRONTAL = (
    "non-face-centric/posed",
    "face-centric/posed",
    "face-centric/unposed",
)


def identities(folder: Path) -> dict[str, list[str]]:
    """The IDs of "train" and "test".

    Raises:
      InputError: `folder` has another layout.
    """
    found = sorted(path.name for path in (folder / "frames").glob("*") if path.is_dir())
    if not found:
        raise InputError(f"{folder}: holds no frames/ID/00000.jpg; give the release's HDTF folder")
    test = test_ids(folder)
    return {
        "train": [name for name in found if name not in test],
        "test": [name for name in found if name in test],
    }


def read_clips(folder: Path, names: list[str], resolution: int) -> Iterator[PreparedClip]:
    """Runs of frames that have landmarks, of at most 10 s; an unreadable frame is told."""
    for name in names:
        run: list[tuple[str, np.ndarray, np.ndarray, np.ndarray]] = []
        for picture in sorted((folder / "frames" / name).glob("*.jpg"), key=_number):
            frame = _read_frame(folder, name, picture, resolution)
            if frame is not None:
                run.append((picture.stem, *frame))
            if frame is None or len(run) == MAX_FRAMES:
                yield from _clip(name, run)
                run = []
        yield from _clip(name, run)


def _number(path: Path) -> tuple[int, str]:
    return (int(path.stem) if path.stem.isdigit() else -1), path.stem


def _read_frame(
    folder: Path, name: str, picture: Path, resolution: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Picture, landmarks on it and frontal ones; None where the release has no landmarks."""
    paths = [
        folder / "keypoints" / kind / name / f"{picture.stem}.npy"
        for kind in (_ON_PICTURE, _POSED, _FRONTAL)
    ]
    if not all(path.is_file() for path in paths):
        return None
    try:
        on_picture, posed, frontal = (
            _points(path, dimensions) for path, dimensions in zip(paths, (2, 3, 3), strict=True)
        )
    except InputError as error:
        print(f"left out: {error}", file=sys.stderr)
        return None
    frame = cv2.imread(str(picture))
    if frame is None:
        print(f"left out: {picture}: is no picture", file=sys.stderr)
        return None
    # The depth that the picture's landmarks lack, on their scale.
    spread = [np.linalg.norm(p[:, :2] - p[:, :2].mean(axis=0)) for p in (on_picture, posed)]
    depth = (posed[:, 2:] - posed[:, 2:].mean()) * (spread[0] / spread[1])
    landmarks = np.concatenate([on_picture, depth], axis=1)[None]
    square = np.round(centre_square(frame[..., ::-1], resolution)).astype(np.uint8)
    return square, centre_crop(frame.shape[:2]).to_crop(landmarks)[0], frontal


def _points(path: Path, dimensions: int) -> np.ndarray:
    try:
        points = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: cannot be read as an array") from error
    if points.shape != (NUM_LANDMARKS, dimensions) or not np.isfinite(points).all():
        raise InputError(
            f"{path}: {points.shape} is not ({NUM_LANDMARKS}, {dimensions}) and finite"
        )
    return points.astype(np.float32)


def _clip(name: str, run: list[tuple]) -> Iterator[PreparedClip]:
    if len(run) < CLIP_FRAMES:
        return
    stems, frames, landmarks, frontal = zip(*run, strict=True)
    yield PreparedClip(
        name=f"{name}-{stems[0]}",
        speaker=name,
        frames=np.stack(frames),
        landmarks=np.stack(landmarks).astype(np.float32),
        frontal_landmarks=np.stack(frontal),
        audio_features=np.zeros((0, 0), np.float32),
        audio=np.zeros(0, np.int16),
    )
