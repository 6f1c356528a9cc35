"""A recording of speech as motion: how its face's mesh moves, whoever is to move like it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from data_pipelines.puppets.topology import LOWER_INNER_LIP, UPPER_INNER_LIP
from moditalker_jax.errors import InputError
from moditalker_jax.faces import FaceFinder
from moditalker_jax.faces.mapping import landmarks_from_mesh
from moditalker_jax.landmarks import Poses, fill_missing_landmarks, frontalize, smooth_landmarks
from moditalker_jax.media.video import iterate_frames

FLIP_Y = np.array([1.0, -1.0, 1.0])
MAX_SECONDS = 12.0
"""Longer recordings are cut: one puppet is one clip."""


@dataclasses.dataclass(frozen=True)
class Driver:
    """The motion of one recording.

    Attributes:
      frames: uint8 (T, H, W, 3) RGB of the recording.
      meshes: (T, 468, 3) in pixels of the frames, x right, y down, z towards the viewer.
      motion: (T, 468, 3) by how much the frontal mesh differs from that of the frame with the most
        closed mouth, in face axes: x right, y up, the face 2 wide.
      rotation: (T, 3, 3) of the head against its mean over the recording.
    """

    frames: np.ndarray
    meshes: np.ndarray
    motion: np.ndarray
    rotation: np.ndarray

    def __len__(self) -> int:
        return len(self.frames)


def read_driver(path: Path, finder: FaceFinder, *, stop: float = MAX_SECONDS) -> Driver:
    """Follows the face of a recording.

    Raises:
      InputError: it cannot be read, or its face is not found in most frames.
    """
    frames = list(iterate_frames(path, stop=stop))
    if not frames:
        raise InputError(f"{path}: holds no frames; give a recording of a talking face")
    tracker = finder.tracker()
    meshes = np.stack([tracker.mesh(frame) for frame in frames])
    if np.isnan(meshes[:, 0, 0]).mean() > 0.3:
        raise InputError(f"{path}: no face in most frames; give a recording of one frontal face")
    meshes = smooth_landmarks(fill_missing_landmarks(meshes))
    frontal, poses = frontal_meshes(meshes)
    closed = int(inner_gap(frontal).argmin())
    return Driver(
        frames=np.stack(frames),
        meshes=meshes.astype(np.float32),
        motion=(frontal - frontal[closed]).astype(np.float32),
        rotation=poses.rotation @ _mean_rotation(poses.rotation).T,
    )


def frontal_meshes(meshes: np.ndarray) -> tuple[np.ndarray, Poses]:
    """Meshes (T, 468, 3) in image axes turned to the front, in face axes, and their poses."""
    _, poses = frontalize(landmarks_from_mesh(meshes))
    points = (meshes * FLIP_Y - poses.shift[:, None]) @ poses.rotation
    return points / poses.scale[:, None, None], poses


def inner_gap(frontal: np.ndarray) -> np.ndarray:
    """(...) mean height between the inner lips of frontal meshes (..., 468, 3)."""
    gaps = frontal[..., UPPER_INNER_LIP[2:-2], 1] - frontal[..., LOWER_INNER_LIP[2:-2], 1]
    return gaps.mean(axis=-1)


def opening_direction(motion: np.ndarray) -> np.ndarray:
    """(468, 3) by how much each point moves while the inner lips part by one unit.

    Least squares over the frames of one recording or several, (T, 468, 3).
    """
    gap = inner_gap(motion)
    gap = gap - gap.mean()
    return np.einsum("t,tij->ij", gap, motion - motion.mean(axis=0)) / max(gap @ gap, 1e-9)


def _mean_rotation(rotations: np.ndarray) -> np.ndarray:
    left, _, right = np.linalg.svd(rotations.mean(axis=0))
    return left @ right
