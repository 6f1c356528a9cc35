"""The paper's experiments with generated videos, on a folder of real ones.

    python -m moditalker_jax.evaluation.reenactment --experiment table_1 --checkpoint CHECKPOINT \
        --real FOLDER --out OUT

The experiments are those of `configs/experiments.py`. Every real video NAME gives
OUT/generated/NAME.mp4, and OUT/real/NAME.mp4 with its own frames in the same crop and of the same
size, both with sound. Where there is a true video the two folders are compared as by
`moditalker_jax.evaluation`, whose report comes into OUT/report. OUT/table.md has the figures beside
the paper's. Stopped, however hard, and called again, it goes on with what is missing.
Exits with 0 if all was made and measured; with 3 if something was left out, which is told on
stderr; with 2 if nothing could be done.
"""

import argparse
import dataclasses
import hashlib
import json
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import jax
import numpy as np
from tqdm import tqdm

from configs import experiments
from data_pipelines.prepare.split import list_videos
from moditalker_jax.checkpoint import TrainedStage
from moditalker_jax.errors import SOMETHING_LEFT_OUT, InputError, command
from moditalker_jax.evaluation.comparison.catalogue import FIGURES
from moditalker_jax.evaluation.comparison.compare import compare
from moditalker_jax.evaluation.comparison.flags import (
    add_every_flag,
    add_weights_flags,
    weights_files,
)
from moditalker_jax.evaluation.comparison.page import PAGE
from moditalker_jax.evaluation.comparison.report import Report
from moditalker_jax.evaluation.takes import (
    CROPPED,
    GENERATED,
    Experiment,
    Take,
    make_takes,
    plan_takes,
    read_face,
)
from moditalker_jax.generation.command import warnings_on_stderr
from moditalker_jax.generation.pipeline import MoDiTalker
from moditalker_jax.media.audio import fit_to_frames, read_audio
from moditalker_jax.media.files import require_file, written_aside
from moditalker_jax.spec import FPS

METHOD = "MoDiTalker"
PAPER = "MoDiTalker in the paper"
REPORT, TABLE, SETTINGS = "report", "table.md", "experiment.json"
TIMED_RUNS = 3


def figures_table(report: Report, experiment: Experiment) -> str:
    """Markdown: the experiment's metrics, with the paper's line below if it has one."""
    figures = [FIGURES[key] for key in experiment.metrics]
    heads = ["", "videos", *(figure.heading for figure in figures)]
    rows = [heads, ["---"] * len(heads), *report.rows(figures)]
    if experiment.paper:
        rows.append([PAPER, "–", *(f"{experiment.paper[figure.key]:g}" for figure in figures)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def speed_table(take: Take, pipeline: MoDiTalker, seconds: float, paper: dict[str, float]) -> str:
    """Markdown: how long a video takes, beside the paper's figures.

    A face that is seen for a shorter time is played to and fro, and a shorter voice is followed by
    silence.

    Args:
      take: whose face says what.
      pipeline: that is timed.
      seconds: of video.
      paper: seconds that it gives for 5 s of video, by method.
    """
    start = time.perf_counter()
    face = read_face(take, pipeline, seconds)
    sound = fit_to_frames(read_audio(take.audio), round(seconds * FPS))
    reading = time.perf_counter() - start
    runs = []
    for _ in tqdm(range(1 + TIMED_RUNS), unit="run", desc="time"):
        start = time.perf_counter()
        pipeline.generate(sound, face)
        runs.append(time.perf_counter() - start)
    compiling, *timed = runs
    side = pipeline.frames.resolution
    atom, mtov = pipeline.motion.atom.config.sampling, pipeline.frames.mtov.config.sampling
    rows = [
        (
            f"{METHOD}, this checkpoint",
            f"{seconds:g}",
            f"{statistics.median(timed):.2f}",
            jax.devices()[0].device_kind,
        )
    ]
    of_paper = f"{experiments.speed()['seconds']:g}"
    for method, value in sorted(paper.items(), key=lambda item: item[1]):
        rows.append((f"{method}, in the paper", of_paper, f"{value:g}", "RTX 3090"))
    return "\n".join(
        [
            "| | seconds of video | seconds to make it | on |",
            "|---|---|---|---|",
            *(f"| {' | '.join(row)} |" for row in rows),
            "",
            f"- This checkpoint: {side}x{side} pixels, {atom.num_sampling_steps} sampling steps of "
            f"AToM and {mtov.num_sampling_steps} of MToV.",
            f"- From sound and a cropped face to frames: the median of {TIMED_RUNS} runs, "
            f"{min(timed):.2f} to {max(timed):.2f} s, after one that compiles, {compiling:.2f} s.",
            f"- Reading the video and finding its face, before that: {reading:.2f} s.",
        ]
    )


def require_same_settings(out: Path, settings: Mapping[str, object]) -> None:
    """Notes in the folder what its videos are made with.

    Raises:
      InputError: it holds videos that were made otherwise, or cannot be written.
    """
    text = json.dumps(settings, indent=1) + "\n"
    known = out / SETTINGS
    if known.exists() and known.read_text() != text:
        raise InputError(
            f"{out}: holds videos of another checkpoint or with other settings; remove it or "
            "choose another folder"
        )
    with written_aside(known) as aside:
        aside.write_text(text)


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs an experiment; returns the exit status."""
    options = _parser().parse_args(arguments)
    experiment = Experiment(**experiments.get_config(options.experiment).to_dict())
    if options.seconds is not None:
        experiment = dataclasses.replace(experiment, seconds=options.seconds)
    weights = {network: require_file(path) for network, path in weights_files(options).items()}
    if not options.real.exists():
        raise InputError(f"{options.real}: no such file or folder; check --real")
    if options.out.resolve().is_relative_to(options.real.resolve()):
        raise InputError(f"{options.out}: lies in {options.real}; choose another folder to write")
    takes = plan_takes(experiment, list_videos([options.real]), options.out, options.landmarks)
    with warnings_on_stderr():
        pipeline = MoDiTalker.from_checkpoint(options.checkpoint)
        _require_landmarks(pipeline, options.landmarks)
        require_same_settings(
            options.out,
            {
                "experiment": options.experiment,
                "real": str(options.real.resolve()),
                "seconds": experiment.seconds,
                "seed": options.seed,
                "landmarks": options.landmarks and str(options.landmarks.resolve()),
                "checkpoint": _fingerprints(pipeline),
            },
        )
        if options.experiment == "speed":
            table = speed_table(takes[0], pipeline, experiment.seconds, experiment.paper)
            _show_table(options.out, table)
            return 0
        left_out = make_takes(takes, pipeline, experiment, seed=options.seed)
        print(f"{options.out / GENERATED}: {len(takes) - len(left_out)} of {len(takes)} videos")
        if experiment.audio == "next":
            _tell_metrics(options.out, experiment)
            return SOMETHING_LEFT_OUT if left_out else 0
        report = compare(
            options.out / CROPPED,
            {METHOD: options.out / GENERATED},
            options.out / REPORT,
            weights_files=weights,
            every=options.every,
            clip_frames=pipeline.frames.autoencoder.model.num_frames,
            finder=pipeline.finder,
        )
    _show_table(options.out, figures_table(report, experiment))
    print(f"report: {options.out / REPORT / PAGE}")
    return SOMETHING_LEFT_OUT if left_out or report.left_out else 0


def _require_landmarks(pipeline: MoDiTalker, landmarks: Path | None) -> None:
    backend = pipeline.motion.backend
    if backend.finds_faces and landmarks is not None:
        advice = "which are found here; leave --landmarks out"
    elif not backend.finds_faces and landmarks is None:
        advice = "which are not found here; give a folder of NAME.npy with --landmarks"
    else:
        return
    raise InputError(f"the checkpoint was trained on landmarks of {backend.name!r}, {advice}")


def _fingerprints(pipeline: MoDiTalker) -> dict[str, str]:
    """By stage, what changes with its parameters and settings."""
    frames = pipeline.frames
    stages = (pipeline.motion.atom, frames.mtov, frames.autoencoder, frames.landmark_autoencoder)
    return {stage.config.stage: _fingerprint(stage) for stage in stages}


def _fingerprint(stage: TrainedStage) -> str:
    digest = hashlib.sha256(repr(stage.config).encode())
    for leaf in jax.tree.leaves(stage.params):
        digest.update(np.asarray(leaf).tobytes())
    return digest.hexdigest()


def _show_table(out: Path, table: str) -> None:
    with written_aside(out / TABLE) as aside:
        aside.write_text(table + "\n")
    print(table)


def _tell_metrics(out: Path, experiment: Experiment) -> None:
    titles = ", ".join(FIGURES[key].title for key in experiment.metrics)
    print(
        "There are no true videos to compare frame by frame. Figures that apply, with the faces in "
        f"{out / CROPPED} where they need real ones: {titles}"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m moditalker_jax.evaluation.reenactment",
        description="The paper's experiments with generated videos.",
    )
    parser.add_argument("--experiment", choices=experiments.EXPERIMENTS, required=True)
    parser.add_argument("--checkpoint", type=Path, required=True, help="the trained stages")
    parser.add_argument(
        "--real", type=Path, required=True, help="folder of videos, or one; speed takes the first"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--seed", type=int, default=0, help="the same seed, the same videos")
    parser.add_argument(
        "--seconds",
        type=_seconds,
        help="take only the beginning of each video; a video's frames are held in memory",
    )
    parser.add_argument(
        "--landmarks",
        type=Path,
        help="folder of the videos' landmarks, NAME.npy, for a checkpoint trained on such as are "
        "not found here",
    )
    add_every_flag(parser)
    add_weights_flags(parser)
    return parser


def _seconds(text: str) -> float:
    value = float(text)
    if not value * FPS >= 1:
        raise argparse.ArgumentTypeError(f"at least {1 / FPS} seconds")
    return value


if __name__ == "__main__":
    sys.exit(main())
