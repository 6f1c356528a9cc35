"""The command behind `sample.py`."""

import argparse
import sys
import warnings
from collections.abc import Sequence

from tqdm import tqdm

from moditalker_jax.errors import InputError
from moditalker_jax.generation.pipeline import MoDiTalker
from moditalker_jax.media.files import require_writable


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line of `sample.py`."""
    parser = argparse.ArgumentParser(description="A face and speech in, a talking video out.")
    parser.add_argument("--audio", required=True, help="speech: any audio or video file")
    parser.add_argument("--identity", required=True, help="the face: a photo or a video")
    parser.add_argument("--checkpoint", required=True, help="directory of the trained stages")
    parser.add_argument("--out", required=True, help="the mp4 to write")
    parser.add_argument("--seed", type=int, default=0, help="the same seed, the same video")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status, 2 for what the user can mend."""
    options = parse(arguments)
    warnings.showwarning = lambda message, *_, **__: print(f"warning: {message}", file=sys.stderr)
    try:
        require_writable(options.out)
        pipeline = MoDiTalker.from_checkpoint(options.checkpoint)
        with tqdm(desc="generating", unit="step") as progress:

            def show(stage: str, done: int, total: int) -> None:
                progress.set_description(stage, refresh=False)
                progress.total, progress.n = total, done
                progress.refresh()

            video = pipeline.generate(
                options.audio, options.identity, seed=options.seed, on_progress=show
            )
        video.save(options.out)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{options.out}: {len(video.frames)} frames")
    return 0
