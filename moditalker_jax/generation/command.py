"""The command behind `sample.py`."""

import argparse
import contextlib
import logging
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import absl.logging
from tqdm import tqdm

from moditalker_jax.errors import command
from moditalker_jax.generation.pipeline import MoDiTalker
from moditalker_jax.generation.talking_video import TalkingVideo
from moditalker_jax.media.files import require_writable


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line of `sample.py`."""
    parser = argparse.ArgumentParser(description="A face and speech in, a talking video out.")
    parser.add_argument("--audio", type=Path, required=True, help="speech: any audio or video file")
    parser.add_argument("--identity", type=Path, required=True, help="the face: a photo or a video")
    parser.add_argument(
        "--landmarks",
        type=Path,
        help="the face's landmarks (.npy), for a checkpoint trained on such as are not found here",
    )
    parser.add_argument("--checkpoint", type=Path, required=True, help="the trained stages")
    parser.add_argument("--out", type=Path, required=True, help="the mp4 to write")
    parser.add_argument("--seed", type=int, default=0, help="the same seed, the same video")
    return parser.parse_args(arguments)


def make_video(
    *,
    audio: Path,
    identity: Path,
    checkpoint: Path,
    out: Path,
    seed: int,
    landmarks: Path | None = None,
) -> TalkingVideo:
    """Generates a video and writes it to `out`, with a progress bar and the time left.

    Raises:
      InputError: anything the user can mend; nothing is left half-written.
    """
    require_writable(out)
    pipeline = MoDiTalker.from_checkpoint(checkpoint)
    with tqdm(desc="reading", unit="clip") as progress:

        def show(step: str, done: int, total: int) -> None:
            if progress.desc != f"{step}: ":
                progress.reset(total)
                progress.set_description(step, refresh=False)
            progress.update(done - progress.n)

        video = pipeline.generate(audio, identity, landmarks=landmarks, seed=seed, on_progress=show)
    video.save(out)
    return video


class _AboveProgress(logging.Handler):
    """Writes lines of their own above a progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record), file=sys.stderr)


@contextlib.contextmanager
def warnings_on_stderr() -> Iterator[None]:
    """Our own warnings as one line each; what the libraries say of their inner life is left out."""
    absl.logging.set_verbosity(absl.logging.ERROR)
    handler = _AboveProgress()
    handler.setFormatter(logging.Formatter("warning: %(message)s"))
    logger = logging.getLogger("moditalker_jax")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status, 2 for what the user can mend."""
    options = parse(arguments)
    with warnings_on_stderr():
        video = make_video(**vars(options))
    print(f"{options.out}: {len(video.frames)} frames")
    return 0
