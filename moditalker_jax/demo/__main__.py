"""The demo: a painting reads a sentence.

python -m moditalker_jax.demo --out demo

Leonardo's Mona Lisa says the first line of a chapter of Jane Austen's Sense and Sensibility, as
read for LibriVox; both are in the public domain. It makes `talking.mp4` of them as `sample.py`
does, with the checkpoint that ships with the project, and leaves `frames.png`: the painting, the
landmarks and the result at six moments, one above the other.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from moditalker_jax.conditions import landmark_video
from moditalker_jax.errors import command
from moditalker_jax.faces import FaceFinder
from moditalker_jax.generation.command import make_video, warnings_on_stderr
from moditalker_jax.generation.reference import read_reference
from moditalker_jax.generation.talking_video import TalkingVideo
from moditalker_jax.media.audio import read_audio, write_wav
from moditalker_jax.media.image import write_png
from moditalker_jax.spec import AUDIO_SAMPLE_RATE

CHECKPOINT = Path(__file__).parent / "checkpoint"
GALLERY = Path(__file__).parent / "gallery"
FACE, SPEECH = GALLERY / "mona_lisa.jpg", GALLERY / "sense_and_sensibility.wav"


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the demo; returns its exit status."""
    parser = argparse.ArgumentParser(description="Makes a talking video from what ships.")
    parser.add_argument("--out", type=Path, default=Path("demo"), help="directory to write")
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--seconds", type=float, help="of the sentence; default: all of it")
    options = parser.parse_args(arguments)
    speech = read_audio(SPEECH)
    if options.seconds is not None:
        speech = speech[: round(options.seconds * AUDIO_SAMPLE_RATE)]
    audio_path = options.out / "speech.wav"
    write_wav(audio_path, speech)
    with warnings_on_stderr():
        video = make_video(
            audio=audio_path,
            identity=FACE,
            checkpoint=options.checkpoint,
            out=options.out / "talking.mp4",
            seed=0,
        )
    face = read_reference(FACE, resolution=video.frames.shape[1], finder=FaceFinder())
    write_png(options.out / "frames.png", overview(face.frames[0], video))
    print(f"{options.out / 'talking.mp4'}: {len(video.frames)} frames")
    return 0


def overview(face: np.ndarray, video: TalkingVideo, *, moments: int = 6) -> np.ndarray:
    """Face, drawn landmarks and generated frames, evenly spaced in time, as one picture."""
    shown = np.linspace(0, len(video.frames) - 1, moments + 2).astype(int)[1:-1]
    rows = (
        [face] * moments,
        landmark_video(video.landmarks[shown], resolution=video.frames.shape[1]),
        video.frames[shown],
    )
    return np.concatenate([np.concatenate(list(row), axis=1) for row in rows])


if __name__ == "__main__":
    sys.exit(main())
