"""How well a checkpoint follows held-out synthetic speech, with the truth known.

python -m moditalker_jax.evaluation.synthetic

For utterances that no training clip holds, it measures
- AToM: generated frontal landmarks against those that the face finder sees in the true video, as
  it does in training data, given those of its first frame;
- the RGB autoencoder: PSNR of reconstructed frames, their mean;
- the final video, made with the clip itself as reference: landmarks found again by the face
  finder, in it and in the true video, both frontalized.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np

from data_pipelines.synthetic import HELD_OUT_SEED, make_clip
from moditalker_jax.demo.__main__ import CHECKPOINT
from moditalker_jax.errors import command
from moditalker_jax.evaluation.found_faces import found_again
from moditalker_jax.generation.pipeline import MoDiTalker
from moditalker_jax.generation.reference import Reference, reference_from_frames
from moditalker_jax.landmarks import frontalize
from moditalker_jax.metrics.landmarks import mouth_correlation, still_mouth_ratio
from moditalker_jax.metrics.pixels import psnr

SOURCE_RESOLUTION = 256
"""Synthetic frames are drawn and searched at this size, as real videos are larger than clips."""


def motion_figures(
    pipeline: MoDiTalker, clip, identity: Reference, key: jax.Array
) -> dict[str, float]:
    """AToM's figures on one clip."""
    truth, _ = frontalize(identity.landmarks)
    frontal = pipeline.motion(pipeline.encoder(clip.audio), truth[0], key)
    return {
        "AToM mouth correlation": mouth_correlation(frontal, truth),
        "AToM mouth error / still mouth": still_mouth_ratio(frontal, truth),
    }


def video_figures(
    pipeline: MoDiTalker, clip, identity: Reference, *, seed: int
) -> dict[str, float]:
    """Figures of the autoencoder and of the final video on one clip."""
    video = pipeline.generate(clip.audio, identity, seed=seed)
    made, share = found_again(video.frames, pipeline.finder)
    truth, _ = found_again(identity.frames, pipeline.finder)
    reconstruction = psnr(pipeline.frames.reconstruct(identity.frames), identity.frames)
    return {
        "face found in the video": share,
        "video mouth correlation": mouth_correlation(made, truth),
        "video mouth error / still mouth": still_mouth_ratio(made, truth),
        "autoencoder PSNR (dB)": float(reconstruction.mean()),
    }


def evaluate(
    checkpoint: Path, *, clips: int, speakers: int, seconds: float, videos: bool
) -> dict[str, float]:
    """Means over `clips` held-out utterances, the speakers taking turns."""
    pipeline = MoDiTalker.from_checkpoint(checkpoint)
    rows = []
    for index in range(clips):
        clip = make_clip(
            speaker=index % speakers,
            seed=HELD_OUT_SEED + index,
            seconds=seconds,
            resolution=SOURCE_RESOLUTION,
        )
        identity = reference_from_frames(
            clip.frames, "synthetic clip", pipeline.frames.resolution, pipeline.finder
        )
        row = motion_figures(pipeline, clip, identity, jax.random.key(index))
        if videos:
            row |= video_figures(pipeline, clip, identity, seed=index)
        print(f"clip {index}: " + ", ".join(f"{k} {v:.3f}" for k, v in row.items()), flush=True)
        rows.append(row)
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the figures; returns the exit status."""
    parser = argparse.ArgumentParser(description="Figures on held-out synthetic speech.")
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--clips", type=int, default=6)
    parser.add_argument("--speakers", type=int, default=6, help="speakers of the training set")
    parser.add_argument("--seconds", type=float, default=6.24)
    parser.add_argument("--motion-only", action="store_true", help="leave the videos out")
    options = parser.parse_args(arguments)
    means = evaluate(
        options.checkpoint,
        clips=options.clips,
        speakers=options.speakers,
        seconds=options.seconds,
        videos=not options.motion_only,
    )
    print(f"mean of {options.clips} held-out clips")
    for name, value in means.items():
        print(f"  {name:34s} {value:7.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
