"""One frame of a talking head, from a person's layers and this frame's landmarks."""

import cv2
import numpy as np

from data_pipelines.synthetic.easel import spline_open
from data_pipelines.synthetic.head import VIEW, Head, sampling_map, to_pixels
from data_pipelines.synthetic.portrait import Portrait
from data_pipelines.synthetic.speakers import Speaker

_SHIFT = 4
_UPPER_LID = slice(0, 4)
_LIPS_MARGIN = 0.12


class _Patch:
    """A rectangle of the canvas in which anti-aliased shapes are laid with soft edges."""

    def __init__(self, canvas: np.ndarray, points: np.ndarray, margin: float, soft: float):
        size = canvas.shape[0]
        low = np.clip(np.floor(points.min(axis=0) - margin), 0, size - 2).astype(int)
        high = np.clip(np.ceil(points.max(axis=0) + margin), low + 2, size).astype(int)
        self._view = canvas[low[1] : high[1], low[0] : high[0]]
        self._low, self._soft = low, soft
        self.colour = self._view.astype(np.float32)

    def mask(self, points: np.ndarray, soft: float | None = None) -> np.ndarray:
        """Mask in [0, 1] of a filled polygon (n, 2) in canvas pixels."""
        mask = np.zeros(self.colour.shape[:2], np.uint8)
        fixed = np.round((points - self._low) * (1 << _SHIFT)).astype(np.int32)
        cv2.fillPoly(mask, [fixed], 255, cv2.LINE_AA, _SHIFT)
        return self._soften(mask, soft)

    def line(self, points: np.ndarray, width: float, soft: float | None = None) -> np.ndarray:
        """Mask of an open line of `width` pixels."""
        mask = np.zeros(self.colour.shape[:2], np.uint8)
        fixed = np.round((points - self._low) * (1 << _SHIFT)).astype(np.int32)
        cv2.polylines(mask, [fixed], False, 255, max(1, round(width)), cv2.LINE_AA, _SHIFT)
        return self._soften(mask, soft) * min(1.0, width)

    def disc(self, centre: np.ndarray, radius: float, edge: float = 1.0) -> np.ndarray:
        """Mask of a disc whose edge fades over `edge` pixels."""
        height, width = self.colour.shape[:2]
        x = np.arange(width, dtype=np.float32) + self._low[0] - centre[0]
        y = np.arange(height, dtype=np.float32)[:, None] + self._low[1] - centre[1]
        return np.clip((radius - np.sqrt(x**2 + y**2)) / edge + 0.5, 0, 1)

    def _soften(self, mask: np.ndarray, soft: float | None) -> np.ndarray:
        soft = self._soft if soft is None else soft
        mask = cv2.GaussianBlur(mask, (0, 0), soft) if soft > 0.2 else mask
        return mask.astype(np.float32) / 255

    def lay(self, colour, mask: np.ndarray) -> None:
        self.colour += mask[..., None] * (np.asarray(colour, np.float32) - self.colour)

    def darken(self, mask: np.ndarray) -> None:
        self.colour *= 1 - mask[..., None]

    def done(self) -> None:
        """Write the patch back into the canvas."""
        self._view[:] = np.clip(self.colour + 0.5, 0, 255).astype(np.uint8)


def _blend(canvas: np.ndarray, layer: np.ndarray) -> np.ndarray:
    """Layer (H, W, 4), RGB multiplied by alpha, over canvas (H, W, 3); both uint8."""
    through = cv2.cvtColor(255 - layer[..., 3], cv2.COLOR_GRAY2RGB)
    return cv2.add(
        cv2.multiply(canvas, through, scale=1 / 255), cv2.cvtColor(layer, cv2.COLOR_RGBA2RGB)
    )


def _draw_eye(canvas, eye, speaker: Speaker, gaze: np.ndarray, unit: float) -> None:
    """`eye` (6, 2): corner, two of the upper lid, corner, two of the lower; canvas pixels."""
    upper = spline_open(eye[_UPPER_LID])
    lower = spline_open(eye[[3, 4, 5, 0]])
    centre = eye[[0, 3]].mean(axis=0) + [0, -0.012 * unit]
    height = 0.5 * np.linalg.norm(eye[1] + eye[2] - eye[4] - eye[5]) / unit
    patch = _Patch(canvas, eye, 0.16 * unit, 0.006 * unit)
    opening = patch.mask(np.concatenate([upper, lower]))
    patch.lay((232, 226, 220), opening)
    patch.darken(0.35 * opening * (1 - patch.disc(centre, 0.17 * unit, 0.12 * unit)))
    iris_at = centre + gaze * [0.055 * unit, 0.02 * unit] + [0, 0.004 * unit]
    soft = 0.02 * unit
    patch.lay(speaker.iris * 0.42, opening * patch.disc(iris_at, 0.094 * unit, soft))
    patch.lay(speaker.iris * 1.05, opening * patch.disc(iris_at, 0.078 * unit, 2 * soft))
    patch.lay(
        speaker.iris * 1.4 + 12,
        0.5 * opening * patch.disc(iris_at + [0.0, 0.03 * unit], 0.05 * unit, 2 * soft),
    )
    patch.lay((12, 10, 10), opening * patch.disc(iris_at, 0.040 * unit, soft))
    patch.darken(0.42 * opening * patch.line(upper + [0, 0.02 * unit], 0.05 * unit, 0.015 * unit))
    patch.lay(
        (250, 250, 250),
        opening * patch.disc(iris_at + [-0.03 * unit, -0.032 * unit], 0.02 * unit, soft),
    )
    lash = 0.9 if speaker.hair_style == "long" else 0.75
    patch.lay(speaker.hair * 0.25 + 4, lash * patch.line(upper, 0.03 * unit, 0.006 * unit))
    patch.darken(0.30 * patch.line(lower, 0.018 * unit, 0.008 * unit))
    crease = upper + [0, -(0.035 + 0.25 * min(height, 0.15)) * unit]
    patch.darken(0.30 * patch.line(crease, 0.018 * unit, 0.012 * unit))
    patch.done()


def _draw_teeth(
    patch: _Patch, inside: np.ndarray, jaws: dict[str, np.ndarray], unit: float
) -> None:
    """Upper and lower teeth: rows (n, 2) along their biting edges, seen where `inside` is."""
    upper, lower = jaws["upper"], jaws["lower"]
    back = inside * patch.mask(
        np.concatenate([lower, lower[::-1] + [0, 0.14 * unit]]), 0.012 * unit
    )
    patch.lay((176, 164, 152), 0.75 * back)
    front = inside * patch.mask(
        np.concatenate([upper, upper[::-1] - [0, 0.22 * unit]]), 0.008 * unit
    )
    patch.lay((238, 232, 222), 0.95 * front)
    for left, right in zip(upper[2:-2:2], upper[3:-1:2], strict=False):
        gap = 0.5 * (left + right)
        patch.darken(
            0.10 * front * patch.line(np.array([gap, gap - [0, 0.12 * unit]]), 0.012 * unit)
        )


def _draw_mouth(canvas, lips: np.ndarray, jaws, speaker: Speaker, unit: float) -> None:
    """`lips` (20, 2): landmarks 48 to 67 in canvas pixels."""
    outer_up, outer_low = spline_open(lips[0:7]), spline_open(lips[[6, 7, 8, 9, 10, 11, 0]])
    inner_up, inner_low = spline_open(lips[12:17]), spline_open(lips[[16, 17, 18, 19, 12]])
    patch = _Patch(canvas, lips, _LIPS_MARGIN * unit, 0.010 * unit)
    colour = speaker.lips
    patch.darken(0.16 * patch.mask(np.concatenate([outer_up, outer_low]), 0.05 * unit))
    upper = patch.mask(np.concatenate([outer_up, inner_up[::-1]]))
    lower = patch.mask(np.concatenate([outer_low, inner_low[::-1]]))
    patch.lay(colour * 0.80, 0.92 * upper)
    patch.lay(colour * 1.02, 0.92 * lower)
    ridge = 0.5 * (inner_low[::2] + outer_low[::3])
    patch.lay(
        np.clip(colour * 1.25 + 34, 0, 255),
        0.42 * lower * patch.line(ridge[6:15], 0.05 * unit, 0.03 * unit),
    )
    patch.lay(colour * 0.62, 0.55 * upper * patch.line(inner_up, 0.05 * unit, 0.025 * unit))
    patch.darken(0.25 * lower * patch.line(outer_low, 0.04 * unit, 0.025 * unit))
    height = np.linalg.norm(lips[14] - lips[18]) / unit
    inside = patch.mask(np.concatenate([inner_up, inner_low]), 0.006 * unit)
    patch.lay((46, 16, 16), inside)
    if height > 0.03:
        tongue = jaws["tongue"]
        patch.lay((150, 70, 68), 0.8 * inside * patch.mask(tongue, 0.03 * unit))
        _draw_teeth(patch, inside, jaws, unit)
        patch.darken(0.45 * inside * patch.line(inner_up, 0.06 * unit, 0.03 * unit))
        patch.darken(
            0.5 * inside * (1 - patch.disc(lips[[14, 18]].mean(axis=0), 0.24 * unit, 0.2 * unit))
        )
    seam = patch.line(inner_up, 0.022 * unit, 0.008 * unit) * np.clip(1.2 - height * 12, 0.35, 1)
    patch.lay((58, 22, 22), 0.75 * seam)
    for corner in (lips[0], lips[6]):
        patch.darken(0.35 * patch.disc(corner, 0.02 * unit, 0.05 * unit))
    patch.done()


def draw_frame(
    portrait: Portrait,
    head: Head,
    speaker: Speaker,
    *,
    landmarks: np.ndarray,
    jaws: dict[str, np.ndarray],
    weights: np.ndarray,
    rotation: np.ndarray,
    translation: np.ndarray,
    gaze: np.ndarray,
) -> np.ndarray:
    """One frame at the size of the portrait's layers, (H, W, 3) uint8.

    Args:
      landmarks: (68, 3) posed, in face units.
      jaws: rows of points (n, 3), posed, of the teeth's edges and the tongue.
      weights: expressions of the skin, as in `head.sampling_map`.
      rotation, translation, gaze: the pose and the eyes of this frame.
    """
    size = portrait.head.shape[0]
    unit = size / VIEW
    shift = np.float32([[1, 0, 0.3 * translation[0] * unit], [0, 1, 0.3 * translation[1] * unit]])
    body = cv2.warpAffine(portrait.body, shift, (size, size), borderMode=cv2.BORDER_REPLICATE)
    canvas = _blend(portrait.backdrop, body)
    source = sampling_map(head, weights, rotation, translation, size)
    canvas = _blend(canvas, cv2.remap(portrait.head, source, None, cv2.INTER_LINEAR))
    points = to_pixels(landmarks, size)[:, :2]
    for eye in (points[36:42], points[[45, 44, 43, 42, 47, 46]]):
        _draw_eye(canvas, eye, speaker, gaze, unit)
    rows = {name: to_pixels(row, size)[:, :2] for name, row in jaws.items()}
    _draw_mouth(canvas, points[48:68], rows, speaker, unit)
    return canvas
