"""What reading sound and reading pictures have in common: open a container, decode a stream."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

import av

from moditalker_jax.errors import InputError
from moditalker_jax.media.files import require_file

_log = logging.getLogger(__name__)


@contextlib.contextmanager
def open_media(path: str | Path) -> Iterator[av.container.InputContainer]:
    """Opens any container that FFmpeg knows; InputError if it is missing or not one."""
    path = require_file(path)
    try:
        container = av.open(str(path), metadata_errors="ignore")
    except (av.FFmpegError, OSError) as error:
        raise InputError(
            f"{path}: not a readable media file ({error.strerror}); it may be damaged, convert it"
        ) from error
    with container:
        yield container


def decode_frames(
    container: av.container.InputContainer, stream: av.stream.Stream, path: str | Path
) -> Iterator[av.VideoFrame | av.AudioFrame]:
    """Decodes one stream; damaged packets are left out with one warning.

    Raises:
      InputError: not one frame can be decoded.
    """
    damaged, decoded = 0, 0
    packets = container.demux(stream)
    while True:
        try:
            # A demuxer that failed yields no more; a decoder goes on after a bad packet.
            packet = next(packets, None)
            frames = packet.decode() if packet is not None else None
        except av.EOFError:
            break
        except av.FFmpegError:
            damaged += 1
            continue
        if frames is None:
            break
        decoded += len(frames)
        yield from frames
    if not decoded:
        raise InputError(f"{path}: its {stream.type} cannot be decoded; the file is damaged")
    if damaged:
        _log.warning("%s: %d damaged %s packets were left out", path, damaged, stream.type)
