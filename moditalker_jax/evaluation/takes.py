"""Real videos made anew: whose face says what, and the files that come of it."""

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from tqdm import tqdm

from moditalker_jax.errors import InputError
from moditalker_jax.generation.pipeline import MoDiTalker, Progress
from moditalker_jax.generation.reference import (
    MAX_SIDE,
    Reference,
    read_landmarks,
    reference_from_frames,
)
from moditalker_jax.media.audio import read_audio
from moditalker_jax.media.video import (
    estimate_frames,
    iterate_frames,
    read_video_audio,
    write_video,
)
from moditalker_jax.spec import AUDIO_SAMPLE_RATE, FPS

GENERATED, CROPPED = "generated", "real"
"""Folders of the generated videos and of the real ones in the same crop."""


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One of `configs/experiments.py`, where the fields are told."""

    audio: Literal["own", "next"]
    identity: Literal["video", "first_frame"]
    seconds: float | None
    metrics: tuple[str, ...]
    paper: Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class Take:
    """A face that is to say something.

    Attributes:
      name: of the face's video.
      identity: that video.
      audio: the video that is heard.
      landmarks: file of the face's landmarks, None where they are found.
      generated: the file to write.
      cropped: the face's own frames in the same crop, to write too.
    """

    name: str
    identity: Path
    audio: Path
    landmarks: Path | None
    generated: Path
    cropped: Path

    @property
    def is_done(self) -> bool:
        """Whether both files are there."""
        return self.generated.exists() and self.cropped.exists()


def plan_takes(
    experiment: Experiment,
    videos: Mapping[str, Path],
    out: Path,
    landmarks: Path | None = None,
) -> list[Take]:
    """What is to be made, in the order of names.

    Args:
      experiment: the experiment.
      videos: the real ones, by name.
      out: folder to write.
      landmarks: folder with the landmarks NAME.npy of each video, None where they are found.

    Raises:
      InputError: the voice of another video is wanted, and there is only one.
    """
    names = sorted(videos)
    if experiment.audio == "next" and len(names) < 2:
        raise InputError(f"{videos[names[0]]}: has no next video to speak as; give two or more")
    heard = names[1:] + names[:1] if experiment.audio == "next" else names
    return [
        Take(
            name=name,
            identity=videos[name],
            audio=videos[voice],
            landmarks=None if landmarks is None else landmarks / f"{name}.npy",
            generated=out / GENERATED / f"{name}.mp4",
            cropped=out / CROPPED / f"{name}.mp4",
        )
        for name, voice in zip(names, heard, strict=True)
    ]


def make_takes(
    takes: Sequence[Take], pipeline: MoDiTalker, experiment: Experiment, *, seed: int
) -> list[str]:
    """Makes what is missing; one that cannot be made is told on stderr, and the rest goes on.

    Returns:
      Why takes were left out, a line each.

    Raises:
      InputError: all were left out.
    """
    left_out = []
    missing = [take for take in takes if not take.is_done]
    lengths = {take.name: _estimate_length(take, experiment) for take in missing}
    with tqdm(total=sum(lengths.values()), unit="frame", desc="generate") as bar:
        for take in missing:
            before, length = bar.n, lengths[take.name]

            def show(stage: str, done: int, total: int, before=before, length=length) -> None:
                if stage == "frames":
                    bar.update(before + length * done // total - bar.n)

            try:
                _make(take, pipeline, experiment, seed=seed, on_progress=show)
            except InputError as error:
                left_out.append(str(error))
            except (ValueError, ArithmeticError, MemoryError) as error:
                left_out.append(f"{take.identity}: cannot be made ({error})")
            else:
                continue
            finally:
                bar.update(before + length - bar.n)
            bar.write(f"left out: {take.name}: {left_out[-1]}", file=sys.stderr)
    if len(left_out) == len(takes):
        raise InputError("no video could be made; the reasons stand above")
    return left_out


def read_face(take: Take, pipeline: MoDiTalker, seconds: float | None) -> Reference:
    """The cropped frames of a take's video, as far as they are wanted.

    Raises:
      InputError: the video or its landmarks cannot be used.
    """
    frames = np.stack(list(iterate_frames(take.identity, max_side=MAX_SIDE, stop=seconds)))
    landmarks = None
    if take.landmarks is not None:
        landmarks = read_landmarks(take.landmarks)[: _limit(seconds, FPS)]
    return reference_from_frames(
        frames, take.identity, pipeline.frames.resolution, pipeline.finder, landmarks
    )


def _make(
    take: Take, pipeline: MoDiTalker, experiment: Experiment, *, seed: int, on_progress: Progress
) -> None:
    """Writes what is missing of a take."""
    face = read_face(take, pipeline, experiment.seconds)
    own_sound = read_video_audio(take.identity, len(face.frames))
    if not take.generated.exists():
        sound = own_sound
        if take.audio != take.identity:
            sound = read_audio(take.audio)[: _limit(experiment.seconds, AUDIO_SAMPLE_RATE)]
        if sound is None:
            raise InputError(f"{take.audio}: has no sound; give a video with its sound track")
        identity = face
        if experiment.identity == "first_frame":
            identity = Reference(face.frames[:1], face.landmarks[:1])
        video = pipeline.generate(sound, identity, seed=seed, on_progress=on_progress)
        video.save(take.generated)
    # Last: a real video without a generated one would be told as one more failure.
    write_video(take.cropped, face.frames, audio=own_sound)


def _limit(seconds: float | None, rate: int) -> int | None:
    return None if seconds is None else round(seconds * rate)


def _estimate_length(take: Take, experiment: Experiment) -> int:
    """Frames to make by the header's word, 0 where it cannot be read."""
    try:
        frames = estimate_frames(take.audio)
    except InputError:
        return 0  # Told when its turn comes.
    return frames if experiment.seconds is None else min(frames, round(experiment.seconds * FPS))
