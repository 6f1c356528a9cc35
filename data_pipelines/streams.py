"""tf.data plumbing that the loaders share: record streams, window starts and numpy batches."""

from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np

from data_pipelines.quiet_tensorflow import tf, tfds
from data_pipelines.shards import Shards
from moditalker_jax.errors import InputError

CACHE_BYTES = 1 << 30
"""Splits up to this size on disk are kept in memory after the first pass."""

SHUFFLE_BYTES = 256 << 20
"""Of larger splits about this much is in the shuffle buffer."""

Remainder = Literal["pad", "drop"]
Record = dict[str, Any]


def record_stream(
    shards: Shards,
    split: str,
    fields: tuple[str, ...],
    *,
    seed: int | None,
    start: int = 0,
    keep: Callable[[Record], tf.Tensor] | None = None,
    process_index: int = 0,
    process_count: int = 1,
) -> tf.data.Dataset:
    """Undecoded records of this process's share of a split, numbered: (index, record).

    With a seed the number of a record is all that there is to know of the stream's state: the
    stream from `start` on is what follows the first `start` records of the stream from 0.

    Args:
      shards: the data set.
      split: its part to read.
      fields: features to read; pictures stay JPEG bytes.
      seed: of the order in which records come, for ever; None is one pass in the order on disk.
      start: number of the first record, for a seeded stream.
      keep: which records to read; all others are left out. If none is left, the stream is empty.
      process_index, process_count: this process and how many share the split. In one pass all
        get equally many records.

    Raises:
      InputError: no such split, an empty one, or fewer records than processes.
    """
    info = shards.split(split)
    if info.num_examples < process_count:
        raise InputError(
            f"{shards.directory}: split {split!r} has {info.num_examples} records for "
            f"{process_count} processes; write more or use fewer processes"
        )
    share = tfds.even_splits(split, process_count, drop_remainder=seed is None)[process_index]
    features = shards.builder.info.features
    pictures = [name for name in fields if isinstance(features[name], tfds.features.Sequence)]
    records = shards.builder.as_dataset(
        split=share,
        decoders=tfds.decode.PartialDecoding(
            dict.fromkeys(fields, True), dict.fromkeys(pictures, tfds.decode.SkipDecoding())
        ),
        read_config=tfds.ReadConfig(try_autocache=False),
        shuffle_files=False,
    )
    if keep is not None:
        # Before the stream is repeated: a filter that lets nothing pass would search for ever.
        records = records.filter(keep)
    if seed is not None:
        records = _endless(records, info, seed, start)
    return records.enumerate(start)


def _endless(records: tf.data.Dataset, info: Any, seed: int, start: int) -> tf.data.Dataset:
    """Epoch after epoch, each in an order that its number decides, from record `start` on."""
    if not any(True for _ in records.take(1)):
        return records  # Epochs of nothing would never end.
    buffer = info.num_examples
    if info.num_bytes <= CACHE_BYTES:
        records = records.cache()
    else:
        buffer = max(16, SHUFFLE_BYTES * info.num_examples // info.num_bytes)
    first_epoch, passed = 0, 0
    if start:
        # What is counted is read but not decoded, and then cached where it fits.
        length = int(records.reduce(np.int64(0), lambda count, _: count + 1))
        first_epoch, passed = divmod(start, length)

    def epoch(number: tf.Tensor) -> tf.data.Dataset:
        order = tf.random.stateless_uniform((), [seed, number], 0, tf.int64.max, tf.int64)
        return records.shuffle(buffer, seed=order)

    epochs = tf.data.Dataset.range(first_epoch, tf.int64.max)
    return epochs.flat_map(epoch).skip(passed)


def process_seeds(seed: int | None, process_index: int) -> tuple[int | None, int]:
    """Seeds of the record order and of the window starts, different in each process."""
    if seed is None:
        return None, 0
    order, windows = np.random.SeedSequence([seed, process_index]).generate_state(2)
    return int(order), int(windows)


def random_times(
    length: tf.Tensor, num_frames: int, max_stride: int, seed: int, draw: tf.Tensor
) -> tf.Tensor:
    """Frame numbers (num_frames,) of draw number `draw` from a clip of `length` frames.

    The stride from frame to frame is uniform in 1...`max_stride`, as far as the clip is long
    enough, then the start uniform over all windows of that stride.
    """

    def below(limit: tf.Tensor, purpose: int) -> tf.Tensor:
        random_seed = [tf.constant(seed + purpose, tf.int64), draw]
        return tf.random.stateless_uniform((), random_seed, 0, limit, tf.int64)

    longest = tf.cast(max(num_frames - 1, 1), tf.int64)
    stride = 1 + below(tf.clip_by_value((length - 1) // longest, 1, max_stride), 1)
    span = (num_frames - 1) * stride + 1
    start = below(tf.maximum(length - span + 1, 1), 0)
    return start + stride * tf.range(num_frames, dtype=tf.int64)


def windows_of(
    records: tf.data.Dataset,
    cut: Callable[[Record, tf.Tensor, tf.Tensor | None], Record],
    *,
    num_frames: int,
    length: Callable[[Record], tf.Tensor],
    seed: int | None,
    max_stride: int = 1,
    mirror: bool = False,
) -> tf.data.Dataset:
    """One window of every record: a random one, or with no seed the middle one.

    Args:
      records: (index, record) pairs.
      cut: takes a record, the numbers (num_frames,) of a window's frames, and whether the window
        is to be mirrored; None where no window ever is.
      num_frames: length of a window; a shorter clip has one choice, frame 0.
      length: the frames in a record.
      seed: of the starts and strides.
      max_stride: random windows take every s-th frame, s up to this.
      mirror: every second random window is mirrored, at random.
    """

    def window(index: tf.Tensor, record: Record) -> Record:
        frames = tf.cast(length(record), tf.int64)
        if seed is None:
            start = tf.maximum(frames - num_frames, 0) // 2
            return cut(record, start + tf.range(num_frames, dtype=tf.int64), None)
        times = random_times(frames, num_frames, max_stride, seed, index)
        if not mirror:
            return cut(record, times, None)
        coin = tf.random.stateless_uniform((), [tf.constant(seed + 2, tf.int64), index])
        return cut(record, times, coin < 0.5)

    return records.map(window, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def window_name(clip: tf.Tensor, start: tf.Tensor) -> tf.Tensor:
    """What messages call the window of a clip that starts at a frame: "CLIP@FRAME"."""
    return tf.strings.join([clip, tf.strings.as_string(start)], separator="@")


def numpy_batches(
    elements: tf.data.Dataset, batch_size: int, *, remainder: Remainder, nothing: str
) -> Iterator[dict[str, np.ndarray]]:
    """Batches of `elements` as numpy arrays, all of one size.

    Args:
      elements: dicts of tensors of fixed shapes.
      batch_size: elements in a batch.
      remainder: what becomes of a last batch that is not full: padded by repeating its
        elements, or dropped.
      nothing: message of the InputError if there is no element at all.
    """
    batches = elements.batch(batch_size).prefetch(2)
    empty = True
    for batch in batches.as_numpy_iterator():
        empty = False
        size = len(next(iter(batch.values())))
        if size < batch_size:
            if remainder == "drop":
                return
            repeated = np.arange(batch_size) % size
            batch = {name: array[repeated] for name, array in batch.items()}
        yield batch
    if empty:
        raise InputError(nothing)
