"""CPBD, the cumulative probability of blur detection (Narvekar and Karam, IEEE TIP 2011).

Sharpness without a reference: the share of edges whose blur an eye would not notice. It is reckoned
as the Python package cpbd 1.0.7 does, from which ATVGnet's script differs (a fixed Sobel threshold,
one bin less).
"""

import numpy as np
from PIL import Image
from scipy.ndimage import convolve
from skimage.feature import canny

_BLOCK = 64
"""Side of the blocks; what is left at the right and the bottom is not looked at."""

_EDGE_SHARE = 0.002
"""A block with a greater share of Canny's edge pixels counts."""

_SOBEL = np.array([[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]]) / 8

_WIDEST = 100
"""Steps that an edge is followed to either side, at most."""

_SHAPE = 3.6
_CONTRAST = 51
_WIDTH_LOW_CONTRAST, _WIDTH_HIGH_CONTRAST = 5.0, 3.0
"""Edge width whose blur is just noticed, in blocks of a contrast below `_CONTRAST` and from it."""

_JUST_NOTICED = 64
"""Percent; sharp are the edges whose rounded probability of noticed blur lies below."""


def cpbd(frame: np.ndarray) -> float:
    """Share of edges that look sharp, in [0, 1]: higher is sharper.

    An edge of width w in a block whose just noticed width is v looks blurred with probability
    1 - exp(-(w / v)^3.6). Widths are measured along rows: how far the grey levels go on rising or
    falling on both sides. A picture without edges has 0, and so has a perfectly hard step between
    two flat areas, since only strict local maxima of the gradient are edges.

    Args:
      frame: uint8 (H, W, 3) in RGB, made grey by Rec. 601, or (H, W) grey; at least 64 each side.
        Values stay in 0..255: the edge detector's thresholds are in grey levels.

    Raises:
      ValueError: the frame is not uint8, or smaller than one block.
    """
    if frame.dtype != np.uint8 or min(frame.shape[:2]) < _BLOCK:
        raise ValueError(
            f"CPBD needs uint8 of {_BLOCK} pixels a side, got {frame.dtype} {frame.shape}"
        )
    grey = np.asarray(Image.fromarray(frame).convert("L"), np.float64)
    widths = _blocks(_edge_widths(grey))
    has_edges = _blocks(canny(grey)).mean(axis=1) > _EDGE_SHARE
    contrast = np.ptp(_blocks(grey), axis=1)
    just_noticed = np.where(contrast < _CONTRAST, _WIDTH_LOW_CONTRAST, _WIDTH_HIGH_CONTRAST)
    blurred = 1 - np.exp(-((widths / just_noticed[:, None]) ** _SHAPE))
    blurred = blurred[(widths > 0) & has_edges[:, None]]
    return float(np.mean(np.rint(100 * blurred) < _JUST_NOTICED)) if blurred.size else 0.0


def _blocks(image: np.ndarray) -> np.ndarray:
    """The whole blocks (N, 64 * 64) of an image (H, W)."""
    rows, columns = (side // _BLOCK for side in image.shape)
    cut = image[: rows * _BLOCK, : columns * _BLOCK].reshape(rows, _BLOCK, columns, _BLOCK)
    return cut.transpose(0, 2, 1, 3).reshape(rows * columns, -1)


def _edge_widths(grey: np.ndarray) -> np.ndarray:
    """Width in pixels at each edge of a grey image (H, W); 0 where there is none to measure.

    Marziliano et al., ICIP 2002. Edges whose gradient is nearer to a diagonal or to the vertical
    than to the row are left out.
    """
    down, right = np.gradient(grey)
    # Of a gradient straight up or down, the reference implementation takes 0 for the angle.
    angle = np.where(right == 0, 0.0, np.degrees(np.arctan2(down, right)))
    octant = np.abs(np.rint(angle / 45))
    edges = _sobel_edges(grey)
    widths = np.where(octant == 0, _run_lengths(grey), _run_lengths(-grey))
    widths = np.where(edges & ((octant == 0) | (octant == 4)), widths, 0)
    return np.pad(widths[1:-1, 1:-1], 1)


def _sobel_edges(grey: np.ndarray) -> np.ndarray:
    """Strict local maxima, along rows or columns, of the squared Sobel gradient along rows."""
    strength = convolve(grey, _SOBEL) ** 2
    strength[strength <= 2 * np.sqrt(strength.mean())] = 0
    padded = np.pad(strength, 1)
    along_rows = (strength > padded[1:-1, :-2]) & (strength > padded[1:-1, 2:])
    along_columns = (strength > padded[:-2, 1:-1]) & (strength > padded[2:, 1:-1])
    return along_rows | along_columns


def _run_lengths(grey: np.ndarray) -> np.ndarray:
    """Width of the rising edge around each pixel (H, W): steps to its low and to its high end."""
    rises = np.diff(grey, axis=1) > 0
    lower = np.pad(_rises_before(rises), ((0, 0), (1, 0)))
    higher = np.pad(_rises_before(rises[:, ::-1])[:, ::-1], ((0, 0), (0, 1)))
    return 2 + lower + higher


def _rises_before(rises: np.ndarray) -> np.ndarray:
    """How many True end right before each place of (H, W - 1), at most `_WIDEST`."""
    places = np.arange(rises.shape[1])
    last_false = np.maximum.accumulate(np.where(rises, -1, places), axis=1)
    before = np.pad(last_false[:, :-1], ((0, 0), (1, 0)), constant_values=-1)
    return np.minimum(places - 1 - before, _WIDEST)
