"""A head in three dimensions: landmarks, expressions, pose, and the surface between landmarks.

Units as in `template`: half a face width; x right, y down, z towards the viewer.
"""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from scipy.interpolate import RBFInterpolator
from scipy.ndimage import grey_dilation

from data_pipelines.synthetic.articulation import Motion
from data_pipelines.synthetic.speakers import Speaker, get_speaker
from data_pipelines.synthetic.template import FIELDS, FLIP, MEAN, SHUT_FRACTION, SURFACE_LEFT

VIEW = 4.0
"""Side of the picture in face units."""

GRID = 97
"""Nodes along a side of the coarse grid that carries surface and displacement fields."""

_PIVOT = np.array([0.0, 0.7, 0.1])
_SCREEN_CENTRE = np.array([0.0, 0.05])
_STEEPEST = 3.2
_ITERATIONS = 8
_DEPTH_ORIGIN = 0.95
"""The depth that counts as 0 in pixels: as in MediaPipe's meshes, about that of the eyes."""

SKIN_FIELDS = ("opening", "spread", "rounding", "brows")
"""Expressions that move the painted skin; the others move only lips, which are drawn anew."""


def _bump(values: np.ndarray, centre: float, width: float) -> np.ndarray:
    return np.exp(-0.5 * ((values - centre) / width) ** 2)


def personal(points: np.ndarray, speaker: Speaker) -> np.ndarray:
    """Points (..., 3) of the mean head moved to where this speaker has them."""
    shape, moved = speaker.shape, np.array(points, dtype=float)
    x, y = points[..., 0], points[..., 1]
    lower = 1 / (1 + np.exp(-(y - 0.75) / 0.12))
    eyes = _bump(y, -0.33, 0.14) * _bump(np.abs(x), 0.46, 0.22)
    mouth = _bump(y, 0.68, 0.17) * _bump(x, 0.0, 0.4)
    nose = _bump(x, 0.0, 0.2) * _bump(y, 0.2, 0.25)
    chin = 1 / (1 + np.exp(-(y - 1.05) / 0.08))
    brow = _bump(y, -0.65, 0.12)
    moved[..., 0] = x * (1 + (shape["jaw"] - 1) * lower + (shape["mouth"] - 1) * mouth)
    moved[..., 0] += np.sign(x) * eyes * (0.46 * (shape["eye_gap"] - 1))
    moved[..., 0] += np.sign(x) * eyes * (shape["eye_size"] - 1) * (np.abs(x) - 0.46)
    moved[..., 1] += eyes * (shape["eye_size"] - 1) * (y + 0.33) + nose * (shape["nose"] - 1) * 0.5
    moved[..., 1] += chin * (shape["chin"] - 1) * 0.8 + brow * (shape["brow"] - 1) * 0.6
    moved[..., 1] *= shape["height"]
    return moved


@dataclass(frozen=True)
class Head:
    """One speaker's head at rest and its fields on the coarse grid.

    `rest` (68, 3); `surface` (GRID, GRID) z of the skin; `fields` (len(SKIN_FIELDS), GRID, GRID, 3)
    displacement of the skin per unit of expression. The grid spans [-VIEW/2, VIEW/2] in x and y.
    """

    rest: np.ndarray
    surface: np.ndarray
    fields: np.ndarray


@lru_cache(maxsize=4)
def grid_points(nodes: int) -> np.ndarray:
    """(nodes, nodes, 2) x and y of a square grid over the view."""
    line = np.linspace(-VIEW / 2, VIEW / 2, nodes)
    return np.stack(np.meshgrid(line, line), axis=-1)


@lru_cache(maxsize=32)
def get_head(number: int) -> Head:
    """The head of the speaker with this number (cached)."""
    speaker = get_speaker(number)
    rest = personal(MEAN, speaker)
    off_middle = SURFACE_LEFT[SURFACE_LEFT[:, 0] != 0]
    extra = personal(np.concatenate([SURFACE_LEFT, off_middle * FLIP]), speaker)
    grid = grid_points(GRID).reshape(-1, 2)

    outer = np.r_[0:60]  # The inner lips coincide when closed and move apart: no field there.
    known = np.concatenate([rest[outer], extra])
    surface = RBFInterpolator(known[:, :2], known[:, 2], smoothing=2e-3)(grid)

    # Skin just outside the jaw goes with it; the rest of the head stays.
    below = rest[2:15] + 0.25 * (rest[2:15] - rest[33])
    far = extra[np.abs(extra[:, 1] - 0.3) > 1.3]
    sites = np.concatenate([rest[outer], below, far, extra[extra[:, 1] < 0.1]])[:, :2]
    sites, unique = np.unique(np.round(sites, 4), axis=0, return_index=True)
    fields = []
    for name in SKIN_FIELDS:
        moves = np.zeros(
            (outer.size + below.shape[0] + far.shape[0] + np.sum(extra[:, 1] < 0.1), 3)
        )
        moves[: outer.size] = FIELDS[name][outer]
        moves[outer.size : outer.size + below.shape[0]] = FIELDS[name][2:15]
        field = RBFInterpolator(sites, moves[unique], smoothing=1e-3, neighbors=40)(grid)
        fields.append(field.reshape(GRID, GRID, 3))
    surface = _limit_slope(np.clip(surface, -0.4, 1.5).reshape(GRID, GRID))
    return Head(rest, surface.astype(np.float32), np.array(fields, dtype=np.float32))


def _limit_slope(surface: np.ndarray) -> np.ndarray:
    """The lowest surface above the given one that is nowhere steeper than `_STEEPEST`.

    The sides of a head fall off so steeply that a turned one would hide part of its own painting,
    and `sampling_map` would find no unique source.
    """
    reach = 12
    offsets = np.arange(-reach, reach + 1) * VIEW / (GRID - 1)
    cone = -_STEEPEST * np.hypot(offsets[:, None], offsets[None])
    return grey_dilation(surface, structure=cone, mode="nearest")


def expressions(head: Head, motion: Motion) -> np.ndarray:
    """Frontal landmarks (T, 68, 3) in face units: rest + sum of articulators times fields."""
    points = np.repeat(head.rest[None], motion.opening.size, axis=0)
    for name, field in FIELDS.items():
        points += getattr(motion, name)[:, None, None] * field
    for upper, (lower, fraction) in SHUT_FRACTION.items():
        shut = (motion.blink * fraction)[:, None]
        points[:, upper] += shut * (points[:, lower] - points[:, upper])
    return points


def rotation_matrices(angles: np.ndarray) -> np.ndarray:
    """(T, 3) yaw, pitch, roll in radians -> (T, 3, 3), applied as roll * pitch * yaw."""
    (cy, cp, cr), (sy, sp, sr) = np.cos(angles).T, np.sin(angles).T
    zero, one = np.zeros_like(cy), np.ones_like(cy)
    yaw = np.array([[cy, zero, sy], [zero, one, zero], [-sy, zero, cy]])
    pitch = np.array([[one, zero, zero], [zero, cp, sp], [zero, -sp, cp]])
    roll = np.array([[cr, -sr, zero], [sr, cr, zero], [zero, zero, one]])
    return np.einsum("ijt,jkt,klt->til", roll, pitch, yaw)


def pose(points: np.ndarray, rotation: np.ndarray, translation: np.ndarray) -> np.ndarray:
    """Points (..., 3) turned about the neck by (3, 3) and moved by (2,) or (3,); face units."""
    moved = (points - _PIVOT) @ rotation.T + _PIVOT
    moved[..., :2] += translation[:2]
    return moved


def to_pixels(points: np.ndarray, resolution: int) -> np.ndarray:
    """Face units -> pixels whose centres are integers; z gets the same scale."""
    scale = resolution / VIEW
    pixels = (points - [0.0, 0.0, _DEPTH_ORIGIN]) * scale
    pixels[..., :2] += (0.5 - _SCREEN_CENTRE / VIEW) * resolution - 0.5
    return pixels


def sampling_map(
    head: Head, weights: np.ndarray, rotation: np.ndarray, translation: np.ndarray, size: int
) -> np.ndarray:
    """Where each pixel of a posed picture lies on the head's frontal painting.

    The painting is size x size pixels over the view, and so is the picture. The inverse of "skin
    moves, turns and is projected" is found by fixed-point iteration on the coarse grid.

    Args:
      weights: (len(SKIN_FIELDS),) expressions.
      rotation: (3, 3). translation: (2,) in face units.

    Returns:
      (size, size, 2) float32 for `cv2.remap`.
    """
    field = np.tensordot(weights.astype(np.float32), head.fields, axes=1)
    field[..., 2] += head.surface
    screen = grid_points(GRID) + _SCREEN_CENTRE - translation[:2] - _PIVOT[:2]
    inverse = np.linalg.inv(rotation[:2, :2])
    here = grid_points(GRID)
    for _ in range(_ITERATIONS):
        nodes = ((here / VIEW + 0.5) * (GRID - 1)).astype(np.float32)
        moved = cv2.remap(field, nodes, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        depth = (moved[..., 2:] - _PIVOT[2]) * rotation[:2, 2]
        here = (screen - depth) @ inverse.T + _PIVOT[:2] - moved[..., :2]
    coarse = ((here / VIEW + 0.5) * size - 0.5).astype(np.float32)
    return cv2.remap(coarse, _nodes_of_pixels(size), None, cv2.INTER_LINEAR)


@lru_cache(maxsize=4)
def _nodes_of_pixels(size: int) -> np.ndarray:
    """Where each pixel's centre lies between the nodes of the coarse grid (size, size, 2)."""
    pixel = (np.arange(size, dtype=np.float32) + 0.5) / size * (GRID - 1)
    return np.stack(np.meshgrid(pixel, pixel), axis=-1)
