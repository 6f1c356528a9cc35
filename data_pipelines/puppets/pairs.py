"""Which portrait talks as which recording, and what is held out."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from data_pipelines.prepare.split import HELD_OUT_SHARE, held_out_videos
from data_pipelines.puppets.clip import PuppetSource
from moditalker_jax.errors import InputError


def pair(
    portraits: Mapping[str, Path], recordings: Mapping[str, Path], count: int, *, seed: int = 0
) -> list[PuppetSource]:
    """`count` puppets to train on, and a tenth as many of held-out portraits and recordings.

    Each portrait and each recording is used as often as any other, or once more; no pair twice as
    far as there are pairs.

    Raises:
      InputError: too few of either to hold one out.
    """
    rng = np.random.default_rng(seed)
    held_out = [held_out_videos(list(files)) for files in (portraits, recordings)]
    if not all(held_out):
        raise InputError(
            f"{len(portraits)} portraits and {len(recordings)} recordings are too few; "
            f"give {HELD_OUT_SHARE} or more of both, so that some can be held out"
        )
    sources = []
    for split, number in (("train", count), ("validation", -(-count // HELD_OUT_SHARE))):
        chosen = [
            [name for name in files if (name in held) == (split == "validation")]
            for files, held in zip((portraits, recordings), held_out, strict=True)
        ]
        for face, voice in _turns(*chosen, number, rng):
            sources.append(
                PuppetSource(
                    name=f"{face}--{voice}",
                    speaker=face,
                    path=recordings[voice],
                    portrait=portraits[face],
                    split=split,
                )
            )
    return sources


def _turns(
    faces: Sequence[str], voices: Sequence[str], count: int, rng: np.random.Generator
) -> list[tuple[str, str]]:
    pairs: dict[tuple[str, str], None] = {}
    count = min(count, len(faces) * len(voices))
    while len(pairs) < count:
        # Whole rounds of both, each in a new order; what falls together twice is drawn again.
        missing = count - len(pairs)
        drawn = [_rounds(names, missing, rng) for names in (faces, voices)]
        pairs |= dict.fromkeys(zip(*drawn, strict=True))
    return list(pairs)


def _rounds(names: Sequence[str], count: int, rng: np.random.Generator) -> list[str]:
    rounds = -(-count // len(names))
    return [names[i] for _ in range(rounds) for i in rng.permutation(len(names))][:count]
