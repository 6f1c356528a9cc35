"""A portrait made ready to talk: its mesh with a closed mouth, and the rings around its face."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np

from data_pipelines.prepare.clip import Rejected
from data_pipelines.puppets.driver import FLIP_Y, frontal_meshes, inner_gap
from data_pipelines.puppets.topology import (
    FACE_OVAL,
    LOWER_INNER_LIP,
    UPPER_INNER_LIP,
)
from moditalker_jax.faces import FaceFinder
from moditalker_jax.landmarks import Poses
from moditalker_jax.media.image import read_image

MIN_FACE = 60
"""Pixels from brow to chin."""
MIN_SATURATION = 12.0
"""Mean difference of the largest and the smallest colour of a pixel below which a face is grey."""
OPEN_GAP = 0.035
"""Between the inner lips, in units of the mean face; above it teeth are seen."""


@dataclasses.dataclass(frozen=True)
class Portrait:
    """A still face.

    Attributes:
      picture: uint8 (H, W, 3) RGB.
      mesh: (468, 3) in pixels of the picture, as found.
      frontal: (468, 3) in face axes, as found.
      poses: lead from the frontal mesh to the picture, for one frame.
      gap: (11,) heights between the inner lips from corner to corner, in face axes.
    """

    picture: np.ndarray
    mesh: np.ndarray
    frontal: np.ndarray
    poses: Poses
    gap: np.ndarray

    @property
    def shows_teeth(self) -> bool:
        """Whether the mouth is open far enough to see into it."""
        return float(self.gap[2:-2].mean()) > OPEN_GAP

    @property
    def skin(self) -> np.ndarray:
        """(3,) mean colour of the cheeks, in levels of 255."""
        return skin_colour(self.picture, self.mesh)


def read_portrait(path: Path, finder: FaceFinder, *, mirrored: bool = False) -> Portrait:
    """Reads a portrait.

    Raises:
      InputError: it is no readable picture.
      Rejected: it has no face, several, a small one or one without colours, named with the file.
    """
    picture = read_image(path)
    faces = finder.find(picture)
    if not faces:
        raise Rejected("no_face", f"{path}: no face found; give a picture of one frontal face")
    if len(faces) > 1:
        raise Rejected(
            "several_faces", f"{path}: {len(faces)} faces found; crop the picture to one of them"
        )
    if np.ptp(faces[0].mesh[:, 1]) < MIN_FACE:
        raise Rejected(
            "too_small", f"{path}: the face is under {MIN_FACE} pixels; give a larger picture"
        )
    if mirrored:
        picture = np.ascontiguousarray(picture[:, ::-1])
        faces = finder.find(picture)
        if not faces:
            raise Rejected("no_face", f"{path}: no face found in the mirror; leave it out")
    mesh = faces[0].mesh
    if _saturation(picture, mesh) < MIN_SATURATION:
        raise Rejected("no_colour", f"{path}: has no colours; give a picture in colour")
    frontal, poses = frontal_meshes(mesh[None])
    gap = frontal[0, UPPER_INNER_LIP, 1] - frontal[0, LOWER_INNER_LIP, 1]
    return Portrait(picture, mesh, frontal[0], poses, np.maximum(gap, 0.0))


def close_mouth(portrait: Portrait, opening: np.ndarray) -> np.ndarray:
    """The portrait's frontal mesh (468, 3) with its lips together.

    Args:
      portrait: with an open or a closed mouth.
      opening: (468, 3) what `driver.opening_direction` returns: how a mouth opens.
    """
    return keep_lips_apart(portrait.frontal - max(inner_gap(portrait.frontal), 0.0) * opening)


def keep_lips_apart(frontal: np.ndarray) -> np.ndarray:
    """Frontal meshes (..., 468, 3) whose inner lips do not pass through each other."""
    upper, lower = frontal[..., UPPER_INNER_LIP, 1], frontal[..., LOWER_INNER_LIP, 1]
    overlap = np.maximum(lower - upper, 0.0) / 2
    apart = frontal.copy()
    apart[..., UPPER_INNER_LIP, 1] = upper + overlap
    apart[..., LOWER_INNER_LIP, 1] = lower - overlap
    return apart


@dataclasses.dataclass(frozen=True)
class Rings:
    """Points around the face that follow it in part, and the picture's own edge that does not.

    Attributes:
      frontal: (K, 3) in face axes.
      follow: (K,) share of the head's motion that each takes.
      rest: (K, 2) where they are in the picture, in pixels.
    """

    frontal: np.ndarray
    follow: np.ndarray
    rest: np.ndarray


RING_SCALES = (1.25, 1.6, 2.1, 3.5)
RING_FOLLOW = (0.95, 0.7, 0.3, 0.0)
BELOW_CHIN = 0.45
"""How much less the points below the chin follow: the neck turns less than the head."""


def rings_around(portrait: Portrait) -> Rings:
    """Rings of as many points as the mesh's outline has, one around the other."""
    oval = portrait.mesh[FACE_OVAL]
    centre = oval[:, :2].mean(axis=0)
    rest, follow, depth = [], [], []
    size = np.ptp(oval[:, 1])
    low = np.clip((oval[:, 1] - centre[1]) / (size / 2), 0.0, 1.0)
    for scale, share in zip(RING_SCALES, RING_FOLLOW, strict=True):
        ring = centre + (oval[:, :2] - centre) * scale
        rest.append(ring)
        follow.append(share * (1.0 - BELOW_CHIN * low))
        depth.append(oval[:, 2] - 0.1 * size * (scale - 1.0))
    points = np.concatenate([np.concatenate(rest), np.concatenate(depth)[:, None]], axis=1)
    poses = portrait.poses
    frontal = (points * FLIP_Y - poses.shift[0]) @ poses.rotation[0] / poses.scale[0]
    return Rings(frontal, np.concatenate(follow), np.concatenate(rest))


def skin_colour(picture: np.ndarray, mesh: np.ndarray) -> np.ndarray:
    """(3,) median colour around the points of both cheeks."""
    height, width = picture.shape[:2]
    patches = []
    for point in mesh[[50, 280, 205, 425], :2]:
        x = int(np.clip(point[0], 3, width - 4))
        y = int(np.clip(point[1], 3, height - 4))
        patches.append(picture[y - 3 : y + 4, x - 3 : x + 4].reshape(-1, 3))
    return np.median(np.concatenate(patches), axis=0)


def _saturation(picture: np.ndarray, mesh: np.ndarray) -> float:
    hull = cv2.convexHull(np.round(mesh[:, :2]).astype(np.int32))
    mask = np.zeros(picture.shape[:2], np.uint8)
    cv2.fillConvexPoly(mask, hull, 1)
    pixels = picture[mask > 0].astype(np.float32)
    return float((pixels.max(axis=1) - pixels.min(axis=1)).mean())
