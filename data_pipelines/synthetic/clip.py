"""`make_clip`: a speaker says something random, seen and heard."""

from dataclasses import dataclass

import cv2
import numpy as np

from data_pipelines.synthetic.articulation import Motion, random_motion
from data_pipelines.synthetic.head import (
    SKIN_FIELDS,
    Head,
    expressions,
    get_head,
    pose,
    rotation_matrices,
    to_pixels,
)
from data_pipelines.synthetic.phonemes import random_utterance
from data_pipelines.synthetic.portrait import get_portrait
from data_pipelines.synthetic.render import draw_frame
from data_pipelines.synthetic.speakers import get_speaker
from data_pipelines.synthetic.template import FIELDS
from data_pipelines.synthetic.voice import synthesize
from moditalker_jax.spec import AUDIO_SAMPLE_RATE, FPS

HELD_OUT_SEED = 1_000_000
"""Clips with this seed and larger ones are never written as training data."""

_SAMPLES_PER_FRAME = AUDIO_SAMPLE_RATE // FPS


@dataclass(frozen=True)
class SyntheticClip:
    """A talking head of T frames at 25 fps, H = W.

    Attributes:
      frames: (T, H, W, 3) uint8 RGB.
      audio: (T * 640,) float32 at 16 kHz in [-1, 1].
      landmarks: (T, 68, 3) float32 exact, in pixels: x right, y down, z towards the viewer.
      phonemes: what is said: symbol, start and end in seconds.
    """

    frames: np.ndarray
    audio: np.ndarray
    landmarks: np.ndarray
    phonemes: list[tuple[str, float, float]]


def _mouth_inside(head: Head, motion: Motion) -> dict[str, np.ndarray]:
    """Rows (T, n, 3) of the upper teeth's edge, the lower teeth's edge and the tongue's outline."""
    across = np.linspace(-1, 1, 13)
    middle, corner = head.rest[62], head.rest[64]
    depth = middle[2] - 0.10 - 0.16 * across**2
    upper = np.stack([0.30 * across, middle[1] + 0.055 - 0.035 * across**2, depth], axis=1)
    lower = np.stack([0.27 * across, middle[1] + 0.075 - 0.02 * across**2, depth - 0.03], axis=1)
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    tongue = np.stack(
        [
            0.21 * np.cos(angle),
            corner[1] + 0.15 + 0.11 * np.sin(angle),
            np.full(24, depth[6] - 0.1),
        ],
        axis=1,
    )
    drop = motion.opening[:, None, None] * FIELDS["opening"][8]
    drop = drop * [1.0, 1.45, 1.0]
    # Rounded lips come forward and cover the teeth.
    cover = motion.rounding[:, None, None] * np.array([0.0, -0.055, 0.0])
    return {
        "upper": upper[None] + cover,
        "lower": lower[None] + drop,
        "tongue": tongue[None] + 0.85 * drop,
    }


def _canvas_size(resolution: int) -> int:
    """Frames are drawn larger and averaged: small ones twice as large, others by half."""
    return 2 * resolution if resolution <= 128 else 3 * resolution // 2


def make_clip(*, speaker: int, seed: int, seconds: float, resolution: int) -> SyntheticClip:
    """A talking head, the same for the same arguments.

    Args:
      speaker: number of the person, 0 or larger.
      seed: number of the utterance and of the motion that goes with it.
      seconds: duration; rounded to whole frames of 40 ms.
      resolution: side of the square frames in pixels.
    """
    person, head = get_speaker(speaker), get_head(speaker)
    rng = np.random.default_rng([speaker, seed])
    num_frames = round(seconds * FPS)
    segments = random_utterance(rng, num_frames / FPS, person.rate)
    audio = synthesize(segments, pitch=person.pitch, formant_scale=person.formant_scale, rng=rng)
    motion = random_motion(segments, num_frames, rng)

    rotations = rotation_matrices(motion.rotation)
    frontal, rows = expressions(head, motion), _mouth_inside(head, motion)
    weights = np.stack([getattr(motion, name) for name in SKIN_FIELDS], axis=1)
    portrait = get_portrait(speaker, _canvas_size(resolution))
    frames = np.empty((num_frames, resolution, resolution, 3), np.uint8)
    landmarks = np.empty(frontal.shape, np.float32)
    for t in range(num_frames):
        placed = {"rotation": rotations[t], "translation": motion.translation[t]}
        posed = pose(frontal[t], **placed)
        large = draw_frame(
            portrait,
            head,
            person,
            landmarks=posed,
            jaws={name: pose(row[t], **placed) for name, row in rows.items()},
            weights=weights[t],
            gaze=motion.gaze[t],
            **placed,
        )
        cv2.resize(large, (resolution, resolution), dst=frames[t], interpolation=cv2.INTER_AREA)
        landmarks[t] = to_pixels(posed, resolution)
    audio = np.pad(audio, (0, _SAMPLES_PER_FRAME))[: num_frames * _SAMPLES_PER_FRAME]
    phonemes = [(segment.phoneme.symbol, segment.start, segment.end) for segment in segments]
    return SyntheticClip(frames, audio, landmarks, phonemes)
