"""The demo: a held-out synthetic speaker says a held-out sentence.

python -m moditalker_jax.demo --out demo

It writes the speech and the reference video, makes `talking.mp4` of them as `sample.py` does, with
the checkpoint that ships with the project, and leaves `frames.png`: reference, landmarks and result
at six moments, one above the other.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from data_pipelines.synthetic import HELD_OUT_SEED, make_clip
from moditalker_jax.conditions import landmark_video
from moditalker_jax.errors import command
from moditalker_jax.generation.command import make_video, warnings_on_stderr
from moditalker_jax.generation.talking_video import TalkingVideo
from moditalker_jax.media.audio import write_wav
from moditalker_jax.media.image import write_png
from moditalker_jax.media.video import write_video

CHECKPOINT = Path(__file__).parent / "checkpoint"


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the demo; returns its exit status."""
    parser = argparse.ArgumentParser(description="Makes a talking video from what ships.")
    parser.add_argument("--out", type=Path, default=Path("demo"), help="directory to write")
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--speaker", type=int, default=0, help="one of the training speakers")
    parser.add_argument("--seconds", type=float, default=6.0)
    options = parser.parse_args(arguments)
    face = make_clip(
        speaker=options.speaker, seed=HELD_OUT_SEED, seconds=options.seconds, resolution=256
    )
    speech = make_clip(
        speaker=options.speaker, seed=HELD_OUT_SEED + 1, seconds=options.seconds, resolution=64
    )
    audio_path, face_path = options.out / "speech.wav", options.out / "face.mp4"
    write_wav(audio_path, speech.audio)
    write_video(face_path, face.frames, audio=face.audio)
    with warnings_on_stderr():
        video = make_video(
            audio=audio_path,
            identity=face_path,
            checkpoint=options.checkpoint,
            out=options.out / "talking.mp4",
            seed=0,
        )
    write_png(options.out / "frames.png", overview(face.frames, video))
    print(f"{options.out / 'talking.mp4'}: {len(video.frames)} frames")
    return 0


def overview(reference: np.ndarray, video: TalkingVideo, *, moments: int = 6) -> np.ndarray:
    """Reference, drawn landmarks and generated frames, evenly spaced in time, as one picture."""
    shown = np.linspace(0, len(video.frames) - 1, moments + 2).astype(int)[1:-1]
    side = video.frames.shape[1]
    rows = (
        [
            cv2.resize(reference[index], (side, side), interpolation=cv2.INTER_AREA)
            for index in shown
        ],
        landmark_video(video.landmarks[shown], resolution=side),
        video.frames[shown],
    )
    return np.concatenate([np.concatenate(list(row), axis=1) for row in rows])


if __name__ == "__main__":
    sys.exit(main())
