"""Batches from arrays: what `data_pipelines.loader` and `latents` read from shards, without
TensorFlow.

Same arguments, same fields, same rules; the order and the windows of a seed are others. The number
of a record is all that there is to know of a stream's state.
"""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from data_pipelines.arrays.store import ArraySet, ArraySplit
from data_pipelines.records import AUDIO, LATENT_NAMES, reference_frame
from moditalker_jax import spec
from moditalker_jax.errors import InputError
from moditalker_jax.landmarks import MIRRORED_LANDMARKS

Batch = dict[str, np.ndarray]
Record = dict[str, Any]
CLIPS, LATENTS = "clips", "latents"
_STEPS = spec.AUDIO_STEPS_PER_FRAME
_PREFETCHED = 3


def load_metadata(directory: str | Path) -> dict[str, Any]:
    """What the writer said about the clips."""
    return dict(ArraySet(directory, CLIPS).metadata)


def held_out_split(directory: str | Path) -> str:
    """The split to measure on while training: "validation", or "test" where there is only that."""
    splits = ArraySet(directory, CLIPS).splits
    for split in ("validation", "test"):
        if split in splits:
            return split
    raise InputError(f"{directory}: nothing is held out for validation; write arrays with it")


def atom_batches(
    directory: str | Path,
    split: str,
    batch_size: int,
    *,
    seed: int | None,
    num_frames: int = spec.MOTION_WINDOW,
    start: int = 0,
    mirror: bool = False,
    remainder: Literal["pad", "drop"] = "pad",
    process_index: int = 0,
    process_count: int = 1,
) -> Iterator[Batch]:
    """Windows of motion and speech, see `data_pipelines.loader.atom_batches`."""
    arrays = ArraySet(directory, CLIPS)
    records, metadata = arrays.split(split), arrays.metadata
    width = _audio_width(arrays)
    mean_face = np.asarray(metadata["mean_face"], np.float32)
    scale = np.float32(metadata["motion_scale"])

    def cut(index: int, times: np.ndarray, mirrored: bool) -> Record:
        frontal = records.rows(index, "frontal_landmarks", times)
        if mirrored:
            frontal = _mirror(frontal, sum_of_sides=0.0)
        steps = _STEPS * times[0] + np.arange(_STEPS * num_frames)
        audio = records.rows(index, AUDIO, steps).astype(np.float32)
        return {
            "name": _window_name(records, index, times[0]),
            "motion": scale * (frontal - mean_face),
            AUDIO: audio.reshape(_STEPS * num_frames, width),
            "mask": times < records.length(index, "frontal_landmarks"),
        }

    chosen = [i for i in range(len(records)) if records.length(i, AUDIO)]
    windows = _Windows(
        chosen,
        lambda index: records.length(index, "frontal_landmarks"),
        cut,
        num_frames=num_frames,
        mirror=mirror,
    )
    nothing = f"{directory}: split {split!r} holds no clip with sound; write it again"
    return windows.batches(
        batch_size, seed, start, remainder, process_index, process_count, nothing
    )


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
    remainder: Literal["pad", "drop"] = "pad",
    process_index: int = 0,
    process_count: int = 1,
) -> Iterator[Batch]:
    """Short clips of video with their landmarks, see `data_pipelines.loader.clip_batches`."""
    arrays = ArraySet(directory, CLIPS)
    records, side = arrays.split(split), _side(arrays, resolution)
    if audio:
        _audio_width(arrays)

    def cut(index: int, times: np.ndarray, mirrored: bool) -> Record:
        window = _clip_window(records, index, times, side, audio=audio)
        if mirrored:
            window["video"] = np.ascontiguousarray(window["video"][:, :, ::-1])
            window["landmarks"] = _mirror(window["landmarks"], sum_of_sides=1.0)
            window["reference"] = window["video"][0]
        return {"name": _window_name(records, index, times[0]), **window}

    windows = _Windows(
        _long_enough(records, num_frames),
        lambda index: records.length(index, "frames"),
        cut,
        num_frames=num_frames,
        mirror=mirror,
        max_stride=max_frame_stride,
    )
    return windows.batches(
        batch_size,
        seed,
        start,
        remainder,
        process_index,
        process_count,
        _too_short(directory, split, num_frames),
    )


def clip_windows(
    directory: str | Path,
    split: str,
    *,
    num_frames: int = spec.CLIP_FRAMES,
    stride: int = spec.CLIP_FRAMES,
    resolution: int | None = None,
    audio: bool = False,
    any_reference: bool = False,
) -> Iterator[Record]:
    """Every window of every clip, once, see `data_pipelines.loader.clip_windows`."""
    arrays = ArraySet(directory, CLIPS)
    records, side = arrays.split(split), _side(arrays, resolution)
    chosen = _long_enough(records, num_frames)
    if not chosen:
        raise InputError(_too_short(directory, split, num_frames))
    for index in chosen:
        last = records.length(index, "frames") - num_frames
        for start in sorted({*range(0, last + 1, stride), last}):
            times = start + np.arange(num_frames)
            window = _clip_window(records, index, times, side, audio=audio)
            name = records.facts[index]["name"]
            if any_reference:
                chosen = reference_frame(name.encode(), start, records.length(index, "frames"))
                window["reference"] = _decode(records.pictures(index, [chosen])[0], side)
            yield {"name": name, "start": start, **window}


def latent_batches(
    directory: str | Path,
    split: str,
    batch_size: int,
    *,
    seed: int | None,
    audio: bool = False,
    start: int = 0,
    remainder: Literal["pad", "drop"] = "pad",
    process_index: int = 0,
    process_count: int = 1,
) -> Iterator[Batch]:
    """Batches of cached latents, see `data_pipelines.latents.latent_batches`."""
    records = ArraySet(directory, LATENTS).split(split)
    fields = (*LATENT_NAMES, AUDIO) if audio else LATENT_NAMES
    if audio and AUDIO not in records.facts[0]:
        raise InputError(
            f"{directory}: holds no audio features, which config.model.conditions asks for; "
            "remove it and train again, and it is written with them"
        )

    def cut(index: int, times: np.ndarray, mirrored: bool) -> Record:
        del mirrored
        values = {name: records.whole(index, name).astype(np.float32) for name in fields}
        return {"name": _window_name(records, index, records.facts[index]["start"]), **values}

    windows = _Windows(range(len(records)), lambda index: 1, cut, num_frames=1, mirror=False)
    nothing = f"{directory}: split {split!r} holds no latents; write it again"
    return windows.batches(
        batch_size, seed, start, remainder, process_index, process_count, nothing
    )


class _Windows:
    """Windows of records, cut in threads a few batches ahead."""

    def __init__(
        self,
        records: Sequence[int],
        length: Callable[[int], int],
        cut: Callable[[int, np.ndarray, bool], Record],
        *,
        num_frames: int,
        mirror: bool,
        max_stride: int = 1,
    ):
        self._records, self._length, self._cut = list(records), length, cut
        self._num_frames, self._mirror, self._max_stride = num_frames, mirror, max_stride

    def batches(
        self,
        batch_size: int,
        seed: int | None,
        start: int,
        remainder: Literal["pad", "drop"],
        process_index: int,
        process_count: int,
        nothing: str,
    ) -> Iterator[Batch]:
        """Endless batches of a seed from batch `start` on, or one pass of middle windows."""
        if not self._records:
            raise InputError(nothing)
        if len(self._records) < process_count:
            raise InputError(f"{nothing}: {len(self._records)} for {process_count} processes")
        mine = self._records[process_index::process_count]
        if seed is None:
            share = mine[: len(self._records) // process_count]
            return self._one_pass(share, batch_size, remainder)
        return self._endless(mine, batch_size, [seed, process_index], start)

    def _endless(
        self, records: list[int], batch_size: int, seed: list[int], start: int
    ) -> Iterator[Batch]:
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            waiting = [
                pool.submit(self._random_batch, records, batch_size, seed, start + k)
                for k in range(_PREFETCHED)
            ]
            number = start + _PREFETCHED
            while True:
                ready = waiting.pop(0)
                waiting.append(pool.submit(self._random_batch, records, batch_size, seed, number))
                number += 1
                yield ready.result()

    def _random_batch(
        self, records: list[int], batch_size: int, seed: list[int], number: int
    ) -> Batch:
        draws = range(number * batch_size, (number + 1) * batch_size)
        return _stacked([self._random_window(records, seed, draw) for draw in draws])

    def _random_window(self, records: list[int], seed: list[int], draw: int) -> Record:
        epoch, place = divmod(draw, len(records))
        order = np.random.default_rng([*seed, 0, epoch]).permutation(len(records))
        index = records[order[place]]
        rng = np.random.default_rng([*seed, 1, draw])
        length, frames = self._length(index), self._num_frames
        longest = (length - 1) // max(frames - 1, 1)
        stride = 1 + rng.integers(min(max(longest, 1), self._max_stride))
        first = rng.integers(max(length - ((frames - 1) * stride + 1) + 1, 1))
        mirrored = self._mirror and rng.random() < 0.5
        return self._cut(index, first + stride * np.arange(frames), bool(mirrored))

    def _one_pass(
        self, records: list[int], batch_size: int, remainder: Literal["pad", "drop"]
    ) -> Iterator[Batch]:
        for start in range(0, len(records), batch_size):
            numbers = records[start : start + batch_size]
            if len(numbers) == batch_size or remainder == "pad":
                yield self._middles(numbers, batch_size)

    def _middles(self, records: list[int], batch_size: int) -> Batch:
        frames = self._num_frames
        windows = [
            self._cut(i, max(self._length(i) - frames, 0) // 2 + np.arange(frames), False)
            for i in records
        ]
        return _stacked([windows[k % len(windows)] for k in range(batch_size)])


def _stacked(windows: Sequence[Record]) -> Batch:
    return {name: np.stack([window[name] for window in windows]) for name in windows[0]}


def _clip_window(
    records: ArraySplit, index: int, times: np.ndarray, side: int, *, audio: bool
) -> Record:
    video = np.stack([_decode(jpeg, side) for jpeg in records.pictures(index, times)])
    window = {
        "video": video,
        "landmarks": records.rows(index, "landmarks", times),
        "reference": video[0],
    }
    if audio:
        steps = _STEPS * times[0] + np.arange(_STEPS * len(times))
        window[AUDIO] = records.rows(index, AUDIO, steps).astype(np.float32)
    return window


def _decode(jpeg: np.ndarray, side: int) -> np.ndarray:
    picture = cv2.imdecode(jpeg, cv2.IMREAD_COLOR)[..., ::-1]
    if picture.shape[0] != side:
        picture = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(picture)


def _window_name(records: ArraySplit, index: int, start: int) -> bytes:
    return f"{records.facts[index]['name']}@{start}".encode()


def _mirror(landmarks: np.ndarray, *, sum_of_sides: float) -> np.ndarray:
    turned = landmarks[:, MIRRORED_LANDMARKS] * np.float32([-1.0, 1.0, 1.0])
    return turned + np.float32([sum_of_sides, 0.0, 0.0])


def _long_enough(records: ArraySplit, num_frames: int) -> list[int]:
    return [i for i in range(len(records)) if records.length(i, "frames") >= num_frames]


def _too_short(directory: str | Path, split: str, num_frames: int) -> str:
    return (
        f"{directory}: no clip of split {split!r} has {num_frames} frames; "
        "write longer clips or take shorter windows"
    )


def _audio_width(arrays: ArraySet) -> int:
    width = arrays.metadata["audio_encoder"]["width"]
    if not width:
        raise InputError(f"{arrays.directory}: holds no audio features; train on other data")
    return width


def _side(arrays: ArraySet, resolution: int | None) -> int:
    stored = arrays.metadata["resolution"]
    if not stored:
        raise InputError(f"{arrays.directory}: holds no pictures; it is for AToM alone")
    return stored if resolution is None else resolution
