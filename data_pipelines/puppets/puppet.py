"""One portrait that talks as a recording does: meshes moved, turned and drawn, frame by frame."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np

from data_pipelines.puppets.driver import FLIP_Y, Driver, opening_direction
from data_pipelines.puppets.portrait import (
    RING_SCALES,
    Portrait,
    close_mouth,
    keep_lips_apart,
    rings_around,
    skin_colour,
)
from data_pipelines.puppets.raster import rasterize
from data_pipelines.puppets.topology import (
    EYE_CORNERS,
    FACE_OVAL,
    LOWER_INNER_LIP,
    UPPER_INNER_LIP,
    face_triangles,
    strip,
)
from moditalker_jax.faces import CropBox
from moditalker_jax.faces.mapping import NUM_MESH_POINTS

PIVOT = np.array([0.0, -1.3, -1.0])
"""In face axes, about which heads turn: behind and below the chin."""
_FAR = -1e9


@dataclasses.dataclass(frozen=True)
class Style:
    """What differs from puppet to puppet of the same recording.

    Attributes:
      amplitude: of the mouth's motion, times the recording's.
      rest: share of the portrait's own opening that stays where the recording's mouth is closed.
      rotation: (T, 3, 3) of the head against the portrait's own pose.
      shift: (T, 2) of the head in the picture, in units of the mean face.
      blink: (T,) how far the eyes are closed, 0 to 1.
    """

    amplitude: float
    rest: float
    rotation: np.ndarray
    shift: np.ndarray
    blink: np.ndarray

    @classmethod
    def random(cls, driver: Driver, rng: np.random.Generator) -> Style:
        """Some of the recording's own head motion and slow motion of its own."""
        length = len(driver)
        lively = rng.uniform(0.2, 1.0)
        turn = lively * np.radians([4.0, 7.0, 4.0]) * _slow_noise(length, 3, rng)
        still = np.radians(rng.normal(0.0, [2.0, 3.0, 2.0]))
        own = _rotations(turn + still)
        recorded = _part_of_rotations(driver.rotation, rng.uniform(0.0, 1.0))
        return cls(
            amplitude=float(np.exp(rng.normal(0.3, 0.4))),
            rest=float(max(0.0, rng.uniform(-1.0, 0.8))),
            rotation=own @ recorded,
            shift=lively * 0.05 * _slow_noise(length, 2, rng),
            blink=_blinks(length, rng),
        )


def mesh_motion(portrait: Portrait, driver: Driver, style: Style) -> np.ndarray:
    """Frontal meshes (T, 468, 3) of the portrait that moves as the recording."""
    opening = opening_direction(driver.motion)
    motion = driver.motion * style.amplitude
    closed = close_mouth(portrait, opening)
    base = closed + style.rest * (portrait.frontal - closed)
    frontal = keep_lips_apart(base + motion)
    for upper, lower in _EYELIDS:
        gap = frontal[:, upper] - frontal[:, lower]
        frontal[:, upper] -= 0.95 * style.blink[:, None, None] * gap
    return frontal


_EYELIDS = (
    (np.array([246, 161, 160, 159, 158, 157, 173]), np.array([7, 163, 144, 145, 153, 154, 155])),
    (np.array([466, 388, 387, 386, 385, 384, 398]), np.array([249, 390, 373, 374, 380, 381, 382])),
)
"""Upper and lower lid of both eyes, from the outer corner inwards."""


@dataclasses.dataclass(frozen=True)
class PosedPuppet:
    """A puppet's points in the portrait's picture, frame by frame.

    Attributes:
      meshes: (T, 468, 3) in pixels, image axes.
      rings: (T, K, 3) likewise.
    """

    meshes: np.ndarray
    rings: np.ndarray


def pose(portrait: Portrait, frontal: np.ndarray, style: Style) -> PosedPuppet:
    """Puts frontal meshes (T, 468, 3) into the portrait's picture, turned and shifted."""
    poses = portrait.poses
    rotation, scale, shift = poses.rotation[0], poses.scale[0], poses.shift[0]

    def place(points: np.ndarray, turn: np.ndarray, move: np.ndarray) -> np.ndarray:
        turned = (points - PIVOT) @ turn.transpose(0, 2, 1) + PIVOT
        turned[..., :2] += move[:, None]
        return (turned @ rotation.T * scale + shift) * FLIP_Y

    meshes = place(frontal, style.rotation, style.shift)
    rings = rings_around(portrait)
    still = np.concatenate([rings.rest, np.zeros((len(rings.rest), 1))], axis=1)
    moved = place(np.repeat(rings.frontal[None], len(frontal), 0), style.rotation, style.shift)
    follow = rings.follow[:, None]
    # What the jaw does, the ring below it does in part.
    jaw = meshes[:, FACE_OVAL] - place(
        np.repeat(portrait.frontal[FACE_OVAL][None], len(frontal), 0), style.rotation, style.shift
    )
    counts = len(FACE_OVAL)
    moved[:, :counts] += 0.6 * jaw
    moved[:, counts : 2 * counts] += 0.25 * jaw
    placed = follow * moved + (1 - follow) * still
    placed[..., 2] = moved[..., 2]
    return PosedPuppet(meshes, placed)


class Renderer:
    """Draws posed puppets; one triangulation serves all frames and faces."""

    def __init__(self, open_mesh: np.ndarray):
        """`open_mesh`: (468, 3) frontal mesh of a face whose mouth is wide open."""
        count = len(FACE_OVAL)
        rows = [FACE_OVAL.astype(np.int64)]
        rows += [NUM_MESH_POINTS + k * count + np.arange(count) for k in range(len(RING_SCALES))]
        self._around = np.concatenate(
            [strip(a, b, closed=True) for a, b in zip(rows[:-1], rows[1:], strict=True)]
        )
        self._face = face_triangles(open_mesh)
        lips = len(UPPER_INNER_LIP)
        self._mouth = strip(np.arange(lips), lips + np.arange(lips), closed=False)

    def __call__(
        self, portrait: Portrait, driver: Driver, puppet: PosedPuppet, box: CropBox, side: int
    ) -> np.ndarray:
        """Frames uint8 (T, 2 * side, 2 * side, 3) of a crop; halve them for smooth edges."""
        gains = np.clip(portrait.skin / np.maximum(_mean_skin(driver), 1.0), 0.4, 2.5)
        rests = rings_around(portrait).rest
        sources = np.concatenate([portrait.mesh[:, :2], rests]).astype(np.float32)
        return np.stack(
            [
                self._draw(portrait, driver, puppet, t, box, side, gains, sources)
                for t in range(len(puppet.meshes))
            ]
        )

    def _draw(self, portrait, driver, puppet, t, box, side, gains, sources) -> np.ndarray:
        points = np.concatenate([puppet.meshes[t], puppet.rings[t]])
        targets = ((points[:, :2] - [box.left, box.top]) * (side / box.size) - 0.5).astype(
            np.float32
        )
        depths = points[:, 2].astype(np.float32)
        sampling = np.zeros((side, side, 2), np.float32)
        depth = np.full((side, side), _FAR, np.float32)
        far = np.full_like(depths, -1e6)
        rasterize(targets, far, sources, self._around, sampling, depth)
        rasterize(targets, depths, sources, self._face, sampling, depth)
        picture = _sample(portrait.picture, sampling, side)
        return self._with_mouth(picture, portrait, driver, t, 2 * targets + 0.5, gains)

    def _with_mouth(self, picture, portrait, driver, t, targets, gains) -> np.ndarray:
        """The picture with the inside of the mouth, targets in its own pixels."""
        upper, lower = targets[UPPER_INNER_LIP], targets[LOWER_INNER_LIP]
        recorded = driver.meshes[t]
        top, bottom = recorded[UPPER_INNER_LIP, :2], recorded[LOWER_INNER_LIP, :2]
        inside = np.clip(driver.frames[t].astype(np.float32) * gains, 0, 255).astype(np.uint8)
        drawn = self._fill(inside, upper, lower, top, bottom, len(picture))
        if portrait.shows_teeth:
            # The portrait's own teeth keep their size: lips uncover or hide them.
            shown = portrait.mesh[UPPER_INNER_LIP, :2], portrait.mesh[LOWER_INNER_LIP, :2]
            own = _lengths(*shown) * _eye_distance(targets) / _eye_distance(portrait.mesh)
            now = np.maximum(_lengths(upper, lower), 1e-3)
            teeth_end = upper + (lower - upper) * np.minimum(1.0, own / now)[:, None]
            source_end = (
                shown[0]
                + (shown[1] - shown[0]) * (np.minimum(1.0, now / np.maximum(own, 1e-3))[:, None])
            )
            teeth = self._fill(
                portrait.picture, upper, teeth_end, shown[0], source_end, len(picture)
            )
            visible = _polygon(upper, teeth_end, len(picture))
            drawn = visible * teeth + (1 - visible) * drawn
        mask = _polygon(upper, lower, len(picture))
        return np.round(mask * drawn + (1 - mask) * picture).astype(np.uint8)

    def _fill(self, picture, upper, lower, top, bottom, side) -> np.ndarray:
        """What of a picture lies between two rows of points, drawn between two others."""
        targets = np.concatenate([upper, lower]).astype(np.float32)
        sources = np.concatenate([top, bottom]).astype(np.float32)
        sampling = np.full((side, side, 2), -1.0, np.float32)
        depth = np.full((side, side), _FAR, np.float32)
        # Grown copies beneath: the soft edge of the mask must not look past the lips.
        zeros = np.zeros(len(targets), np.float32)
        centre = targets.mean(axis=0)
        for grown, level in ((1.6, -2), (1.25, -1), (1.0, 0)):
            larger = centre + (targets - centre) * np.float32(grown)
            larger[:, 1] += np.where(np.arange(len(targets)) < len(upper), -1, 1) * (grown - 1) * 4
            rasterize(larger, zeros + level, sources, self._mouth, sampling, depth)
        return cv2.remap(
            picture, sampling, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        ).astype(np.float32)


def _lengths(upper: np.ndarray, lower: np.ndarray) -> np.ndarray:
    return np.linalg.norm(lower - upper, axis=1)


def _eye_distance(points: np.ndarray) -> float:
    left, right = points[EYE_CORNERS, :2]
    return max(float(np.linalg.norm(right - left)), 1e-3)


def _sample(picture: np.ndarray, sampling: np.ndarray, side: int) -> np.ndarray:
    """The picture through a sampling map (side, side, 2), at twice its size."""
    fine = cv2.resize(sampling, (2 * side, 2 * side), interpolation=cv2.INTER_LINEAR)
    return cv2.remap(picture, fine, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _polygon(upper: np.ndarray, lower: np.ndarray, side: int) -> np.ndarray:
    """Coverage (side, side, 1) of the area between two rows of points, in [0, 1]."""
    outline = np.concatenate([upper, lower[::-1]])
    mask = np.zeros((side, side), np.uint8)
    cv2.fillPoly(mask, [np.round(outline * 16).astype(np.int32)], 255, cv2.LINE_AA, shift=4)
    return cv2.GaussianBlur(mask, (0, 0), 0.8).astype(np.float32)[..., None] / 255.0


def _mean_skin(driver: Driver) -> np.ndarray:
    return skin_colour(driver.frames[0], driver.meshes[0])


def _slow_noise(length: int, channels: int, rng: np.random.Generator) -> np.ndarray:
    """(length, channels) of about unit size, smooth over half a second."""
    noise = rng.standard_normal((length + 64, channels))
    kernel = np.exp(-0.5 * (np.arange(-30, 31) / rng.uniform(7.0, 16.0)) ** 2)
    kernel /= np.sqrt((kernel**2).sum())
    smooth = [np.convolve(noise[:, k], kernel, "same") for k in range(channels)]
    return np.stack(smooth, axis=1)[32 : 32 + length]


def _rotations(angles: np.ndarray) -> np.ndarray:
    """Matrices (T, 3, 3) of rotation vectors (T, 3) in radians."""
    return np.stack([cv2.Rodrigues(np.asarray(angle, np.float64))[0] for angle in angles])


def _part_of_rotations(rotations: np.ndarray, share: float) -> np.ndarray:
    return _rotations(np.stack([share * cv2.Rodrigues(r)[0][:, 0] for r in rotations]))


def _blinks(length: int, rng: np.random.Generator) -> np.ndarray:
    shape = np.array([0.4, 0.9, 1.0, 0.7, 0.35, 0.1])
    closed = np.zeros(length + len(shape))
    for start in np.flatnonzero(rng.random(length) < 1 / 90):
        closed[start : start + len(shape)] = np.maximum(closed[start : start + len(shape)], shape)
    return closed[:length]
