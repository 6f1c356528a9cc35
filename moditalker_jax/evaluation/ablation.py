"""The paper's component analysis (table 2): every row trained with several seeds, and measured.

    python -m moditalker_jax.evaluation.ablation --table 2a --data data/synthetic \
        --workdir runs/table_2a
    python -m moditalker_jax.evaluation.ablation --table 2b --data data/synthetic \
        --workdir runs/table_2b --autoencoders moditalker_jax/demo/checkpoint

The rows are those of `configs/table_2a.py` and `configs/table_2b.py`. AToM's landmarks are put back
on the heads of held-out clips; MToV is given their true landmarks, and its frames are measured as
they come out, without blending. Distances are in pixels of 256x256 frames, and landmarks of videos
are those that the face finder sees. Figures that need weights which are not public packages (LSE-C,
CSIM) are for `python -m moditalker_jax.evaluation`. A call that was stopped goes on.
"""

import argparse
import dataclasses
import itertools
import json
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import jax
import numpy as np

from configs import table_2a, table_2b
from data_pipelines.builder import held_out_split, read_clips
from data_pipelines.records import PreparedClip
from moditalker_jax.checkpoint import load_stage
from moditalker_jax.config import stage_config
from moditalker_jax.encode_latents import encode_latents
from moditalker_jax.errors import InputError, command
from moditalker_jax.evaluation.found_faces import seen_landmarks
from moditalker_jax.faces.finder import FaceFinder
from moditalker_jax.generation.frames import FrameGenerator
from moditalker_jax.generation.motion import MotionGenerator
from moditalker_jax.landmarks import align_to_poses, frontalize
from moditalker_jax.media.files import written_aside
from moditalker_jax.metrics.landmarks import has_face, lmd, mouth_correlation
from moditalker_jax.metrics.sharpness import cpbd
from moditalker_jax.training.run import run_stage
from moditalker_jax.training.stages.base import to_pixels

PAPER_RESOLUTION = 256
CPBD_STRIDE = 8
"""CPBD is taken of every eighth frame."""
AUTOENCODERS = ("autoencoder", "landmark_autoencoder")
Figures = dict[str, float]
Measure = Callable[[PreparedClip], Figures]


@dataclasses.dataclass(frozen=True)
class Table:
    """One of the paper's tables.

    Attributes:
      configs: the module with its rows.
      stage: that is trained.
      measure: from the workdir of a trained stage, what measures a held-out clip.
      paper: LMD that the paper gives for each row, on HDTF.
    """

    configs: object
    stage: str
    measure: Callable[[Path], Measure]
    paper: Mapping[str, float]


def atom_measure(workdir: Path) -> Measure:
    """Of AToM: its landmarks on the heads of a clip."""
    motion = MotionGenerator(load_stage(workdir, stage="atom"))

    def measure(clip: PreparedClip) -> Figures:
        frontal, poses = frontalize(clip.landmarks, motion.backend.mean_face)
        made = motion(clip.audio_features, frontal[0], jax.random.key(0))
        aligned = align_to_poses(made, poses) * PAPER_RESOLUTION
        truth = clip.landmarks * PAPER_RESOLUTION
        return {
            "LMD": lmd(aligned[..., :2], truth[..., :2]),
            "LMD, whole face, not centred": lmd(
                aligned[..., :2], truth[..., :2], region="face", centred=False
            ),
            "mouth correlation": mouth_correlation(made, frontal),
        }

    return measure


def mtov_measure(workdir: Path) -> Measure:
    """Of MToV: its frames for a clip's true landmarks, pose and identity frames and audio."""
    mtov = load_stage(workdir, stage="mtov")
    autoencoders = {
        name: load_stage(workdir.parent / getattr(mtov.config, name), stage=name)
        for name in AUTOENCODERS
    }
    frames = FrameGenerator(**autoencoders, mtov=mtov)
    finder = FaceFinder()

    def seen(video: np.ndarray) -> np.ndarray:
        return seen_landmarks(video, finder)[..., :2] * (PAPER_RESOLUTION / video.shape[1])

    def measure(clip: PreparedClip) -> Figures:
        made = frames(
            clip.landmarks,
            clip.frames,
            clip.landmarks,
            jax.random.key(0),
            audio_features=clip.audio_features,
            finish=lambda generated, _: to_pixels(generated),
        )
        landmarks, truth = seen(made), seen(clip.frames)
        found = float(has_face(landmarks).mean())
        if not found:
            return {"CPBD": _mean_cpbd(made), "LMD": np.nan, "faces found": 0.0}
        return {
            "CPBD": _mean_cpbd(made),
            "LMD": lmd(landmarks, truth),
            "LMD, not centred": lmd(landmarks, truth, centred=False),
            "mouth correlation": mouth_correlation(landmarks, truth),
            "faces found": found,
        }

    return measure


def _mean_cpbd(video: np.ndarray) -> float:
    return float(np.mean([cpbd(frame) for frame in video[::CPBD_STRIDE]]))


TABLES = {
    "2a": Table(table_2a, "atom", atom_measure, {"I": 1.63, "II": 1.47, "III": 1.31, "IV": 1.26}),
    "2b": Table(table_2b, "mtov", mtov_measure, {"II": 11.18, "III": 5.23, "IV": 2.67, "V": 1.38}),
}


def row_figures(
    table: Table,
    row: str,
    workdir: Path,
    data: Path,
    clips: Sequence[PreparedClip],
    *,
    variant: str,
    autoencoders: Mapping[str, str],
    seed: int,
    steps: int | None,
) -> Figures:
    """Trains one row with one seed in `workdir` and measures it; what was measured is kept."""
    kept = workdir / "figures.json"
    if kept.exists():
        return json.loads(kept.read_text())
    values = table.configs.get_config(f"{variant}.{row}").to_dict()
    values["data"]["directory"] = str(data)
    values["training"]["seed"] = seed
    values |= autoencoders
    if steps is not None:
        values["training"] |= {"num_steps": steps, "evaluate_every": steps}
    run_stage(stage_config(values), workdir)
    measure = table.measure(workdir)
    rows = [measure(clip) for clip in clips]
    names = dict.fromkeys(itertools.chain.from_iterable(rows))
    figures = {name: _mean([of.get(name, np.nan) for of in rows]) for name in names}
    with written_aside(kept) as aside:
        aside.write_text(json.dumps(figures))
    return figures


def _mean(values: Sequence[float]) -> float:
    """Of the values that are numbers; NaN if none is."""
    finite = [value for value in values if np.isfinite(value)]
    return float(np.mean(finite)) if finite else float("nan")


def markdown(table: Table, figures: Mapping[str, Sequence[Figures]]) -> str:
    """Means over the seeds with their standard deviations, one line a row.

    Args:
      figures: for each row those of each seed.
    """
    names = dict.fromkeys(
        itertools.chain.from_iterable(of for seeds in figures.values() for of in seeds)
    )
    lines = [
        f"| | {' | '.join(names)} | LMD in the paper |",
        "|---" * (len(names) + 2) + "|",
    ]
    for row, seeds in figures.items():
        cells = []
        for name in names:
            values = np.array([of.get(name, np.nan) for of in seeds])
            finite = values[np.isfinite(values)]
            text = f"{finite.mean():.3f} ± {finite.std():.3f}" if finite.size else "no face"
            if 0 < finite.size < len(values):
                text += f" ({finite.size} of {len(values)})"
            cells.append(text)
        lines.append(f"| {row} | {' | '.join(cells)} | {table.paper.get(row, '-')} |")
    return "\n".join(lines)


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table; returns the exit status."""
    parser = argparse.ArgumentParser(description="Table 2 of the paper, on your data.")
    parser.add_argument("--table", choices=TABLES, required=True)
    parser.add_argument("--data", type=Path, required=True, help="shards of clips")
    parser.add_argument("--workdir", type=Path, required=True, help="of the trainings")
    parser.add_argument("--autoencoders", type=Path, help="run with trained ones, for table 2b")
    parser.add_argument("--variant", default="demo", help="of the stage's config")
    parser.add_argument("--steps", type=int, help="of each training; the config's where left out")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--clips", type=int, default=4, help="held-out clips to measure")
    parser.add_argument("--frames", type=int, help="to measure of each clip; all where left out")
    options = parser.parse_args(arguments)
    logging.getLogger("absl").setLevel(logging.ERROR)
    table = TABLES[options.table]
    autoencoders: dict[str, Path] = {}
    if table.stage == "mtov":
        if options.autoencoders is None:
            raise InputError("table 2b needs trained autoencoders: give their run's --autoencoders")
        autoencoders = {name: options.autoencoders.resolve() / name for name in AUTOENCODERS}
        if not (options.workdir / "latents").exists():
            encode_latents(options.data, options.workdir / "latents", **autoencoders, audio=True)
    held_out = read_clips(options.data, held_out_split(options.data))
    clips = [
        clip.piece(0, min(len(clip), options.frames or len(clip)))
        for clip in itertools.islice(held_out, options.clips)
    ]
    figures: dict[str, list[Figures]] = {row: [] for row in table.configs.ROWS}
    for seed, row in itertools.product(range(options.seeds), figures):
        of = row_figures(
            table,
            row,
            options.workdir / f"{row}_seed{seed}",
            options.data,
            clips,
            variant=options.variant,
            autoencoders={name: str(path) for name, path in autoencoders.items()},
            seed=seed,
            steps=options.steps,
        )
        figures[row].append(of)
        told = ", ".join(f"{name} {value:.3f}" for name, value in of.items())
        print(f"row {row}, seed {seed}: {told}", flush=True)
    print(markdown(table, figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
