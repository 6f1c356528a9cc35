"""How well a generated video's mouth follows a real one, both found by the face finder.

python -m moditalker_jax.evaluation.videos --real clip.mp4 --generated out.mp4
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from moditalker_jax.errors import command
from moditalker_jax.evaluation.found_faces import found_again
from moditalker_jax.evaluation.metrics import mouth_correlation, still_mouth_ratio
from moditalker_jax.faces.finder import FaceFinder
from moditalker_jax.generation.reference import read_reference


def compare(real: Path, generated: Path) -> dict[str, float]:
    """Figures of one pair over the frames that both have."""
    finder = FaceFinder()
    frontals, shares = [], []
    for path in (real, generated):
        frames = read_reference(path, resolution=256, finder=finder).frames
        frontal, share = found_again(frames, finder)
        frontals.append(frontal)
        shares.append(share)
    length = min(len(frontal) for frontal in frontals)
    truth, made = (np.asarray(frontal[:length]) for frontal in frontals)
    return {
        "frames": float(length),
        "face found in the generated video": shares[1],
        "mouth correlation": mouth_correlation(made, truth),
        "mouth error / still mouth": still_mouth_ratio(made, truth),
    }


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the figures; returns the exit status."""
    parser = argparse.ArgumentParser(description="A generated video's mouth against a real one.")
    parser.add_argument("--real", type=Path, required=True)
    parser.add_argument("--generated", type=Path, required=True)
    options = parser.parse_args(arguments)
    figures = compare(options.real, options.generated)
    for name, value in figures.items():
        print(f"{name:34s} {value:7.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
