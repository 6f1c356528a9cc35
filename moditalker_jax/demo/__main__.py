"""The demo: a held-out synthetic speaker says a held-out sentence.

python -m moditalker_jax.demo --out demo

It writes the speech and the reference video that `sample.py` is then given, with the checkpoint
that ships with the project, and leaves `talking.mp4`.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from data_pipelines.synthetic import HELD_OUT_SEED, make_clip
from moditalker_jax.generation.command import main as sample
from moditalker_jax.media.audio import write_wav
from moditalker_jax.media.video import write_video

CHECKPOINT = Path(__file__).parent / "checkpoint"


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
    return sample(
        ["--audio", str(audio_path), "--identity", str(face_path)]
        + ["--checkpoint", str(options.checkpoint), "--out", str(options.out / "talking.mp4")]
    )


if __name__ == "__main__":
    sys.exit(main())
