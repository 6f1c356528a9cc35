"""Videos to training shards.

    python -m data_pipelines.prepare --out data/talking --resolution 128 VIDEO_OR_FOLDER...
    python -m data_pipelines.prepare --dataset hdtf --out data/hdtf/1.0.0 FOLDER

Works on all cores; stopped, however hard, and called again, it goes on with what is missing.
Exits with 0 if a data set was written, also when some videos were left out (each is told on
stderr with its reason, and in the data set's report.html), and with 2 if none could be prepared.
"""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from data_pipelines.datasets.base import SourceVideo
from data_pipelines.datasets.registry import LAYOUTS
from data_pipelines.prepare.batch import prepare_dataset
from data_pipelines.prepare.clip import Settings
from data_pipelines.prepare.report import PAGE, reasons
from data_pipelines.prepare.split import list_videos
from data_pipelines.prepare.work import Outcome
from moditalker_jax.errors import InputError, command
from moditalker_jax.spec import CLIP_FRAMES, FPS


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(format="%(levelname)s: %(message)s")
    layout = LAYOUTS.get(options.dataset)
    if layout is None:
        record = {}
        sources = [
            SourceVideo(
                name=name,
                speaker=name.split("/")[0] if options.speaker_folders else name,
                path=path,
            )
            for name, path in list_videos(options.videos).items()
        ]
    else:
        if len(options.videos) != 1:
            raise InputError(f"--dataset {layout.name} takes one folder, the data set's")
        record = {
            "name": layout.name,
            "version": layout.version,
            "citation": layout.citation,
        }
        sources = layout.list_videos(Path(options.videos[0]))
    outcomes = prepare_dataset(
        options.out,
        sources,
        Settings(
            resolution=options.resolution or (layout.resolution if layout else 256),
            framing=options.framing,
            max_seconds=options.max_seconds,
            min_side=options.min_side,
            audio_offset_ms=options.audio_offset_ms,
            sync=options.sync,
        ),
        audio_encoder=options.audio_encoder,
        workers=options.workers,
        form=options.form,
        **record,
    )
    print(summary(options.out, outcomes))
    return 0


def summary(out: str, outcomes: Sequence[Outcome]) -> str:
    """What was prepared, held out and left out, in a few lines."""
    frames: dict[str, int] = {}
    for clip in (clip for outcome in outcomes for clip in outcome.clips):
        frames[clip["split"]] = frames.get(clip["split"], 0) + clip["frames"]
    seconds = ", ".join(f"{n / FPS:.1f} s {split}" for split, n in frames.items())
    left_out = reasons(outcomes)
    lines = [f"{out}: prepared {len(outcomes) - left_out.total()} of {len(outcomes)}; {seconds}"]
    if left_out:
        counts = ", ".join(f"{n} {reason.replace('_', ' ')}" for reason, n in left_out.items())
        lines.append(f"note: left out: {counts}")
    if "validation" not in frames and "test" not in frames:
        lines.append("note: nothing held out for validation; the videos are too short or were bad")
    lines.append(f"report: {Path(out) / PAGE}")
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m data_pipelines.prepare", description="Videos of faces to training shards."
    )
    parser.add_argument("videos", nargs="+", help="video files, or folders searched for them")
    parser.add_argument("--out", required=True, help="folder to write; new or empty")
    parser.add_argument(
        "--dataset", choices=sorted(LAYOUTS), help="read a folder as this published data set's"
    )
    parser.add_argument(
        "--speaker-folders",
        action="store_true",
        help="each folder inside a given one holds the videos of one speaker",
    )
    add_encoding_flags(parser, resolution=256)
    parser.add_argument(
        "--audio-offset-ms",
        type=float,
        default=0.0,
        help="by how much the sound trails the lips; it is moved forward by as much",
    )
    parser.add_argument(
        "--sync",
        choices=("report", "correct", "reject"),
        default="report",
        help="what to do about sound that is estimated to be early or late",
    )
    parser.add_argument(
        "--framing",
        choices=("face", "centre"),
        default="face",
        help="crop around the face, or take the middle square of videos that are framed already",
    )
    parser.add_argument(
        "--min-side", type=int, default=128, help="smaller crops, in pixels a side, are left out"
    )
    parser.add_argument(
        "--max-seconds", type=_seconds, default=10.0, help="longer videos are cut into equal pieces"
    )
    return parser


def add_encoding_flags(parser: argparse.ArgumentParser, *, resolution: int) -> None:
    """Flags of every command that writes clips: pictures' size, audio encoder, processes."""
    parser.add_argument(
        "--resolution", type=_resolution, help=f"side of the square pictures; default {resolution}"
    )
    parser.add_argument(
        "--audio-encoder",
        default="whisper-tiny.en",
        help="of the audio features; log_mel needs no weights",
    )
    parser.add_argument(
        "--form",
        choices=("shards", "arrays"),
        default="shards",
        help="TFDS shards, or arrays, which need no TensorFlow; default shards",
    )
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, help="processes; 0 works in this one"
    )


def _resolution(text: str) -> int:
    value = int(text)
    if value < 16 or value % 8:
        raise argparse.ArgumentTypeError("a multiple of 8, at least 16")
    return value


def _seconds(text: str) -> float:
    value = float(text)
    if not value * FPS >= 2 * CLIP_FRAMES:
        raise argparse.ArgumentTypeError(f"at least {2 * CLIP_FRAMES / FPS} seconds")
    return value


if __name__ == "__main__":
    sys.exit(main())
