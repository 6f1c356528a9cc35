"""Contact sheets: moments of many videos as one picture, to look at."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from moditalker_jax.media.image import write_png

MOMENTS = 8
SIDE = 160


def strip(frames: np.ndarray, *, moments: int = MOMENTS) -> np.ndarray:
    """Evenly spaced frames of uint8 (T, H, W, 3), side by side."""
    shown = np.linspace(0, len(frames) - 1, moments + 2).astype(int)[1:-1]
    return np.concatenate(
        [cv2.resize(frames[k], (SIDE, SIDE), interpolation=cv2.INTER_CUBIC) for k in shown], axis=1
    )


def write_sheets(out: Path, name: str, rows: Sequence[np.ndarray], *, rows_each: int = 8) -> None:
    """Strips of equal size, one below the other, as OUT/NAME_1.png, OUT/NAME_2.png, ..."""
    for number, start in enumerate(range(0, len(rows), rows_each), 1):
        write_png(out / f"{name}_{number}.png", np.concatenate(rows[start : start + rows_each]))
