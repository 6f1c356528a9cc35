"""The adversarial pieces of PVDM's optional third phase of autoencoder training.

A 2D discriminator judges single frames and a 3D one whole clips. Each returns logits of overlapping
patches, and its hidden features, on which the generator is also matched (Isola et al., CVPR 2017;
Wang et al., CVPR 2018). With D a discriminator, r real and f fake:

    discriminator:  mean(max(0, 1 - D(r))) / 2 + mean(max(0, 1 + D(f))) / 2
    generator:      -mean(D(f)) + 4 * sum_k mean|features_k(f) - features_k(r)|
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

FEATURE_MATCHING_WEIGHT = 4.0

_KERNEL = 4
_MAX_WIDENING = 8
_SLOPE = 0.2


class PatchLogits(NamedTuple):
    """What a discriminator says.

    Attributes:
      logits: (B, ..., 1), positive for patches taken for real.
      features: the hidden layers' activations, from first to last.
    """

    logits: Array
    features: tuple[Array, ...]


class PatchDiscriminator(nn.Module):
    """Convolutions of kernel 4 with BatchNorm and leaky ReLU, over frames or clips.

    The first `num_halvings` convolutions halve every side (time too), each but the first followed
    by BatchNorm; one more keeps it; a last one gives the logits. Every side is padded by 2, so that
    it comes out at `n // 2 + 1` or `n + 1`. The running statistics are in the collection
    "batch_stats"; under jit on a sharded batch, BatchNorm takes the statistics of the whole batch.

    Attributes:
      num_axes: 2 for frames (B, H, W, 3), 3 for clips (B, T, H, W, 3).
      width: channels of the first layer; they double with each layer, up to 8 times as many.
      num_halvings: strided convolutions.
      dtype: of the convolutions; BatchNorm and logits are float32.
    """

    num_axes: int
    width: int = 64
    num_halvings: int = 3
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Array, *, train: bool = False) -> PatchLogits:
        """Judges pixels in [-1, 1].

        Args:
          x: (B, H, W, 3) frames or (B, T, H, W, 3) clips.
          train: normalise by the batch and update "batch_stats", which must then be mutable.

        Raises:
          ValueError: the rank is not that of `num_axes`.
        """
        if x.ndim != self.num_axes + 2:
            raise ValueError(f"input of rank {x.ndim}, expected {self.num_axes + 2}")
        features = []
        for layer in range(self.num_halvings + 1):
            width = self.width * min(2**layer, _MAX_WIDENING)
            stride = 2 if layer < self.num_halvings else 1
            x = self._convolve(x, width, stride, f"conv_{layer}")
            if layer:
                x = nn.BatchNorm(not train, momentum=0.9, dtype=jnp.float32, name=f"norm_{layer}")(
                    x
                )
            x = nn.leaky_relu(x, _SLOPE)
            features.append(x)
        logits = self._convolve(x, 1, 1, "logits").astype(jnp.float32)
        return PatchLogits(logits, tuple(features))

    def _convolve(self, x: Array, width: int, stride: int, name: str) -> Array:
        axes = self.num_axes
        return nn.Conv(
            width,
            (_KERNEL,) * axes,
            (stride,) * axes,
            [(_KERNEL // 2, _KERNEL // 2)] * axes,
            dtype=self.dtype,
            name=name,
        )(x)


def discriminator_loss(real: Array, fake: Array) -> Array:
    """Hinge loss of the discriminator, from its logits of any shape."""
    return 0.5 * (jnp.mean(nn.relu(1.0 - real)) + jnp.mean(nn.relu(1.0 + fake)))


def generator_loss(fake: Array) -> Array:
    """Hinge loss of the generator, from the discriminator's logits of its output."""
    return -jnp.mean(fake)


def feature_matching_loss(real: PatchLogits, fake: PatchLogits) -> Array:
    """Mean absolute difference of the features, summed over layers, without the weight of 4.

    No gradient flows to `real`.
    """
    pairs = zip(jax.lax.stop_gradient(real.features), fake.features, strict=True)
    return sum(jnp.mean(jnp.abs(ours - theirs)) for theirs, ours in pairs)


def adversarial_loss(
    real: PatchLogits,
    fake: PatchLogits,
    *,
    feature_matching_weight: float = FEATURE_MATCHING_WEIGHT,
) -> Array:
    """The generator's whole loss at one discriminator."""
    matching = feature_matching_loss(real, fake)
    return generator_loss(fake.logits) + feature_matching_weight * matching
