"""Figures of each stage on one stranger's photo or recording."""

from __future__ import annotations

import dataclasses

import cv2
import jax
import jax.numpy as jnp
import numpy as np

from moditalker_jax.evaluation.found_faces import found_again, seen_landmarks
from moditalker_jax.faces.finder import FaceFinder
from moditalker_jax.generation.blending import face_mask
from moditalker_jax.generation.frames import FrameGenerator
from moditalker_jax.generation.motion import MotionGenerator
from moditalker_jax.generation.reference import Reference
from moditalker_jax.generation.talking_video import TalkingVideo
from moditalker_jax.landmarks import fill_missing_landmarks, frontalize, mouth_opening
from moditalker_jax.metrics.landmarks import mouth_correlation, still_mouth_ratio
from moditalker_jax.metrics.lpips import lpips
from moditalker_jax.training.stages.autoencoder import mouth_mask

RECONSTRUCTED_FRAMES = 32
SAMPLES = 8
LPIPS_SIDE = 64
"""Lower faces are brought to squares of as many pixels for LPIPS."""

Figures = dict[str, float]


@dataclasses.dataclass(frozen=True)
class Reconstruction:
    """Frames through the autoencoder and back."""

    frames: np.ndarray
    made: np.ndarray
    figures: Figures


def reconstruct(reference: Reference, generator: FrameGenerator) -> Reconstruction:
    """The first `RECONSTRUCTED_FRAMES` frames of a recording, and how near they come."""
    frames = reference.frames[:RECONSTRUCTED_FRAMES]
    made = generator.reconstruct(frames)
    landmarks = jnp.asarray(reference.landmarks[None, : len(frames)])
    boxes = np.asarray(mouth_mask(landmarks, frames.shape[1]))[0, ..., 0] > 0
    figures = {"psnr": psnr(made, frames), "mouth_psnr": psnr(made, frames, boxes)}
    return Reconstruction(frames, made, figures)


def follow_speech(
    truth: np.ndarray, audio_features: np.ndarray, motion: MotionGenerator
) -> tuple[Figures, Figures]:
    """How AToM follows a recording's mouth: of one sample, and of the mean of `SAMPLES`.

    A mouth's place is no part of speech: the motion is moved so that its mean over the recording
    is the true one.

    Args:
      truth: (T, 68, 3) frontal landmarks of the recording.
      audio_features: (2T, D) of its sound.
      motion: AToM.
    """
    samples = [
        motion(audio_features, truth[0], jax.random.key(seed))[: len(truth)]
        for seed in range(SAMPLES)
    ]
    return tuple(motion_figures(made, truth) for made in (samples[0], np.mean(samples, axis=0)))


def motion_figures(landmarks: np.ndarray, truth: np.ndarray) -> Figures:
    """Correlation of the mouth's opening, and the mouth's error over that of the best still one."""
    placed = landmarks + (truth.mean(axis=0) - landmarks.mean(axis=0))
    return {
        "correlation": mouth_correlation(placed, truth),
        "error": still_mouth_ratio(placed, truth),
    }


def asked_and_seen(video: TalkingVideo, finder: FaceFinder) -> Figures:
    """Whether a generated video does what its landmarks ask: those given, and those found in it."""
    seen = seen_landmarks(video.frames, finder)
    found = np.isfinite(seen[:, 0, 0])
    if not found.any():
        return {"correlation": np.nan, "ratio": np.nan, "found": 0.0}
    asked = mouth_opening(video.landmarks[found] * video.frames.shape[1])
    opening = mouth_opening(seen[found])
    return {
        "correlation": float(np.corrcoef(asked, opening)[0, 1]),
        "ratio": float(opening.std() / max(asked.std(), 1e-9)),
        "found": float(found.mean()),
    }


def beside_truth(video: TalkingVideo, reference: Reference, finder: FaceFinder) -> Figures:
    """A recording that says its own words again, beside itself: mouth, and pixels below the nose.

    LPIPS is of the mouth and chin, AlexNet's.
    """
    frames, truth = video.frames, reference.frames[: len(video.frames)]
    true_landmarks = reference.landmarks[: len(frames)]
    found, _ = found_again(frames, finder)
    true_frontal = frontalize(fill_missing_landmarks(true_landmarks))[0]
    side = frames.shape[1]
    masks = np.stack([face_mask(points, side) > 0.5 for points in true_landmarks])
    lower = [lower_face_box(points, side) for points in true_landmarks]
    return {
        "mouth_correlation": mouth_correlation(found, true_frontal),
        "lower_psnr": psnr(frames, truth, masks),
        "lower_lpips": float(lpips(_cut(frames, lower), _cut(truth, lower)).mean()),
    }


def psnr(made: np.ndarray, truth: np.ndarray, masks: np.ndarray | None = None) -> float:
    """Mean over frames of the PSNR in dB of uint8 (T, H, W, 3), inside bool masks (T, H, W)."""
    errors = np.square(made.astype(np.float64) - truth).mean(axis=-1)
    if masks is None:
        masks = np.ones(errors.shape, bool)
    means = np.array([e[m].mean() for e, m in zip(errors, masks, strict=True) if m.any()])
    return float(np.mean(10 * np.log10(255.0**2 / np.maximum(means, 1e-9))))


def lower_face_box(landmarks: np.ndarray, side: int) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) in pixels of the jaw below the nose."""
    points = np.concatenate([landmarks[3:14, :2], landmarks[33:34, :2]]) * side
    left, top = np.floor(points.min(axis=0)).astype(int)
    right, bottom = np.ceil(points.max(axis=0)).astype(int)
    left, top = min(max(left, 0), side - 8), min(max(top, 0), side - 8)
    return left, top, min(max(right, left + 8), side), min(max(bottom, top + 8), side)


def _cut(frames: np.ndarray, boxes: list[tuple[int, int, int, int]]) -> np.ndarray:
    size = (LPIPS_SIDE, LPIPS_SIDE)
    return np.stack(
        [
            cv2.resize(frame[top:bottom, left:right], size)
            for frame, (left, top, right, bottom) in zip(frames, boxes, strict=True)
        ]
    )
