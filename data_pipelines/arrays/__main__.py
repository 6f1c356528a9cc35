"""TFDS shards as arrays, for training where TensorFlow is not installed.

    python -m data_pipelines.arrays --data data/puppets --out data/puppets_arrays

`train.py --directory=data/puppets_arrays` then reads them; MToV's latents are written beside in the
same form.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from data_pipelines.arrays.loader import CLIPS
from data_pipelines.arrays.store import write_arrays
from data_pipelines.builder import load_metadata, read_clips, split_sizes
from data_pipelines.records import encode_clip
from moditalker_jax.errors import command


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m data_pipelines.arrays", description="TFDS shards of clips as plain arrays."
    )
    parser.add_argument("--data", type=Path, required=True, help="shards of clips")
    parser.add_argument("--out", type=Path, required=True, help="folder to write; new or empty")
    options = parser.parse_args(arguments)
    splits = split_sizes(options.data)
    records = {split: _records(options.data, split, size) for split, size in splits.items()}
    write_arrays(options.out, CLIPS, records, load_metadata(options.data))
    print(f"{options.out}: " + ", ".join(f"{n} clips {split}" for split, n in splits.items()))
    return 0


def _records(data: Path, split: str, size: int) -> Iterator[dict[str, Any]]:
    for clip in tqdm(read_clips(data, split), desc=split, total=size, unit="clip"):
        yield encode_clip(clip)


if __name__ == "__main__":
    sys.exit(main())
