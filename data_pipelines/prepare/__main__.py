"""Videos to training shards.

    python -m data_pipelines.prepare --out data/talking --resolution 128 VIDEO_OR_FOLDER...

Exits with 0 if a data set was written, also when some videos were left out (each is told on
stderr with its reason), and with 2 if none could be prepared.
"""

import argparse
import logging
import sys
from collections.abc import Sequence

from data_pipelines.prepare.batch import Outcome, prepare_dataset
from data_pipelines.prepare.split import list_videos
from moditalker_jax.audio_features import get_audio_encoder
from moditalker_jax.errors import InputError
from moditalker_jax.spec import CLIP_FRAMES, FPS


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(format="%(levelname)s: %(message)s")
    try:
        outcome = prepare_dataset(
            options.out,
            list_videos(options.videos),
            resolution=options.resolution,
            encoder=get_audio_encoder(options.audio_encoder),
            audio_offset_ms=options.audio_offset_ms,
            framing=options.framing,
            max_seconds=options.max_seconds,
        )
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(_summary(options.out, outcome))
    return 0


def _summary(out: str, outcome: Outcome) -> str:
    seconds = ", ".join(f"{n / FPS:.1f} s {split}" for split, n in outcome.frames.items())
    lines = [f"{out}: prepared {len(outcome.prepared)}; {seconds}"]
    if outcome.left_out:
        lines.append(f"note: {len(outcome.left_out)} left out: {', '.join(outcome.left_out)}")
    if "validation" not in outcome.frames:
        lines.append("note: nothing held out for validation; the videos are too short or were bad")
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m data_pipelines.prepare", description="Videos of faces to training shards."
    )
    parser.add_argument("videos", nargs="+", help="video files, or folders searched for them")
    parser.add_argument("--out", required=True, help="folder to write; new or empty")
    parser.add_argument(
        "--resolution", type=_resolution, default=256, help="side of the square pictures"
    )
    parser.add_argument("--audio-encoder", default="log_mel", help="of the audio features")
    parser.add_argument(
        "--audio-offset-ms",
        type=float,
        default=0.0,
        help="by how much the sound trails the lips; it is moved forward by as much",
    )
    parser.add_argument(
        "--framing",
        choices=("face", "centre"),
        default="face",
        help="crop around the face, or take the middle square of videos that are framed already",
    )
    parser.add_argument(
        "--max-seconds", type=_seconds, default=10.0, help="longer videos are cut into equal pieces"
    )
    return parser


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
