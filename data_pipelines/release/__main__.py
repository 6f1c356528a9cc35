"""What the authors' release has preprocessed, to training shards.

    python -m data_pipelines.release lrs3 FOLDER --mean-face mean.npy --out data/lrs3
    python -m data_pipelines.release hdtf FOLDER --mean-face mean.npy --out data/hdtf

`lrs3` is GeneFace's (train.data, val.data): speech features and landmarks, for AToM. `hdtf` is
frames/ and keypoints/: pictures and landmarks, for the autoencoders and MToV. Both have landmarks
of Deep3DFaceReconstruction on the BFM; mean.npy is its mean face, (68, 3), which the release calls
`key_mean_shape` and which its licence forbids to ship.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from data_pipelines.builder import write_dataset
from data_pipelines.records import NO_AUDIO_FEATURES, dataset_metadata
from data_pipelines.release import geneface, hdtf_frames
from moditalker_jax.audio_features import RELEASE_AUDIO_ENCODER
from moditalker_jax.errors import command
from moditalker_jax.landmark_backends import read_bfm_backend


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    options = _parser().parse_args(arguments)
    folder, backend = options.folder, read_bfm_backend(options.mean_face)
    if options.data == "lrs3":
        encoder, resolution = RELEASE_AUDIO_ENCODER, 0
        splits = {
            split: geneface.read_clips(folder, split, backend, encoder["width"])
            for split in geneface.SPLITS
        }
    else:
        encoder, resolution = NO_AUDIO_FEATURES, options.resolution
        splits = {
            split: hdtf_frames.read_clips(folder, names, resolution)
            for split, names in hdtf_frames.identities(folder).items()
            if names
        }
    metadata = dataset_metadata(
        resolution=resolution, audio_encoder=encoder, source=options.data, **backend.metadata()
    )
    bars = {split: tqdm(clips, desc=split, unit="clip") for split, clips in splits.items()}
    write_dataset(options.out, bars, metadata)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m data_pipelines.release", description="The release's own data to shards."
    )
    parser.add_argument("data", choices=("lrs3", "hdtf"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--mean-face", type=Path, required=True, help=".npy of (68, 3)")
    parser.add_argument("--out", type=Path, required=True, help="folder to write; new or empty")
    parser.add_argument("--resolution", type=int, default=256, help="of HDTF's pictures")
    return parser


if __name__ == "__main__":
    sys.exit(main())
