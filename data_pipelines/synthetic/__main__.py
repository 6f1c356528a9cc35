"""Synthetic talking heads as training shards, or as videos to look at and to test with.

    python -m data_pipelines.synthetic --out data/synthetic
    python -m data_pipelines.synthetic --out videos --write videos --speakers 2

Every speaker says `--clips-per-speaker` utterances. Of these, one in twelve is for validation and
one in twelve for test (at least one each): utterances are held out, not people.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data_pipelines.synthetic.clip import make_clip
from data_pipelines.synthetic.shards import SPLITS, utterances, write_shards
from moditalker_jax.errors import InputError, command
from moditalker_jax.flags import at_least
from moditalker_jax.media.video import write_video
from moditalker_jax.spec import CLIP_FRAMES, FPS


def write_videos(options: argparse.Namespace) -> None:
    """Writes each clip as an mp4 with sound, and its landmarks and phonemes in an .npz beside."""
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{options.out}: cannot be made a folder ({error.strerror})") from error
    plan = utterances(options.speakers, options.clips_per_speaker)
    chosen = [(split, speaker, seed) for split in SPLITS for speaker, seed in plan[split]]
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
    if options.write == "videos":
        write_videos(options)
    else:
        write_shards(
            options.out,
            speakers=options.speakers,
            clips_per_speaker=options.clips_per_speaker,
            seconds=options.seconds,
            resolution=options.resolution,
            audio_encoder=options.audio_encoder,
            workers=options.workers,
        )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m data_pipelines.synthetic", description="Generated talking heads."
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--write", choices=("shards", "videos"), default="shards")
    parser.add_argument("--speakers", type=at_least(1), default=6, help="people, numbered from 0")
    parser.add_argument("--clips-per-speaker", type=at_least(3), default=24)
    parser.add_argument("--seconds", type=_seconds, default=6.4, help="length of each clip")
    parser.add_argument("--resolution", type=at_least(64), default=128)
    parser.add_argument("--audio-encoder", default="log_mel", help="features in the shards")
    parser.add_argument(
        "--workers", type=at_least(1), default=os.cpu_count() or 1, help="processes that draw"
    )
    return parser


def _seconds(text: str) -> float:
    value = float(text)
    if not CLIP_FRAMES / FPS <= value <= 600:
        raise argparse.ArgumentTypeError(f"must be from {CLIP_FRAMES / FPS} to 600")
    return value


if __name__ == "__main__":
    sys.exit(main())
