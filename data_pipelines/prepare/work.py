"""The folder in which prepared clips wait until all are there: what makes preparing resumable.

Each finished video has an outcome, written after its clips; a video without one is done again.
"""

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from data_pipelines.datasets.base import SourceVideo
from data_pipelines.records import PreparedClip, encode_clip
from moditalker_jax.errors import InputError
from moditalker_jax.media.files import written_aside

_SETTINGS = "settings.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one video, plain JSON values.

    Attributes:
      reason, message: why it was left out; None where clips of it were taken.
      seconds: of video read.
      took: seconds of work.
      clips: {"name", "split", "frames"} of each clip.
      shots: {"start", "frames", "held", "sync_ms", "sync_confidence"} of each shot taken.
      left_out: {"start", "reason", "message"} of each shot left out.
      thumbnails: file of a strip of pictures in the work folder; None where nothing was readable.
      fingerprint: of the file as it was read.
    """

    name: str
    path: str
    fingerprint: str
    reason: str | None = None
    message: str | None = None
    seconds: float = 0.0
    took: float = 0.0
    clips: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    shots: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    left_out: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    thumbnails: str | None = None


class WorkFolder:
    """Clips and outcomes of videos, by video.

    Args:
      path: of the folder; made if it is missing.
      settings: JSON values on which the clips depend.

    Raises:
      InputError: it cannot be written, or holds clips made with other settings.
    """

    def __init__(self, path: Path, settings: dict[str, Any]):
        self.path = path
        text = json.dumps(settings, indent=1, sort_keys=True)
        try:
            path.mkdir(parents=True, exist_ok=True)
            known = path / _SETTINGS
            if not known.exists():
                with written_aside(known) as aside:
                    aside.write_text(text)
            elif known.read_text() != text:
                raise InputError(
                    f"{path}: holds an unfinished preparation with other settings; "
                    "finish that one, or remove the folder"
                )
        except OSError as error:
            raise InputError(
                f"{path}: cannot be written ({error.strerror}); choose another folder"
            ) from error

    def remove(self) -> None:
        """Deletes the folder."""
        shutil.rmtree(self.path)

    def finished(self, source: SourceVideo) -> Outcome | None:
        """The outcome of a video that was done, and whose file did not change since."""
        try:
            outcome = Outcome(**json.loads(self._outcome(source.name).read_text()))
        except FileNotFoundError:
            return None
        return outcome if outcome.fingerprint == fingerprint(source) else None

    def finish(self, outcome: Outcome) -> None:
        """Notes that a video is done."""
        with written_aside(self._outcome(outcome.name)) as aside:
            aside.write_text(json.dumps(dataclasses.asdict(outcome)))

    def save_clip(self, video: str, number: int, clip: PreparedClip) -> None:
        """Puts the `number`th clip of a video aside, its pictures as JPEG."""
        fields = encode_clip(clip)
        jpegs = fields.pop("frames")
        # Arrays of bytes instead of objects: nothing that is read needs unpickling.
        fields["jpegs"] = np.frombuffer(b"".join(jpegs), np.uint8)
        fields["jpeg_sizes"] = np.array([len(jpeg) for jpeg in jpegs])
        with written_aside(self._clip(video, number)) as aside, aside.open("wb") as file:
            np.savez(file, **fields)

    def load_clips(self, outcome: Outcome, split: str) -> Iterator[dict[str, Any]]:
        """Yields the clips of a video that belong to a split, as `records.encode_clip` does."""
        for number, clip in enumerate(outcome.clips):
            if clip["split"] == split:
                with np.load(self._clip(outcome.name, number), allow_pickle=False) as arrays:
                    fields = {key: arrays[key] for key in arrays.files}
                ends = np.cumsum(fields.pop("jpeg_sizes"))
                jpegs = fields.pop("jpegs").tobytes()
                starts = [0, *ends[:-1]]
                fields["frames"] = [jpegs[a:b] for a, b in zip(starts, ends, strict=True)]
                yield {k: v.item() if k in ("name", "speaker") else v for k, v in fields.items()}

    def save_thumbnails(self, video: str, jpeg: bytes) -> str:
        """Keeps a video's strip of pictures; returns its file's name."""
        path = self.path / f"{_stem(video)}.jpg"
        with written_aside(path) as aside:
            aside.write_bytes(jpeg)
        return path.name

    def _outcome(self, video: str) -> Path:
        return self.path / f"{_stem(video)}.json"

    def _clip(self, video: str, number: int) -> Path:
        return self.path / f"{_stem(video)}-{number:04d}.npz"


def fingerprint(source: SourceVideo) -> str:
    """Changes when one of the source's files, or what is taken of them, does."""
    values = [getattr(source, field.name) for field in dataclasses.fields(source)]
    return " ".join(_state(value) if isinstance(value, Path) else str(value) for value in values)


def _state(path: Path) -> str:
    try:
        status = path.stat()
    except OSError:
        return "missing"
    return f"{status.st_size} {status.st_mtime_ns}"


def _stem(video: str) -> str:
    """A file name for any video's name."""
    return hashlib.sha256(video.encode()).hexdigest()[:20]
