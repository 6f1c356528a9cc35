"""Portraits that talk as recordings do, as training shards.

    python -m data_pipelines.puppets --portraits PORTRAITS --recordings RECORDINGS \
        --out data/puppets

Takes any folder of portraits of frontal faces and any folder of recordings of talking faces. Works
on all cores; stopped, however hard, and called again, it goes on with what is missing. What could
not be used stands on stderr and in the data set's report.html.
"""

import argparse
import logging
import sys
from collections.abc import Sequence

from data_pipelines.prepare.__main__ import add_encoding_flags, summary
from data_pipelines.prepare.batch import prepare_dataset
from data_pipelines.prepare.split import list_pictures, list_videos
from data_pipelines.puppets.clip import PuppetPreparer
from data_pipelines.puppets.pairs import pair
from moditalker_jax.errors import command
from moditalker_jax.flags import at_least


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(format="%(levelname)s: %(message)s")
    portraits, recordings = list_pictures(options.portraits), list_videos(options.recordings)
    count = options.count or max(len(portraits), len(recordings))
    outcomes = prepare_dataset(
        options.out,
        pair(portraits, recordings, count, seed=options.seed),
        PuppetPreparer(options.resolution or 128, options.seed),
        audio_encoder=options.audio_encoder,
        workers=options.workers,
        form=options.form,
    )
    print(summary(options.out, outcomes))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m data_pipelines.puppets",
        description="Portraits that talk as recordings do, as training shards.",
    )
    parser.add_argument(
        "--portraits", nargs="+", required=True, help="pictures of one face each, or folders"
    )
    parser.add_argument(
        "--recordings", nargs="+", required=True, help="videos of one talking face, or folders"
    )
    parser.add_argument("--out", required=True, help="folder to write; new or empty")
    parser.add_argument(
        "--count",
        type=at_least(1),
        help="puppets to train on; default: every portrait and every recording once",
    )
    parser.add_argument("--seed", type=int, default=0, help="other pairs, motion and cameras")
    add_encoding_flags(parser, resolution=128)
    return parser


if __name__ == "__main__":
    sys.exit(main())
