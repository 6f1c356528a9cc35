"""Batches for AToM and for the autoencoders, and every clip window for the latent cache.

Train iterators (a seed is given) never end, and the same seed gives the same batches. Evaluation
iterators (`seed=None`) are one pass with fixed windows. All yield dicts of numpy arrays.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from data_pipelines.builder import clip_type
from data_pipelines.quiet_tensorflow import tf
from data_pipelines.records import AUDIO, reference_frame
from data_pipelines.shards import Shards, open_shards
from data_pipelines.streams import (
    Record,
    Remainder,
    numpy_batches,
    process_seeds,
    record_stream,
    window_name,
    windows_of,
)
from moditalker_jax import spec
from moditalker_jax.errors import InputError
from moditalker_jax.landmarks import MIRRORED_LANDMARKS

Batch = dict[str, np.ndarray]


def atom_batches(
    directory: str | Path,
    split: str,
    batch_size: int,
    *,
    seed: int | None,
    num_frames: int = spec.MOTION_WINDOW,
    start: int = 0,
    mirror: bool = False,
    remainder: Remainder = "pad",
    process_index: int = 0,
    process_count: int = 1,
) -> Iterator[Batch]:
    """Windows of motion and speech (paper section 4.2).

    A clip shorter than the window is padded with its last frame; the mask says where. The
    window's first frame is the reference, and the residual to it is left to the training step.

    Args:
      directory: data set of prepared clips.
      split: "train" or "validation".
      batch_size: windows a batch.
      seed: of order and starts; None is one pass.
      num_frames: T.
      start: number of the first batch, for a seed: a run that stopped before it goes on with it.
      mirror: with a seed, every second window is mirrored (left for right), at random.
      remainder: of one pass, see `streams.numpy_batches`.
      process_index, process_count: which share of the split is read.

    Yields:
      name (B,) bytes, "CLIP@FIRST_FRAME", motion (B, T, 68, 3) float32 = motion_scale * (frontal
      landmarks - mean face), audio_features (B, 2T, D) float32, mask (B, T) bool, True where there
      is a real frame.

    Raises:
      InputError: no data set, no such split, or nothing in it.
    """
    shards = open_shards(directory, clip_type())
    metadata = shards.metadata
    mean_face = tf.constant(metadata["mean_face"], tf.float32)
    width = _audio_width(shards)
    steps = spec.AUDIO_STEPS_PER_FRAME

    def cut(record: Record, times: tf.Tensor, mirrored: tf.Tensor | None) -> Record:
        frontal = _mirrored_if(mirrored, record["frontal_landmarks"], sum_of_sides=0.0)
        motion = metadata["motion_scale"] * (frontal - mean_face)
        mask = times < tf.shape(frontal, tf.int64)[0]
        audio = _audio_from(record, times[0], num_frames)
        return {
            "name": window_name(record["name"], times[0]),
            "motion": _at_times(motion, times),
            AUDIO: tf.ensure_shape(audio, (steps * num_frames, width)),
            "mask": mask,
        }

    order_seed, window_seed = process_seeds(seed, process_index)
    windows = windows_of(
        record_stream(
            shards,
            split,
            ("name", "frontal_landmarks", AUDIO),
            seed=order_seed,
            start=start * batch_size,
            process_index=process_index,
            process_count=process_count,
        ),
        cut,
        num_frames=num_frames,
        length=lambda record: tf.shape(record["frontal_landmarks"])[0],
        mirror=mirror,
        seed=None if seed is None else window_seed,
    )
    nothing = f"{directory}: split {split!r} holds no clip; write it again"
    return numpy_batches(windows, batch_size, remainder=remainder, nothing=nothing)


def clip_batches(
    directory: str | Path,
    split: str,
    batch_size: int,
    *,
    seed: int | None,
    num_frames: int = spec.CLIP_FRAMES,
    resolution: int | None = None,
    max_frame_stride: int = 1,
    audio: bool = False,
    start: int = 0,
    mirror: bool = False,
    remainder: Remainder = "pad",
    process_index: int = 0,
    process_count: int = 1,
) -> Iterator[Batch]:
    """Short clips of video with their landmarks (paper section 4.3).

    Clips of fewer than `num_frames` frames are left out.

    Args:
      directory, split, batch_size, seed, start, mirror, remainder, process_index,
        process_count: as in `atom_batches`.
      num_frames: T.
      resolution: side of the frames; None is that of the data set.
      max_frame_stride: random windows take every s-th frame, s random up to this: more motion.
      audio: read the audio features too, which go with windows of neighbouring frames.

    Yields:
      name (B,) bytes, "CLIP@FIRST_FRAME", video (B, T, R, R, 3) uint8, landmarks (B, T, 68, 3)
      float32 in units of the frame's width, reference (B, R, R, 3) uint8, the window's first frame,
      and audio_features (B, 2T, A) float32 if asked for.

    Raises:
      InputError: no data set, no such split, or no clip in it is long enough.
    """
    shards = open_shards(directory, clip_type())
    resize = _resizer(shards, resolution)
    width = _audio_width(shards) if audio else 0

    def cut(record: Record, times: tf.Tensor, mirrored: tf.Tensor | None) -> Record:
        video = resize(_decode(_at_times(record["frames"], times), num_frames))
        landmarks = _mirrored_if(mirrored, _at_times(record["landmarks"], times), sum_of_sides=1.0)
        if mirrored is not None:
            video = tf.cond(mirrored, lambda: tf.reverse(video, axis=[2]), lambda: video)
        window = {"video": video, "landmarks": landmarks, "reference": video[0]}
        if audio:
            sound = _audio_from(record, times[0], num_frames)
            window[AUDIO] = tf.ensure_shape(sound, (None, width))
        return {"name": window_name(record["name"], times[0]), **window}

    order_seed, window_seed = process_seeds(seed, process_index)
    windows = windows_of(
        record_stream(
            shards,
            split,
            ("name", "frames", "landmarks", *([AUDIO] if audio else [])),
            seed=order_seed,
            start=start * batch_size,
            keep=_at_least(num_frames),
            process_index=process_index,
            process_count=process_count,
        ),
        cut,
        num_frames=num_frames,
        length=lambda record: tf.shape(record["frames"])[0],
        mirror=mirror,
        seed=None if seed is None else window_seed,
        max_stride=max_frame_stride,
    )
    nothing = _too_short(directory, split, num_frames)
    return numpy_batches(windows, batch_size, remainder=remainder, nothing=nothing)


def clip_windows(
    directory: str | Path,
    split: str,
    *,
    num_frames: int = spec.CLIP_FRAMES,
    stride: int = spec.CLIP_FRAMES,
    resolution: int | None = None,
    audio: bool = False,
    any_reference: bool = False,
) -> Iterator[dict[str, np.ndarray | str | int]]:
    """Every window of every clip, once, for encoding latents.

    Windows start at multiples of `stride`; the last one of a clip ends with the clip, so that
    every frame is seen if `stride <= num_frames`. Clips shorter than a window are left out. The
    reference is the window's first frame, or with `any_reference` one drawn from the whole clip,
    the same in every call.

    Yields:
      name (str, the clip's), start (int, the window's first frame), video (T, R, R, 3) uint8,
      landmarks (T, 68, 3) float32 in units of the frame's width, reference (R, R, 3) uint8, and
      audio_features (2T, A) float32 if asked for.

    Raises:
      InputError: as `clip_batches`.
    """
    shards = open_shards(directory, clip_type())
    if audio:
        _audio_width(shards)
    fields = ("name", "frames", "landmarks", *([AUDIO] if audio else []))
    records = record_stream(shards, split, fields, seed=None, keep=_at_least(num_frames))
    nothing = _too_short(directory, split, num_frames)
    resize = _resizer(shards, resolution)

    def decode(_: tf.Tensor, record: Record) -> Record:
        return {**record, "frames": resize(_decode(record["frames"]))}

    clips = records.map(decode).prefetch(1)
    return _all_windows(clips, num_frames, stride, nothing, any_reference=any_reference)


def _all_windows(
    clips: tf.data.Dataset, num_frames: int, stride: int, nothing: str, *, any_reference: bool
) -> Iterator[dict[str, np.ndarray | str | int]]:
    empty = True
    for clip in clips.as_numpy_iterator():
        empty = False
        last = len(clip["frames"]) - num_frames
        for start in sorted({*range(0, last + 1, stride), last}):
            video = clip["frames"][start : start + num_frames]
            steps = spec.AUDIO_STEPS_PER_FRAME * np.array([start, start + num_frames])
            yield {
                **({AUDIO: clip[AUDIO][slice(*steps)]} if AUDIO in clip else {}),
                "name": clip["name"].decode(),
                "start": start,
                "video": video,
                "landmarks": clip["landmarks"][start : start + num_frames],
                "reference": clip["frames"][
                    reference_frame(clip["name"], start, len(clip["frames"]))
                    if any_reference
                    else start
                ],
            }
    if empty:
        raise InputError(nothing)


def _audio_width(shards: Shards) -> int:
    width = shards.metadata["audio_encoder"]["width"]
    if not width:
        raise InputError(f"{shards.directory}: holds no audio features; train on other data")
    return width


def _audio_from(record: Record, start: tf.Tensor, num_frames: int) -> tf.Tensor:
    """The audio features of the `num_frames` frames from number `start` on."""
    steps = spec.AUDIO_STEPS_PER_FRAME
    return _at_times(record[AUDIO], steps * start + tf.range(steps * num_frames, dtype=tf.int64))


def _at_times(sequence: tf.Tensor, times: tf.Tensor) -> tf.Tensor:
    """The steps with these numbers; past the end the last step is repeated."""
    last = tf.shape(sequence, tf.int64)[0] - 1
    return tf.gather(sequence, tf.minimum(times, last))


def _mirrored_if(
    mirrored: tf.Tensor | None, landmarks: tf.Tensor, *, sum_of_sides: float
) -> tf.Tensor:
    """Landmarks (T, 68, 3), left for right if `mirrored`; `sum_of_sides` is x left + x right."""
    if mirrored is None:
        return landmarks
    turned = tf.gather(landmarks, MIRRORED_LANDMARKS, axis=1) * [-1.0, 1.0, 1.0]
    return tf.where(mirrored, turned + [sum_of_sides, 0.0, 0.0], landmarks)


def _at_least(num_frames: int) -> Callable[[Record], tf.Tensor]:
    return lambda record: tf.shape(record["frames"])[0] >= num_frames


def _decode(frames: tf.Tensor, num_frames: int | None = None) -> tf.Tensor:
    """JPEG bytes (T,) to uint8 (T, H, W, 3); T is `num_frames` where that is known."""

    def decode(frame: tf.Tensor) -> tf.Tensor:
        return tf.io.decode_jpeg(frame, channels=3, dct_method="INTEGER_ACCURATE")

    if num_frames is not None:
        # A third faster than the loop below.
        return tf.stack([decode(frame) for frame in tf.unstack(frames, num_frames)])
    return tf.map_fn(decode, frames, fn_output_signature=tf.TensorSpec((None, None, 3), tf.uint8))


def _resizer(shards: Shards, resolution: int | None) -> Callable[[tf.Tensor], tf.Tensor]:
    stored = shards.metadata["resolution"]
    if not stored:
        raise InputError(f"{shards.directory}: holds no pictures; it is for AToM alone")
    side = stored if resolution is None else resolution

    def resize(video: tf.Tensor) -> tf.Tensor:
        if side != stored:
            video = tf.image.resize(video, (side, side), antialias=True)
            video = tf.cast(tf.clip_by_value(tf.round(video), 0.0, 255.0), tf.uint8)
        return tf.ensure_shape(video, (None, side, side, 3))

    return resize


def _too_short(directory: str | Path, split: str, num_frames: int) -> str:
    return (
        f"{directory}: no clip of split {split!r} has {num_frames} frames; "
        "prepare longer clips or take shorter windows"
    )
