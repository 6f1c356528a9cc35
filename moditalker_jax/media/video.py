"""Video: any frame rate in, 25 fps out, with its sound in step; h264 + aac in mp4."""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from moditalker_jax.errors import InputError
from moditalker_jax.media.audio import fit_to_frames, read_audio
from moditalker_jax.media.decoding import decode_frames, open_media
from moditalker_jax.media.files import written_aside
from moditalker_jax.spec import AUDIO_SAMPLE_RATE, FPS

_LONGEST_LAST_FRAME = 0.1
"""Seconds; slower cameras than ten frames a second are not meant here."""


@dataclasses.dataclass(frozen=True)
class Video:
    """A whole video in memory.

    Attributes:
      frames: (T, H, W, 3) uint8, RGB, upright.
      audio: (T * 640,) float32 at 16 kHz in step with the frames, or None without a sound track.
      fps: frames a second.
    """

    frames: np.ndarray
    audio: np.ndarray | None
    fps: int = FPS


def read_video(path: str | Path, *, fps: int = FPS, max_side: int | None = None) -> Video:
    """Reads a video at `fps`, whatever its own rate, with its sound cut or padded to its length.

    Args:
      path: any container and codec that FFmpeg reads.
      fps: frames a second to return.
      max_side: larger pictures are scaled down until neither side is longer.

    Raises:
      InputError: missing or unreadable file, no pictures in it, or broken sound (see `read_audio`).
    """
    frames = np.stack(list(iterate_frames(path, fps=fps, max_side=max_side)))
    return Video(frames, read_video_audio(path, len(frames), fps=fps), fps)


def iterate_frames(
    path: str | Path,
    *,
    fps: int = FPS,
    max_side: int | None = None,
    start: float = 0.0,
    stop: float | None = None,
) -> Iterator[np.ndarray]:
    """Yields the frames of `read_video` one by one: (H, W, 3) uint8, RGB.

    Frame k is the source frame whose timestamp is nearest to start + k/fps after the first one, so
    that variable rates stay in step with the sound; turned upright by the file's rotation.

    Args:
      path, fps, max_side: as of `read_video`.
      start, stop: seconds from the first picture; None is the end.
    """
    frames = _iterate_from(path, fps, max_side, start)
    return frames if stop is None else itertools.islice(frames, round((stop - start) * fps))


def _iterate_from(
    path: str | Path, fps: int, max_side: int | None, start: float
) -> Iterator[np.ndarray]:
    with open_media(path) as container:
        if not container.streams.video:
            raise InputError(f"{path}: has no pictures; give a video file")
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        if start:  # Decoding begins with the key frame before it.
            first = stream.start_time or 0
            container.seek(first + round(start / stream.time_base), stream=stream)
        timed = _with_times(decode_frames(container, stream, path), stream, start)
        size = None
        for frame, repeats in _resample_times(timed, fps):
            # A stream may change its size midway; the first frame's holds.
            size = size or _scaled_size(frame, max_side)
            if repeats:
                yield from [_to_rgb(frame, size, path)] * repeats


def estimate_frames(path: str | Path, *, fps: int = FPS) -> int:
    """Frames that a video has at `fps` by its header's word, 0 if it does not say; fast."""
    with open_media(path) as container:
        return round((container.duration or 0) / av.time_base * fps)


def picture_size(path: str | Path) -> tuple[int, int]:
    """Height and width of a video's pictures in pixels by its header's word; fast.

    Raises:
      InputError: it is not a readable video.
    """
    with open_media(path) as container:
        if not container.streams.video:
            raise InputError(f"{path}: has no pictures; give a video file")
        stream = container.streams.video[0]
        return stream.height, stream.width


def read_video_audio(
    path: str | Path, num_frames: int | None = None, *, fps: int = FPS, advance: float = 0.0
) -> np.ndarray | None:
    """Reads the sound beside a video's first `num_frames` frames.

    Args:
      path: the video file.
      num_frames: frames at `fps` that the sound shall last; None leaves it as long as it is.
      fps: frames a second.
      advance: seconds by which the sound trails the picture; it is moved forward by as much.

    Returns:
      (num_frames * 16000 / fps,) float32 whose sample 0 belongs to the first picture, or None if
      the file has no sound track.

    Raises:
      InputError: the file has sound alone, or as `read_audio`.
    """
    with open_media(path) as container:
        if not container.streams.audio:
            return None
        if not container.streams.video:
            raise InputError(f"{path}: has no pictures; give a video file")
        stream = container.streams.video[0]
        start = float((stream.start_time or 0) * stream.time_base)
    audio = read_audio(path, start=start + advance)
    return audio if num_frames is None else fit_to_frames(audio, num_frames, fps=fps)


def write_video(
    path: str | Path,
    frames: Iterable[np.ndarray],
    *,
    fps: int = FPS,
    audio: np.ndarray | None = None,
    sample_rate: int = AUDIO_SAMPLE_RATE,
) -> int:
    """Writes an mp4 with h264 (yuv420p) pictures and aac sound, of exactly the frames' length.

    Frames are taken one by one, so a generator keeps memory small. The file appears under its name
    only when it is complete. An odd row or column count is made even by repeating the last one.

    Args:
      path: the file to write; its folder is made.
      frames: (H, W, 3) uint8 RGB pictures of one size, at least one.
      fps: frames a second.
      audio: (n,) float in [-1, 1], cut or padded with silence to the frames' length, or None.
      sample_rate: of `audio`, one that aac knows (8, 11.025, 12, 16, ... 48 kHz).

    Returns:
      The number of frames written.

    Raises:
      InputError: the file cannot be written.
      ValueError: there are no frames.
    """
    with (
        written_aside(path) as temporary,
        av.open(str(temporary), "w", format="mp4", options={"movflags": "+faststart"}) as container,
    ):
        return _encode(container, frames, fps, audio, sample_rate)


def _encode(container, frames, fps, audio, sample_rate) -> int:
    """Encodes frame by frame with the sound beside each, and drains the encoders."""
    picture_stream = container.add_stream("libx264", rate=fps, options={"crf": "18"})
    sound_stream = None
    if audio is not None:
        sound_stream = container.add_stream("aac", rate=sample_rate, layout="mono")
        sound_stream.bit_rate = 96_000
    count, sounded = 0, 0
    for frame in frames:
        picture = _even(frame)
        if count == 0:
            _set_picture_format(picture_stream, picture)
        encoded = av.VideoFrame.from_ndarray(picture, format="rgb24")
        encoded.pts, encoded.time_base = count, Fraction(1, fps)
        container.mux(picture_stream.encode(encoded))
        count += 1
        if sound_stream is not None:
            end = round(Fraction(count * sample_rate, fps))
            container.mux(sound_stream.encode(_sound_frame(audio, sounded, end, sample_rate)))
            sounded = end
    if count == 0:
        raise ValueError("a video needs at least one frame")
    for stream in filter(None, (picture_stream, sound_stream)):
        container.mux(stream.encode(None))
    return count


def _set_picture_format(stream, picture: np.ndarray) -> None:
    stream.height, stream.width = picture.shape[:2]
    stream.pix_fmt = "yuv420p"
    # The matrix that the conversion from RGB uses; unnamed, players guess it from the size.
    stream.codec_context.colorspace = av.video.reformatter.Colorspace.SMPTE170M
    stream.codec_context.color_range = av.video.reformatter.ColorRange.MPEG


def _sound_frame(audio: np.ndarray, start: int, end: int, sample_rate: int) -> av.AudioFrame:
    """Samples [start, end) as an encoder's frame, silence past the end of `audio`."""
    samples = np.clip(np.nan_to_num(audio[start:end]), -1.0, 1.0).astype(np.float32)
    samples = np.pad(samples, (0, end - start - samples.size))
    frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
    frame.sample_rate, frame.pts = sample_rate, start
    frame.time_base = Fraction(1, sample_rate)
    return frame


def _even(frame: np.ndarray) -> np.ndarray:
    """Repeats the last row or column where yuv420p needs one more."""
    height, width = frame.shape[:2]
    if height % 2 or width % 2:
        frame = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return np.ascontiguousarray(frame)


def _with_times(
    frames: Iterable[av.VideoFrame], stream, start: float
) -> Iterator[tuple[float, av.VideoFrame]]:
    """Pairs frames with their time from `start`, in seconds; drops those that go back."""
    step = float(1 / (stream.average_rate or stream.guessed_rate or FPS))
    origin, previous = None, None
    for frame in frames:
        if origin is None:
            first = float((stream.start_time or 0) * stream.time_base) if start else frame.time
            origin = (first or 0.0) + start
        if frame.time is not None:
            time = frame.time - origin
        else:
            time = -start if previous is None else previous + step
        if previous is None or time > previous:
            yield time, frame
            step, previous = step if previous is None else time - previous, time
    # No timestamp ends the last frame: let it last as long as the one before, but not frozen.
    yield (previous or 0.0) + min(step, _LONGEST_LAST_FRAME), None


def _resample_times(timed, fps: int) -> Iterator[tuple[av.VideoFrame, int]]:
    """Turns (time, frame) pairs, closed by (end, None), into (frame, times to show it at `fps`)."""
    previous_time, previous, shown = None, None, 0
    for time, frame in timed:
        if previous is not None:
            # Frame k goes to whichever neighbour is nearer to k/fps; at the end, to the length.
            limit = (previous_time + time) / 2 if frame is not None else time - 0.5 / fps
            until = max(shown, int(np.floor(limit * fps + 1e-6)) + 1)
            if frame is None:
                until = max(until, 1)
            yield previous, until - shown
            shown = until
        previous_time, previous = time, frame


def _scaled_size(frame: av.VideoFrame, max_side: int | None) -> tuple[int, int]:
    """Width and height, before turning upright."""
    scale = min(1.0, max_side / max(frame.width, frame.height)) if max_side else 1.0
    return max(1, round(frame.width * scale)), max(1, round(frame.height * scale))


def _to_rgb(frame: av.VideoFrame, size: tuple[int, int], path: str | Path) -> np.ndarray:
    try:
        picture = frame.to_ndarray(format="rgb24", width=size[0], height=size[1])
    except (av.FFmpegError, ValueError) as error:
        raise InputError(
            f"{path}: its pictures ({frame.format.name}) cannot be converted; save it as h264"
        ) from error
    # The file's rotation counts counterclockwise, as rot90 does.
    return np.ascontiguousarray(np.rot90(picture, round(frame.rotation / 90)))
