"""Synthetic talking heads as training shards, or as videos to look at and to test with.

    python -m data_pipelines.synthetic --out data/synthetic
    python -m data_pipelines.synthetic --out videos --write videos --speakers 2

Every speaker says `--clips-per-speaker` utterances. Of these, one in twelve is for validation and
one in twelve for test (at least one each): utterances are held out, not people.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data_pipelines.records import PreparedClip, dataset_metadata, pcm16
from data_pipelines.synthetic.clip import HELD_OUT_SEED, SyntheticClip, make_clip
from moditalker_jax.audio_features import AudioEncoder, get_audio_encoder
from moditalker_jax.errors import InputError, command
from moditalker_jax.faces.crop import clip_crop, crop_frames
from moditalker_jax.landmarks import LANDMARK_BACKEND, MEAN_FACE, MOTION_SCALE, frontalize
from moditalker_jax.media.video import write_video
from moditalker_jax.spec import CLIP_FRAMES, FPS

_DRAWN_RESOLUTION = 256
_SPLITS = ("train", "validation", "test")


def utterances(speakers: int, clips_per_speaker: int) -> dict[str, list[tuple[int, int]]]:
    """(speaker, seed) of every clip of each split; speakers take turns."""
    held_out = max(1, round(clips_per_speaker / 12))
    starts = {"train": 0, "validation": HELD_OUT_SEED, "test": HELD_OUT_SEED + 1000}
    counts = {"train": clips_per_speaker - 2 * held_out, "validation": held_out, "test": held_out}
    return {
        split: [(s, starts[split] + k) for k in range(counts[split]) for s in range(speakers)]
        for split in _SPLITS
    }


def prepare(
    clip: SyntheticClip, name: str, speaker: int, *, resolution: int, encoder: AudioEncoder
) -> PreparedClip:
    """A synthetic clip as a record: cropped as real videos are, with its exact landmarks."""
    box = clip_crop(clip.landmarks, frame_size=clip.frames.shape[1:3])
    return PreparedClip(
        name=name,
        speaker=f"synthetic-{speaker}",
        frames=crop_frames(clip.frames, box, resolution),
        landmarks=box.to_crop(clip.landmarks),
        frontal_landmarks=frontalize(clip.landmarks)[0],
        audio_features=encoder(clip.audio),
        audio=pcm16(clip.audio, len(clip.frames)),
    )


def write_shards(options: argparse.Namespace) -> None:
    """Draws all clips and writes them as a data set in `options.out`."""
    from data_pipelines.builder import write_dataset  # TensorFlow: only where it is used.

    encoder = get_audio_encoder(options.audio_encoder)
    drawn = max(_DRAWN_RESOLUTION, 2 * options.resolution)

    def clips(split: str, chosen: list[tuple[int, int]]) -> Iterator[PreparedClip]:
        for speaker, seed in tqdm(chosen, desc=split, unit="clip"):
            clip = make_clip(speaker=speaker, seed=seed, seconds=options.seconds, resolution=drawn)
            name = f"speaker{speaker:03d}-{seed:07d}"
            yield prepare(clip, name, speaker, resolution=options.resolution, encoder=encoder)

    plan = utterances(options.speakers, options.clips_per_speaker)
    write_dataset(
        options.out,
        {split: clips(split, chosen) for split, chosen in plan.items()},
        dataset_metadata(
            resolution=options.resolution,
            audio_encoder={key: getattr(encoder, key) for key in ("name", "width", "version")},
            landmark_backend=LANDMARK_BACKEND,
            motion_scale=MOTION_SCALE,
            mean_face=MEAN_FACE,
            source="synthetic",
        ),
    )


def write_videos(options: argparse.Namespace) -> None:
    """Writes each clip as an mp4 with sound, and its landmarks and phonemes in an .npz beside."""
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{options.out}: cannot be made a folder ({error.strerror})") from error
    plan = utterances(options.speakers, options.clips_per_speaker)
    chosen = [(split, speaker, seed) for split in _SPLITS for speaker, seed in plan[split]]
    for split, speaker, seed in tqdm(chosen, unit="clip"):
        clip = make_clip(
            speaker=speaker, seed=seed, seconds=options.seconds, resolution=options.resolution
        )
        stem = options.out / f"{split}-speaker{speaker:03d}-{seed:07d}"
        write_video(stem.with_suffix(".mp4"), clip.frames, audio=clip.audio)
        symbols, starts, ends = zip(*clip.phonemes, strict=True)
        np.savez_compressed(
            stem.with_suffix(".npz"),
            landmarks=clip.landmarks,
            phonemes=np.array(symbols),
            starts=np.array(starts),
            ends=np.array(ends),
        )


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    options = _parser().parse_args(arguments)
    {"shards": write_shards, "videos": write_videos}[options.write](options)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m data_pipelines.synthetic", description="Generated talking heads."
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--write", choices=("shards", "videos"), default="shards")
    parser.add_argument("--speakers", type=_at_least(1), default=6, help="people, numbered from 0")
    parser.add_argument("--clips-per-speaker", type=_at_least(3), default=24)
    parser.add_argument("--seconds", type=_seconds, default=6.4, help="length of each clip")
    parser.add_argument("--resolution", type=_at_least(64), default=128)
    parser.add_argument("--audio-encoder", default="log_mel", help="features in the shards")
    return parser


def _at_least(lowest: int):
    def integer(text: str) -> int:
        value = int(text)
        if value < lowest:
            raise argparse.ArgumentTypeError(f"must be at least {lowest}")
        return value

    return integer


def _seconds(text: str) -> float:
    value = float(text)
    if not CLIP_FRAMES / FPS <= value <= 600:
        raise argparse.ArgumentTypeError(f"must be from {CLIP_FRAMES / FPS} to 600")
    return value


if __name__ == "__main__":
    sys.exit(main())
