"""Many videos to one data set: on all cores, resumable; a bad one is told and left out."""

import concurrent.futures
import dataclasses
import multiprocessing
import os
import shutil
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from tqdm import tqdm

from data_pipelines.arrays.loader import CLIPS
from data_pipelines.arrays.store import write_arrays
from data_pipelines.datasets.base import SourceVideo
from data_pipelines.prepare.clip import Prepared, Rejected, Settings, prepare_video
from data_pipelines.prepare.report import clip_strip, picture_strip, write_report
from data_pipelines.prepare.split import held_out_videos
from data_pipelines.prepare.work import Outcome, WorkFolder, fingerprint
from data_pipelines.records import dataset_metadata, require_vacant
from moditalker_jax.audio_features import AudioEncoder, encoder_metadata, get_audio_encoder
from moditalker_jax.errors import InputError
from moditalker_jax.faces import FaceFinder
from moditalker_jax.landmark_backends import MEDIAPIPE
from moditalker_jax.media.video import estimate_frames, iterate_frames
from moditalker_jax.spec import FPS

SPLITS = ("train", "validation", "test")
Form = Literal["shards", "arrays"]


class Preparer(Protocol):
    """How one source becomes clips; it travels to the worker processes.

    Attributes:
      resolution: side of the square pictures.
      facts: JSON values on which the clips depend; they travel with the data set.
    """

    resolution: int
    facts: Mapping[str, Any]

    def __call__(
        self, source: SourceVideo, *, finder: FaceFinder, encoder: AudioEncoder
    ) -> Prepared:
        """Prepares one source.

        Raises:
          Rejected: it is left out.
        """


@dataclasses.dataclass(frozen=True)
class VideoPreparer:
    """Videos as they are, cropped to the face."""

    settings: Settings

    @property
    def resolution(self) -> int:
        return self.settings.resolution

    @property
    def facts(self) -> dict[str, Any]:
        return dataclasses.asdict(self.settings)

    def __call__(
        self, source: SourceVideo, *, finder: FaceFinder, encoder: AudioEncoder
    ) -> Prepared:
        return prepare_video(source, self.settings, finder=finder, encoder=encoder)


@dataclasses.dataclass(frozen=True)
class _Tools:
    """What one process needs to prepare sources."""

    work: WorkFolder
    preparer: Preparer
    encoder: AudioEncoder
    finder: FaceFinder


def prepare_dataset(
    out: str | Path,
    sources: Iterable[SourceVideo],
    settings: Settings | Preparer,
    *,
    audio_encoder: str,
    workers: int,
    form: Form = "shards",
    finder: FaceFinder | None = None,
    name: str = "talking_heads",
    version: str = "1.0.0",
    citation: str = "",
) -> list[Outcome]:
    """Prepares videos and writes them as shards, with `report.jsonl` and `report.html` beside.

    Clips wait in a folder beside `out` until all are there. If the work is stopped, however
    hard, the same call goes on with the videos that are missing and writes the same shards.

    Args:
      out: folder of the data set; new or empty.
      sources: the videos; those without a split get one by `data_pipelines.prepare.split`.
      settings: of the preparation of videos, or what prepares other sources.
      audio_encoder: name of what makes the audio features.
      workers: processes; 0 works in this one.
      form: what is written: TFDS shards, or arrays, for which TensorFlow is not needed.
      finder: of faces, for `workers=0`; a new one if None.
      name, version, citation: of the data set, for TFDS.

    Returns:
      What became of each video, in the order of `sources`.

    Raises:
      InputError: `out` holds something or cannot be written, or no video could be prepared for
        training.
    """
    out = Path(out)
    require_vacant(out)
    sources = _with_splits(list(sources))
    encoder = get_audio_encoder(audio_encoder)
    encoder_facts = encoder_metadata(encoder)
    preparer = VideoPreparer(settings) if isinstance(settings, Settings) else settings
    facts = dict(preparer.facts)
    work = WorkFolder(
        out.parent / f".{out.name}.work", {"audio_encoder": encoder_facts, "settings": facts}
    )
    outcomes = {s.name: found for s in sources if (found := work.finished(s))}
    missing = [source for source in sources if source.name not in outcomes]
    lengths = _lengths(sources)
    with tqdm(
        total=sum(lengths.values()),
        initial=sum(lengths[name] for name in outcomes),
        unit="frame",
        desc="prepare",
    ) as bar:
        if workers:
            new = _in_processes(missing, work, preparer, audio_encoder, workers)
        else:
            tools = _Tools(work, preparer, encoder, finder or FaceFinder())
            new = (_prepare(source, tools) for source in missing)
        for outcome in new:
            outcomes[outcome.name] = outcome
            bar.update(lengths[outcome.name])
            if outcome.reason:
                bar.write(f"left out: {outcome.message}", file=sys.stderr)
    ordered = [outcomes[source.name] for source in sources]
    splits = {
        split: _clips(work, ordered, split)
        for split in SPLITS
        if any(clip["split"] == split for o in ordered for clip in o.clips)
    }
    if "train" not in splits:
        work.remove()
        raise InputError("no video could be prepared for training; the reasons stand above")
    metadata = dataset_metadata(
        resolution=preparer.resolution,
        audio_encoder=encoder_facts,
        **MEDIAPIPE.metadata(),
        **{key: value for key, value in facts.items() if key != "resolution"},
    )
    for left_behind in out.parent.glob(f".{out.name}-*.part"):
        shutil.rmtree(left_behind)
    if form == "arrays":
        write_arrays(out, CLIPS, splits, metadata)
    else:
        _write_shards(out, splits, metadata, name=name, version=version, citation=citation)
    write_report(out, ordered, work.path)
    work.remove()
    return ordered


def _with_splits(sources: list[SourceVideo]) -> list[SourceVideo]:
    undecided = [source.name for source in sources if source.split is None]
    held_out = held_out_videos(undecided)
    if not held_out:
        return sources  # Each gives its tail to validation.
    return [
        source
        if source.split
        else dataclasses.replace(source, split="validation" if source.name in held_out else "train")
        for source in sources
    ]


def _prepare(source: SourceVideo, tools: _Tools) -> Outcome:
    """Prepares one video and notes what became of it; a video's failure is its own."""
    began = time.perf_counter()
    work = tools.work
    facts: dict[str, Any] = {
        "name": source.name,
        "path": str(source.path),
        "fingerprint": fingerprint(source),
    }
    try:
        prepared = tools.preparer(source, finder=tools.finder, encoder=tools.encoder)
        clips = []
        for number, (split, clip) in enumerate(prepared.clips):
            work.save_clip(source.name, number, clip)
            clips.append({"name": clip.name, "split": split, "frames": len(clip)})
            if number == 0:
                facts["thumbnails"] = work.save_thumbnails(source.name, clip_strip(clip))
        facts |= {
            "clips": clips,
            "seconds": prepared.seconds,
            "shots": prepared.shots,
            "left_out": prepared.left_out,
        }
    except Rejected as rejection:
        facts |= {"reason": rejection.reason, "message": str(rejection), "clips": []}
        facts |= _what_is_seen(source, work)
    except (InputError, ValueError, ArithmeticError, MemoryError) as error:
        message = f"{source.path}: cannot be prepared ({error})"
        facts |= {"reason": "failed", "message": message, "clips": []}
    outcome = Outcome(**facts, took=time.perf_counter() - began)
    work.finish(outcome)
    return outcome


def _what_is_seen(source: SourceVideo, work: WorkFolder) -> dict[str, Any]:
    try:
        picture = next(iterate_frames(source.path, start=source.start))
        seconds = estimate_frames(source.path) / FPS
        name = work.save_thumbnails(source.name, picture_strip(picture))
        return {"thumbnails": name, "seconds": seconds}
    except (InputError, StopIteration):
        return {}


_tools: _Tools | None = None
"""Of a worker process."""


def _in_processes(
    sources: Sequence[SourceVideo],
    work: WorkFolder,
    preparer: Preparer,
    audio_encoder: str,
    workers: int,
) -> Iterator[Outcome]:
    with concurrent.futures.ProcessPoolExecutor(
        min(workers, len(sources)) or 1,
        # A fork would copy the threads' locks of the libraries that are loaded here.
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(work, preparer, audio_encoder, os.getpid()),
    ) as pool:
        futures = [pool.submit(_prepare_here, source) for source in sources]
        try:
            for future in concurrent.futures.as_completed(futures):
                yield future.result()
        except concurrent.futures.process.BrokenProcessPool as error:
            raise SystemExit(
                "error: a worker process died, most likely for want of memory; run the same "
                "command again with fewer --workers: what is done is kept"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _start_worker(work: WorkFolder, preparer: Preparer, audio_encoder: str, parent: int) -> None:
    global _tools
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    encoder = get_audio_encoder(audio_encoder)
    _tools = _Tools(work, preparer, encoder, FaceFinder(num_threads=1))


def _end_with(parent: int) -> None:
    """Ends this process when the one that started it was killed."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


def _prepare_here(source: SourceVideo) -> Outcome:
    assert _tools is not None
    return _prepare(source, _tools)


def _clips(work: WorkFolder, outcomes: Sequence[Outcome], split: str) -> Iterator[dict[str, Any]]:
    for outcome in outcomes:
        yield from work.load_clips(outcome, split)


def _write_shards(out: Path, splits, metadata, **record: str) -> None:
    # TensorFlow: only here, not in every worker.
    from data_pipelines.builder import clip_type, write_encoded_clips

    width = metadata["audio_encoder"]["width"]
    record_type = clip_type(metadata["resolution"], width, **record)
    write_encoded_clips(out, splits, metadata, record_type)


def _lengths(sources: Sequence[SourceVideo]) -> dict[str, int]:
    """Frames of each video by its header's word, 0 where it cannot be read."""
    lengths = {}
    for source in sources:
        try:
            frames = estimate_frames(source.path)
        except InputError:
            frames = 0  # Told with its reason when its turn comes.
        if source.stop is not None:
            frames = min(frames, round(source.stop * FPS))
        lengths[source.name] = max(0, frames - round(source.start * FPS))
    return lengths
