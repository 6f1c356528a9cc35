"""How fast batches come from shards, beside the same batches built the naive way, in one run.

    python -m data_pipelines.benchmark --data data/synthetic --latents runs/demo/latents

The naive way is the usual one of talking-head code: one picture file and one landmark file a
frame, discs drawn frame by frame with OpenCV, and a torch DataLoader with two workers
(`pip install torch`). For cached latents it builds the pictures that they are the latents of;
encoding these would come on top. Both ways take turns; the faster of two rounds counts.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from data_pipelines.builder import load_metadata
from data_pipelines.latents import latent_batches
from data_pipelines.loader import atom_batches, clip_batches, clip_windows
from data_pipelines.quiet_tensorflow import tfds
from moditalker_jax.conditions import (
    PAPER_DISC_RADIUS,
    PAPER_RESOLUTION,
    landmark_video,
    pose_video,
)
from moditalker_jax.errors import InputError, command
from moditalker_jax.spec import AUDIO_STEPS_PER_FRAME, CLIP_FRAMES, MOTION_WINDOW, NOSE_BASE

WORKERS = 2
Batches = Callable[[], Iterator[Any]]


def write_naive_files(data: Path, folder: Path, clips: int) -> list[Path]:
    """The first clips as folders: a .jpg, a landmark .npy and a motion .npy a frame, audio.npy."""
    metadata = load_metadata(data)
    records = tfds.builder_from_directory(str(data)).as_dataset(split=f"train[:{clips}]")
    written = []
    for record in records.as_numpy_iterator():
        clip = folder / f"{len(written):05d}"
        clip.mkdir()
        motion = record["frontal_landmarks"] - np.float32(metadata["mean_face"])
        for t, frame in enumerate(record["frames"]):
            cv2.imwrite(str(clip / f"{t:05d}.jpg"), frame[..., ::-1])
            np.save(clip / f"{t:05d}.npy", record["landmarks"][t])
            np.save(clip / f"{t:05d}_motion.npy", metadata["motion_scale"] * motion[t])
        np.save(clip / "audio.npy", record["audio_features"])
        written.append(clip)
    return written


class NaiveFiles:
    """Random windows of clips that lie as a file a frame, as a torch data set."""

    def __init__(self, clips: Sequence[Path]):
        self._clips = clips
        self._lengths = [len(list(clip.glob("*.jpg"))) for clip in clips]

    def __len__(self) -> int:
        return 1_000_000

    def window(self, index: int, num_frames: int) -> tuple[Path, int, int]:
        """A clip, its length and the window's first frame."""
        rng = np.random.default_rng(index)
        chosen = int(rng.integers(len(self._clips)))
        length = self._lengths[chosen]
        return self._clips[chosen], length, int(rng.integers(max(length - num_frames, 0) + 1))


class NaiveMotion(NaiveFiles):
    """AToM's windows, read frame by frame."""

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        clip, length, start = self.window(index, MOTION_WINDOW)
        times = np.minimum(np.arange(start, start + MOTION_WINDOW), length - 1)
        steps = AUDIO_STEPS_PER_FRAME * start + np.arange(AUDIO_STEPS_PER_FRAME * MOTION_WINDOW)
        audio = np.load(clip / "audio.npy")
        return {
            "motion": np.stack([np.load(clip / f"{t:05d}_motion.npy") for t in times]),
            "audio_features": audio[np.minimum(steps, len(audio) - 1)],
            "mask": times < length,
        }


class NaiveClips(NaiveFiles):
    """MToV's clips with their conditions, read and drawn frame by frame."""

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        clip, _, start = self.window(index, CLIP_FRAMES)
        video, drawn, poses = [], [], []
        for t in range(start, start + CLIP_FRAMES):
            frame = cv2.imread(str(clip / f"{t:05d}.jpg"))[..., ::-1]
            side = frame.shape[0]
            points = (np.load(clip / f"{t:05d}.npy")[:, :2] * side).astype(int)
            discs = np.zeros_like(frame)
            radius = round(PAPER_DISC_RADIUS * side / PAPER_RESOLUTION)
            for x, y in points.tolist():
                discs = cv2.circle(np.ascontiguousarray(discs), (x, y), radius, (255,) * 3, -1)
            pose = frame.copy()
            pose[points[NOSE_BASE, 1] :] = 0
            video.append(frame)
            drawn.append(discs)
            poses.append(pose)
        return {
            "video": np.stack(video),
            "landmark_video": np.stack(drawn),
            "pose_video": np.stack(poses),
            "reference": video[0].copy(),
        }


def naive_batches(dataset: Any, batch_size: int) -> Iterator[Any]:
    """A torch DataLoader's batches."""
    try:
        from torch.utils.data import DataLoader
    except ImportError as error:
        raise InputError("the naive way needs torch; pip install torch") from error
    # A forked worker would hang in TensorFlow's and OpenCV's locks.
    return iter(
        DataLoader(dataset, batch_size, num_workers=WORKERS, multiprocessing_context="spawn")
    )


def our_clips(data: Path, batch_size: int) -> Iterator[Any]:
    """Clips with their conditions, as training on raw clips draws them."""
    for batch in clip_batches(data, "train", batch_size, seed=0):
        video, landmarks = batch["video"], batch["landmarks"]
        yield {
            "video": video,
            "reference": batch["reference"],
            "landmark_video": landmark_video(landmarks, resolution=video.shape[2]),
            "pose_video": pose_video(video, landmarks),
        }


def rate(batches: Iterator[Any], batch_size: int, seconds: float) -> float:
    """Elements a second, after the first three batches."""
    for _ in range(3):
        next(batches)
    count, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds:
        next(batches)
        count += batch_size
    return count / elapsed


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the rates; returns the exit status."""
    parser = argparse.ArgumentParser(description="Batches a second, beside the naive way.")
    parser.add_argument("--data", type=Path, required=True, help="shards of clips")
    parser.add_argument("--latents", type=Path, required=True, help="their cached latents")
    parser.add_argument("--clips", type=int, default=24, help="that the naive way has as files")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each measurement")
    parser.add_argument("--batch-size", type=int, default=8)
    options = parser.parse_args(arguments)
    size = options.batch_size
    next(clip_windows(options.data, "train"))  # Tells at once what the data lack.
    with tempfile.TemporaryDirectory() as folder:
        files = write_naive_files(options.data, Path(folder), options.clips)
        ours: dict[str, tuple[Batches, Any]] = {
            "AToM windows": (
                lambda: atom_batches(options.data, "train", size, seed=0),
                NaiveMotion(files),
            ),
            "MToV cached latents": (
                lambda: latent_batches(options.latents, "train", size, seed=0),
                NaiveClips(files),
            ),
            "MToV raw clips": (lambda: our_clips(options.data, size), NaiveClips(files)),
        }
        title = f"a second, in batches of {size}"
        print(f"{title:32s} {'shards':>10s} {'naive':>10s} {'ratio':>7s}")
        for name, (batches, naive) in ours.items():
            rates = []
            for _ in range(2):
                from_shards = rate(batches(), size, options.seconds)
                from_files = rate(naive_batches(naive, size), size, options.seconds)
                rates.append((from_shards, from_files))
            best, naively = (max(column) for column in zip(*rates, strict=True))
            print(f"{name:32s} {best:10.1f} {naively:10.1f} {best / naively:7.1f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
