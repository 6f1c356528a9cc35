"""How well AToM moves the mouths of people that its training never saw, fold by fold.

    python -m moditalker_jax.evaluation.unseen_speakers --workdir runs/folds \
        --data data/log_mel --data data/whisper

Every data set holds the same recordings with features of another audio encoder. Its speakers are
cut into folds; for each fold AToM (`configs/atom.py:small_data`) is trained on all others and
speaks what the fold's recordings say. A call that was stopped goes on when it is made again.

Beside it stand the best still mouth (the recording's own mean) and ridge regression from the same
features. A mouth's place is no part of speech: each way's mouth is moved so that its mean over the
recording is the true one, which the still mouth and the regression are given; AToM's error when
it has only the first frame to go by is told too.
"""

import argparse
import dataclasses
import functools
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import numpy as np
from scipy.stats import bootstrap

from configs import atom as atom_config
from data_pipelines.builder import load_metadata
from data_pipelines.folds import SpeechClip, read_speech_clips, speaker_folds, write_fold
from moditalker_jax import spec
from moditalker_jax.checkpoint import load_stage
from moditalker_jax.config import read_config, stage_config
from moditalker_jax.errors import command
from moditalker_jax.evaluation.ridge import RidgeMouth
from moditalker_jax.flags import at_least
from moditalker_jax.generation.motion import MotionGenerator
from moditalker_jax.metrics.landmarks import mouth_correlation, still_mouth_ratio
from moditalker_jax.training.run import run_stage

SAMPLES = 8
START_FROM_RATE = 0.6
"""Of the config's learning rate, where training starts from trained parameters."""
RIDGE = "ridge regression"
ONE, MEAN = "AToM, one sample", f"AToM, mean of {SAMPLES}"
FIRST_FRAME = " (placed by its first frame)"
Figures = dict[str, tuple[float, float]]
"""Mouth error over the still mouth's, and correlation of the opening, for each way."""


def fold_figures(
    data: Path,
    workdir: Path,
    clips: Sequence[SpeechClip],
    held_out: frozenset[str],
    variant: str,
    start_from: Path | None,
    sampling_steps: int | None,
) -> dict[str, Figures]:
    """Trains without the `held_out` speakers; the figures of their recordings by name."""
    shards = workdir / "data"
    if not shards.exists():
        write_fold(shards, clips, held_out, data)
    values = atom_config.get_config(variant).to_dict()
    values["data"]["directory"] = str(shards)
    if start_from is not None:
        values["start_from"] = str(start_from)
        values["optimizer"]["learning_rate"] *= START_FROM_RATE
    run_stage(stage_config(values), workdir / "atom")
    atom = load_stage(workdir / "atom", stage="atom")
    if sampling_steps is not None:
        sampling = dataclasses.replace(atom.config.sampling, num_sampling_steps=sampling_steps)
        atom = dataclasses.replace(atom, config=dataclasses.replace(atom.config, sampling=sampling))
    motion = MotionGenerator(atom)
    ridge = RidgeMouth.fit([clip for clip in clips if clip.speaker not in held_out])
    return {
        clip.name: clip_figures(clip, motion, ridge) for clip in clips if clip.speaker in held_out
    }


def clip_figures(clip: SpeechClip, motion: MotionGenerator, ridge: RidgeMouth) -> Figures:
    """The figures of one recording."""
    truth, mouth = clip.frontal_landmarks, list(spec.MOUTH)
    regressed = np.broadcast_to(truth.mean(axis=0), truth.shape).copy()
    regressed[:, mouth] += ridge(clip.audio_features)
    samples = np.stack(
        [motion(clip.audio_features, truth[0], jax.random.key(seed)) for seed in range(SAMPLES)]
    )
    mean = samples.mean(axis=0)
    made = {
        RIDGE: regressed,
        ONE: _placed(samples[0], truth),
        MEAN: _placed(mean, truth),
        ONE + FIRST_FRAME: samples[0],
        MEAN + FIRST_FRAME: mean,
    }
    return {
        way: (still_mouth_ratio(landmarks, truth), mouth_correlation(landmarks, truth))
        for way, landmarks in made.items()
    }


def _placed(landmarks: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Moved so that every landmark's mean over time is the true one."""
    return landmarks + (truth.mean(axis=0) - landmarks.mean(axis=0))


def table(figures: dict[str, dict[str, Figures]]) -> str:
    """Markdown: for each data set's encoder a row for every way.

    Args:
      figures: of each recording, for each encoder.
    """
    lines = [
        "| audio encoder | | mouth error / still mouth | correlation of opening, median | mean |",
        "|---|---|---|---|---|",
        "| | still mouth | 1.000 | none | none |",
    ]
    for encoder, recordings in figures.items():
        for way in next(iter(recordings.values())):
            errors, correlations = np.array([of[way] for of in recordings.values()]).T
            lines.append(
                f"| {encoder} | {way} | {errors.mean():.3f} | {np.median(correlations):.3f} "
                f"| {correlations.mean():.3f} |"
            )
    return "\n".join(lines)


def beside_ridge(recordings: dict[str, Figures]) -> str:
    """How sure it is that AToM's mean of samples differs from ridge regression, in one line.

    The intervals hold 95 % of what comes of recordings drawn anew from these.
    """
    ours, theirs = (
        np.array([figures[way][1] for figures in recordings.values()]) for way in (MEAN, RIDGE)
    )
    told = [f"correlation higher on {np.sum(ours > theirs)} of {len(ours)} recordings"]
    for average in (np.median, np.mean):
        difference = functools.partial(_difference, average)
        drawn_anew = bootstrap((ours, theirs), difference, paired=True, method="percentile", rng=0)
        low, high = drawn_anew.confidence_interval
        told.append(
            f"{average.__name__}s differ by {difference(ours, theirs):.3f} "
            f"({low:.3f} to {high:.3f})"
        )
    return f"{MEAN}, beside {RIDGE}: " + ", ".join(told)


def _difference(
    average: Callable[..., np.ndarray], ours: np.ndarray, theirs: np.ndarray, axis: int = -1
) -> np.ndarray:
    return average(ours, axis=axis) - average(theirs, axis=axis)


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the figures; returns the exit status."""
    parser = argparse.ArgumentParser(description="AToM on speakers that it never saw.")
    parser.add_argument("--data", type=Path, action="append", required=True, help="may be repeated")
    parser.add_argument("--workdir", type=Path, required=True, help="of the trainings")
    parser.add_argument(
        "--start-from",
        type=Path,
        action="append",
        default=[],
        help="a trained AToM that the folds with its audio encoder start from; may be repeated",
    )
    parser.add_argument("--folds", type=int, default=4)
    parser.add_argument(
        "--sampling-steps", type=at_least(1), help="other than the variant's; nothing trains anew"
    )
    parser.add_argument("--variant", default="small_data", help="of configs/atom.py")
    options = parser.parse_args(arguments)
    logging.getLogger("absl").setLevel(logging.ERROR)
    starts = {read_config(path)[1]["audio_encoder"]["name"]: path for path in options.start_from}
    figures: dict[str, dict[str, Figures]] = {}
    for data in options.data:
        encoder = load_metadata(data)["audio_encoder"]["name"]
        clips = read_speech_clips(data)
        figures[encoder] = {}
        for index, held_out in enumerate(speaker_folds(clips, options.folds)):
            workdir = options.workdir / encoder / f"fold{index}"
            figures[encoder] |= fold_figures(
                data,
                workdir,
                clips,
                held_out,
                options.variant,
                starts.get(encoder),
                options.sampling_steps,
            )
    for encoder, recordings in figures.items():
        for name, ways in sorted(recordings.items()):
            told = ", ".join(f"{way} {error:.3f} {r:.3f}" for way, (error, r) in ways.items())
            print(f"{encoder} {name}: {told}")
    print(table(figures))
    for encoder, recordings in figures.items():
        print(f"{encoder}: {beside_ridge(recordings)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
