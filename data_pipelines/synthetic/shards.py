"""Synthetic talking heads as training shards.

The landmarks in the shards are those that the face finder sees, as with real videos: it places
them a little differently from the exact ones, and what is generated later starts from found ones.
"""

import concurrent.futures
import dataclasses
import multiprocessing
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from data_pipelines.records import PreparedClip, dataset_metadata, pcm16
from data_pipelines.synthetic.clip import HELD_OUT_SEED, make_clip
from moditalker_jax.audio_features import AudioEncoder, encoder_metadata, get_audio_encoder
from moditalker_jax.faces import FaceFinder, clip_crop
from moditalker_jax.faces.crop import crop_frames
from moditalker_jax.landmark_backends import MEDIAPIPE
from moditalker_jax.landmarks import fill_missing_landmarks, frontalize

_DRAWN_RESOLUTION = 256
SPLITS = ("train", "validation", "test")


def utterances(speakers: int, clips_per_speaker: int) -> dict[str, list[tuple[int, int]]]:
    """(speaker, seed) of every clip of each split; speakers take turns."""
    held_out = max(1, round(clips_per_speaker / 12))
    starts = {"train": 0, "validation": HELD_OUT_SEED, "test": HELD_OUT_SEED + 1000}
    counts = {"train": clips_per_speaker - 2 * held_out, "validation": held_out, "test": held_out}
    return {
        split: [(s, starts[split] + k) for k in range(counts[split]) for s in range(speakers)]
        for split in SPLITS
    }


@dataclasses.dataclass(frozen=True)
class _Artist:
    """Draws clips as records: cropped, and with landmarks found, as real videos are."""

    seconds: float
    resolution: int
    encoder: AudioEncoder
    finder: FaceFinder

    def __call__(self, speaker: int, seed: int) -> PreparedClip:
        drawn = max(_DRAWN_RESOLUTION, 2 * self.resolution)
        clip = make_clip(speaker=speaker, seed=seed, seconds=self.seconds, resolution=drawn)
        landmarks = fill_missing_landmarks(self.finder.track(clip.frames))
        box = clip_crop(landmarks, frame_size=clip.frames.shape[1:3])
        return PreparedClip(
            name=f"speaker{speaker:03d}-{seed:07d}",
            speaker=f"synthetic-{speaker}",
            frames=crop_frames(clip.frames, box, self.resolution),
            landmarks=box.to_crop(landmarks),
            frontal_landmarks=frontalize(landmarks)[0],
            audio_features=self.encoder(clip.audio),
            audio=pcm16(clip.audio, len(clip.frames)),
        )


_artist: _Artist | None = None
"""Of a worker process."""


def _start_worker(seconds: float, resolution: int, audio_encoder: str) -> None:
    global _artist
    encoder, finder = get_audio_encoder(audio_encoder), FaceFinder(num_threads=1)
    _artist = _Artist(seconds, resolution, encoder, finder)


def _draw_here(speaker: int, seed: int) -> PreparedClip:
    assert _artist is not None
    return _artist(speaker, seed)


def write_shards(
    out: Path,
    *,
    speakers: int,
    clips_per_speaker: int,
    seconds: float,
    resolution: int,
    audio_encoder: str,
    workers: int,
) -> None:
    """Draws all clips in `workers` processes and writes them as a data set in `out`.

    Raises:
      InputError: `out` holds something already or cannot be written.
    """
    from data_pipelines.builder import write_dataset  # TensorFlow: not in the workers.

    encoder = get_audio_encoder(audio_encoder)
    with concurrent.futures.ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(seconds, resolution, audio_encoder),
    ) as pool:

        def clips(split: str, chosen: list[tuple[int, int]]) -> Iterator[PreparedClip]:
            drawing = deque()  # A few at a time: the rest would wait in memory to be written.
            with tqdm(total=len(chosen), desc=split, unit="clip") as bar:
                for utterance in chosen:
                    drawing.append(pool.submit(_draw_here, *utterance))
                    if len(drawing) > 2 * workers:
                        yield drawing.popleft().result()
                        bar.update()
                while drawing:
                    yield drawing.popleft().result()
                    bar.update()

        write_dataset(
            out,
            {s: clips(s, chosen) for s, chosen in utterances(speakers, clips_per_speaker).items()},
            dataset_metadata(
                resolution=resolution,
                audio_encoder=encoder_metadata(encoder),
                **MEDIAPIPE.metadata(),
                source="synthetic",
            ),
        )
