"""Features of waveforms of any length, from overlapping windows of one length."""

from collections.abc import Callable

import numpy as np


def window_starts(num_steps: int, *, window: int, overlap: int) -> list[int]:
    """First steps of the windows that cover `num_steps`, the last one ending with the last step."""
    if num_steps <= window:
        return [0]
    starts = list(range(0, num_steps - window, window - overlap))
    return [*starts, num_steps - window]


def encode_in_windows(
    encode: Callable[[int, int], np.ndarray], num_steps: int, *, window: int, overlap: int
) -> np.ndarray:
    """Features (num_steps, D), crossfaded where windows overlap.

    A step's features depend on the sound around it, which a window's first and last steps do not
    have on one side. There the weights fall to 0, so that joins do not show.

    Args:
      encode: given a first step and a number of steps (at most `window`), their features (n, D).
      num_steps: steps of the whole waveform.
      window: steps of one window.
      overlap: steps that neighbours share; the last window may share more.
    """
    length = min(window, num_steps)
    from_side = np.minimum(np.arange(length), np.arange(length)[::-1]) + 1
    weights = np.minimum(from_side / overlap, 1.0)[:, None]
    total, weight_sum = 0.0, np.zeros((num_steps, 1))
    for start in window_starts(num_steps, window=window, overlap=overlap):
        part = slice(start, start + length)
        features = encode(start, length)
        if np.isscalar(total):
            total = np.zeros((num_steps, features.shape[1]))
        total[part] += weights * features
        weight_sum[part] += weights
    return (total / weight_sum).astype(np.float32)
