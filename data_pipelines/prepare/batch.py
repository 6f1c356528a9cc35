"""Many videos to one data set: a bad one is told and left out, the rest goes on."""

import dataclasses
import itertools
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from data_pipelines.builder import write_dataset
from data_pipelines.prepare.clip import Framing, prepare_clip
from data_pipelines.prepare.split import held_out_tail, held_out_videos
from data_pipelines.prepare.spool import ClipSpool
from data_pipelines.records import PreparedClip, dataset_metadata
from data_pipelines.shards import require_vacant
from moditalker_jax.audio_features import AudioEncoder
from moditalker_jax.errors import InputError
from moditalker_jax.faces import FaceFinder
from moditalker_jax.landmarks import LANDMARK_BACKEND, MEAN_FACE, MOTION_SCALE
from moditalker_jax.media.video import estimate_frames
from moditalker_jax.spec import FPS

Prepare = Callable[[str, Callable[[], object]], PreparedClip]
"""Takes a video's name and what to call after each frame."""


@dataclasses.dataclass
class Outcome:
    """What became of a batch: the videos by name, with the reason of those left out, and the
    frames written of each split."""

    prepared: list[str] = dataclasses.field(default_factory=list)
    left_out: dict[str, str] = dataclasses.field(default_factory=dict)
    frames: dict[str, int] = dataclasses.field(default_factory=dict)


def prepare_dataset(
    out: str | Path,
    videos: Mapping[str, Path],
    *,
    resolution: int,
    encoder: AudioEncoder,
    finder: FaceFinder | None = None,
    audio_offset_ms: float = 0.0,
    framing: Framing = "face",
    max_seconds: float = 10.0,
) -> Outcome:
    """Prepares videos and writes them as shards, split as `data_pipelines.prepare.split` tells.

    Training videos of a large set pass through memory one by one. What is held out waits on disk,
    and so does all of a small set, whose videos give clips to both splits.

    Args:
      out: folder of the data set; new or empty.
      videos: name to file, as from `list_videos`.
      resolution: side of the square pictures in pixels.
      encoder: of the audio features.
      finder: of faces; a new one if None.
      audio_offset_ms: by how much the sound of all videos trails the lips.
      framing: see `prepare_clip`.
      max_seconds: longer videos are cut into equal pieces of at most this length.

    Raises:
      InputError: `out` holds something, or no video could be prepared for training.
    """
    require_vacant(out)
    outcome = Outcome()

    def prepare(name: str, on_frame: Callable[[], object]) -> PreparedClip:
        return prepare_clip(
            videos[name],
            resolution=resolution,
            finder=finder,
            encoder=encoder,
            name=name,
            audio_offset_ms=audio_offset_ms,
            framing=framing,
            on_frame=on_frame,
        )

    finder = finder or FaceFinder()
    with ClipSpool(Path(out)) as spool, _progress_bar(videos) as bar, logging_redirect_tqdm():
        clips = _ClipSource(prepare, bar, outcome)
        splits = _split(list(videos), clips, spool)
        write_dataset(
            out,
            {split: _counted(clips, split, outcome) for split, clips in splits.items()},
            dataset_metadata(
                resolution=resolution,
                audio_encoder={k: getattr(encoder, k) for k in ("name", "width", "version")},
                landmark_backend=LANDMARK_BACKEND,
                motion_scale=MOTION_SCALE,
                mean_face=MEAN_FACE,
                audio_offset_ms=audio_offset_ms,
                framing=framing,
            ),
            max_clip_frames=round(max_seconds * FPS),
        )
    return outcome


class _ClipSource:
    """Prepares videos by name, reporting each bad one and going on with the next."""

    def __init__(self, prepare: Prepare, bar: tqdm, outcome: Outcome):
        self._prepare, self._bar, self._outcome = prepare, bar, outcome

    def __call__(self, names: Iterable[str]) -> Iterator[PreparedClip]:
        for name in names:
            self._bar.set_postfix_str(name)
            try:
                clip = self._prepare(name, self._bar.update)
            except InputError as error:
                self._outcome.left_out[name] = str(error)
                self._bar.write(f"left out: {error}", file=sys.stderr)
            else:
                self._outcome.prepared.append(name)
                yield clip


def _split(
    names: list[str], clips: _ClipSource, spool: ClipSpool
) -> dict[str, Iterable[PreparedClip]]:
    """Clips of each split that is not empty."""
    held_out = held_out_videos(names)
    for clip in clips(name for name in names if name in held_out):
        spool.add("validation", clip)
    train = clips(name for name in names if name not in held_out)
    if not held_out:
        for clip in train:
            end = len(clip) - held_out_tail(len(clip))
            spool.add("train", clip.piece(0, end))
            if end < len(clip):
                spool.add("validation", clip.piece(end, len(clip)))
        train = spool.read("train")
    # A split cannot be begun without its first clip.
    first = next(train, None)
    if first is None:
        raise InputError("no video could be prepared for training; the reasons stand above")
    splits = {"train": itertools.chain([first], train)}
    if "validation" in spool:
        splits["validation"] = spool.read("validation")
    return splits


def _progress_bar(videos: Mapping[str, Path]) -> tqdm:
    total = 0
    for file in videos.values():
        try:
            total += 2 * estimate_frames(file)  # Read twice: to find the face, to crop it.
        except InputError:
            continue  # Told with its reason when its turn comes.
    return tqdm(total=total, unit="frame", desc="prepare")


def _counted(clips: Iterable[PreparedClip], split: str, outcome: Outcome) -> Iterator[PreparedClip]:
    for clip in clips:
        outcome.frames[split] = outcome.frames.get(split, 0) + len(clip)
        yield clip
