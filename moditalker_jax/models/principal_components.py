"""An autoencoder that starts as a linear codec: principal components of the patches of video.

Fresh parameters would spend most of a short training on what linear algebra knows at once. From
these the network's blocks add to a picture that is nearly right: 8x8 patches of portraits need 16
numbers for 31 dB.
"""

from typing import Any

import flax.traverse_util
import jax.numpy as jnp
import numpy as np
from einops import rearrange

from moditalker_jax.models.autoencoder import TriPlaneAutoencoder

FEATURE_POWER = 0.75
"""Features are components over their deviation to this power: the fine ones can be seen by the
blocks, and the coarse ones weigh more still."""
LATENT_DEVIATION = 0.25
"""Of the first component's latent: inside the straight part of the tanh, which bends the rest."""
LATENT_POWER = 0.25
"""Deviations of the latents are those of the components to this power."""
OTHER_PLANES = 0.1
"""By what the other planes' way into the decoder is scaled."""
_BRANCHES = ("out", "contract")


def linear_codec(params: Any, model: TriPlaneAutoencoder, video: np.ndarray) -> Any:
    """Fresh parameters changed so that plane xy codes and decodes still video linearly.

    The patch embedding takes the components of patches, plane xy keeps the first ones, and the
    decoder leads back; the other planes are as they were and start with little effect.

    Args:
      params: fresh ones of `model`.
      model: with `mean_residual` and `linear_pixels`, without which the codec would not be one.
      video: (..., H, W, 3) in [-1, 1], of what will be trained on.

    Raises:
      ValueError: the model lacks one of these fields.
    """
    if not (model.mean_residual and model.linear_pixels):
        raise ValueError("the linear codec needs mean_residual=True and linear_pixels=True")
    size, width, channels = model.patch_size, model.width, model.latent_channels
    patches = rearrange(video, "... (h p) (w q) c -> (... h w) (p q c)", p=size, q=size)
    mean, deviations, basis = _components(np.asarray(patches, np.float64), width)

    flat = dict(flax.traverse_util.flatten_dict(params, sep="/"))
    for path, value in flat.items():
        # The blocks' branches start at nothing.
        if path.split("/")[-2] in _BRANCHES and path.endswith("kernel"):
            flat[path] = value * 0.0
    power = deviations**FEATURE_POWER
    to_features = np.zeros((len(mean), width))
    to_features[:, : basis.shape[1]] = basis / power
    flat["encoder/patches/kernel"] = to_features
    flat["encoder/patches/bias"] = -mean @ to_features
    to_latents = np.zeros((width, channels))
    kept = np.arange(min(channels, basis.shape[1]))
    feature_deviations = deviations / power
    wanted = LATENT_DEVIATION * (deviations / deviations[0]) ** LATENT_POWER
    to_latents[kept, kept] = (wanted / feature_deviations)[kept]
    flat["encoder/latents_xy/kernel"] = to_latents
    # The first position is read, and the transformer gave it its place's embedding.
    positions = np.asarray(flat["encoder/project_xy/positions"], np.float64)
    flat["encoder/latents_xy/bias"] = -positions[0] @ to_latents
    from_latents = np.zeros((channels, width))
    from_latents[kept, kept] = 1.0 / to_latents[kept, kept]
    flat["decoder/features_xy/kernel"] = from_latents
    for plane in ("yt", "xt"):
        path = f"decoder/features_{plane}/kernel"
        flat[path] = flat[path] * OTHER_PLANES
    to_pixels = np.zeros((width, len(mean)))
    to_pixels[: basis.shape[1]] = (basis * power).T
    flat["decoder/pixels/kernel"] = to_pixels
    # The bias has one number a colour; the patches' mean changes little inside a patch.
    flat["decoder/pixels_bias"] = mean.reshape(-1, 3).mean(axis=0)
    flat = {path: jnp.asarray(value, jnp.float32) for path, value in flat.items()}
    return flax.traverse_util.unflatten_dict(flat, sep="/")


def _components(patches: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean (P,), deviations (K,) and basis (P, K) of patches (N, P), the largest first."""
    mean = patches.mean(axis=0)
    covariance = (patches - mean).T @ (patches - mean) / len(patches)
    values, vectors = np.linalg.eigh(covariance)
    order = np.argsort(values)[::-1][: min(count, len(mean))]
    deviations = np.sqrt(np.maximum(values[order], 1e-8 * values.max()))
    return mean, deviations, vectors[:, order]
