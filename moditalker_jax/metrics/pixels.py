"""PSNR and SSIM of each frame of a video against the true one."""

from typing import Literal

import numpy as np
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

_SSIM_FORMS = {
    "wang": {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False},
    "skimage": {},
}


def psnr(frames: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Peak signal-to-noise ratio in dB of each frame: 10 log10(255^2 / mean squared error).

    The error is the mean over a frame's pixels and its three colours. Papers differ: some take the
    error of grey pictures, or of whole clips (the authors' release does, of reconstructions), which
    is not the mean of the frames' values.

    Args:
      frames, truth: uint8 (T, H, W, 3) in RGB.

    Returns:
      (T,); infinite for equal frames, so a mean needs them capped or left out.

    Raises:
      ValueError: the videos are not uint8, or not of one shape.
    """
    check_videos(frames, truth)
    with np.errstate(divide="ignore"):
        return np.array(
            [peak_signal_noise_ratio(*pair) for pair in zip(truth, frames, strict=True)]
        )


def ssim(
    frames: np.ndarray, truth: np.ndarray, *, form: Literal["wang", "skimage"] = "wang"
) -> np.ndarray:
    """Structural similarity of each frame, in [-1, 1]; 1 is equal.

    The mean over pixels whose window lies inside the picture, and over the three colours. Papers
    differ: some take grey pictures, or pad with zeros (pytorch-ssim), which gives other values.

    Args:
      frames, truth: uint8 (T, H, W, 3) in RGB, at least 11 pixels a side.
      form: "wang" as in Wang et al., IEEE TIP 2004: windows of 11x11 under a Gaussian of 1.5
        pixels; "skimage", scikit-image's defaults: flat windows of 7x7, sample covariance.

    Returns:
      (T,).

    Raises:
      ValueError: the videos are not uint8, not of one shape, or smaller than the window.
    """
    check_videos(frames, truth)
    options = {"channel_axis": -1, "data_range": 255, **_SSIM_FORMS[form]}
    return np.array(
        [structural_similarity(*pair, **options) for pair in zip(truth, frames, strict=True)]
    )


def check_videos(frames: np.ndarray, truth: np.ndarray) -> None:
    """Raises ValueError unless both are uint8 (T, H, W, 3) of one shape."""
    if frames.shape != truth.shape or frames.ndim != 4 or frames.shape[-1] != 3:
        raise ValueError(
            f"videos (T, H, W, 3) of one shape are needed: {frames.shape}, {truth.shape}"
        )
    if frames.dtype != np.uint8 or truth.dtype != np.uint8:
        raise ValueError(f"videos of uint8 are needed: {frames.dtype}, {truth.dtype}")
