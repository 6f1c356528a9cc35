"""A canvas in face units, with the curves and soft masks that portraits are painted with."""

import cv2
import numpy as np

from data_pipelines.synthetic.head import VIEW

SIZE = 768
"""Pixels along a side of the canvas."""


class Easel:
    """A float RGBA canvas over the view, painted in face units."""

    def __init__(self):
        line = (np.arange(SIZE) + 0.5) / SIZE * VIEW - VIEW / 2
        self.x, self.y = np.meshgrid(line, line)
        self.colour = np.zeros((SIZE, SIZE, 3))
        self.alpha = np.zeros((SIZE, SIZE))

    def polygon(self, points: np.ndarray, softness: float = 0.01) -> np.ndarray:
        """Mask in [0, 1] of a closed polygon (n, 2), its edge blurred by `softness` units."""
        pixels = (np.asarray(points)[:, :2] / VIEW + 0.5) * SIZE - 0.5
        mask = np.zeros((SIZE, SIZE), np.uint8)
        cv2.fillPoly(mask, [np.round(pixels * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
        return self.blur(mask / 255.0, softness)

    def ellipse(self, centre, radii, angle: float = 0.0, softness: float = 0.3) -> np.ndarray:
        """Mask of an ellipse whose edge fades over `softness` of its radius."""
        cos, sin = np.cos(angle), np.sin(angle)
        dx, dy = self.x - centre[0], self.y - centre[1]
        u, v = (dx * cos + dy * sin) / radii[0], (dy * cos - dx * sin) / radii[1]
        return np.clip((1 - np.hypot(u, v)) / softness + 0.5, 0, 1)

    def glow(self, centre, radii) -> np.ndarray:
        """A Gaussian spot."""
        u, v = (self.x - centre[0]) / radii[0], (self.y - centre[1]) / radii[1]
        return np.exp(-0.5 * (u**2 + v**2))

    def blur(self, image: np.ndarray, units: float) -> np.ndarray:
        """Gaussian blur whose sigma is given in face units."""
        return cv2.GaussianBlur(image, (0, 0), max(units * SIZE / VIEW, 0.3))

    def lay(self, colour: np.ndarray, mask: np.ndarray) -> None:
        """Paint colour (3,) or (H, W, 3) over what is there, and make it opaque."""
        self.colour += mask[..., None] * (colour - self.colour)
        self.alpha = np.maximum(self.alpha, mask)

    def tint(self, colour, mask: np.ndarray) -> None:
        """Blend towards a colour without changing what is opaque."""
        self.colour += mask[..., None] * (np.asarray(colour, dtype=float) - self.colour)

    def darken(self, mask: np.ndarray) -> None:
        """Multiply by 1 - mask, warmly: red fades least, as in skin."""
        self.colour *= 1 - mask[..., None] * np.array([0.82, 1.0, 1.06])

    def layer(self, size: int) -> np.ndarray:
        """(size, size, 4) uint8 with RGB multiplied by alpha."""
        rgba = np.concatenate([self.colour * self.alpha[..., None], 255 * self.alpha[..., None]], 2)
        rgba = cv2.resize(np.clip(rgba, 0, 255), (size, size), interpolation=cv2.INTER_AREA)
        return np.round(rgba).astype(np.uint8)


def spline(points: np.ndarray, per_segment: int = 12) -> np.ndarray:
    """Closed Catmull-Rom curve through points (n, d) -> (n * per_segment, d)."""
    t = np.linspace(0, 1, per_segment, endpoint=False)[:, None, None]
    p = [np.roll(points, shift, axis=0) for shift in (1, 0, -1, -2)]
    curve = p[1] + 0.5 * t * (
        p[2]
        - p[0]
        + t * (2 * p[0] - 5 * p[1] + 4 * p[2] - p[3] + t * (3 * (p[1] - p[2]) + p[3] - p[0]))
    )
    return curve.transpose(1, 0, 2).reshape(-1, points.shape[1])


def mirrored(points) -> np.ndarray:
    """Close a left-half outline (from the middle down the left) with its mirror image."""
    points = np.asarray(points, dtype=float)
    return np.concatenate([points, points[::-1][points[::-1, 0] != 0] * [-1, 1]])


def spline_open(points: np.ndarray) -> np.ndarray:
    """Open curve through points (n, d), the ends included."""
    closed = spline(np.concatenate([points, points[::-1]]), 10)
    return closed[: 10 * (len(points) - 1) + 1]
