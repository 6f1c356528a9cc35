"""ArcFace's iResNet (Deng et al., CVPR 2019): embeddings that tell whether faces are alike."""

import re
from collections.abc import Iterable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from moditalker_jax.metrics.networks.layers import BatchNorm, Conv, Dense, Variables

DEPTHS = {50: (3, 4, 14, 3), 100: (3, 13, 30, 3)}
"""Blocks of each of the four stages, by the network's depth."""

_WIDTHS = (64, 128, 256, 512)
_EMBEDDING_WIDTH = 512
_BLOCK_NAME = re.compile(r"layer([1-4])[_.](\d+)")


class _PReLU(nn.Module):
    """ReLU with a slope for negative values, one a channel."""

    @nn.compact
    def __call__(self, x: Array) -> Array:
        slope = self.param("slope", nn.initializers.constant(0.25), (x.shape[-1],))
        return jnp.where(x < 0, slope * x, x)


class _Block(nn.Module):
    """Residual block without an activation after the sum."""

    width: int
    stride: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        window = {"kernel_size": (3, 3), "padding": 1, "use_bias": False}
        y = BatchNorm(name="bn1")(x)
        y = Conv(self.width, **window, name="conv1")(y)
        y = _PReLU(name="prelu")(BatchNorm(name="bn2")(y))
        y = Conv(self.width, **window, strides=self.stride, name="conv2")(y)
        y = BatchNorm(name="bn3")(y)
        if self.stride != 1:
            x = Conv(self.width, (1, 1), strides=self.stride, use_bias=False, name="shortcut")(x)
            x = BatchNorm(name="shortcut_bn")(x)
        return y + x


class IResNet(nn.Module):
    """Aligned faces to embeddings.

    Attributes:
      blocks: number of residual blocks of each stage, one of `DEPTHS`.
    """

    blocks: Sequence[int]

    @nn.compact
    def __call__(self, faces: Array) -> Array:
        """faces (N, 112, 112, 3) in [-1, 1] -> (N, 512)."""
        x = Conv(_WIDTHS[0], (3, 3), padding=1, use_bias=False, name="conv1")(faces)
        x = _PReLU(name="prelu")(BatchNorm(name="bn1")(x))  # (N, 112, 112, 64)
        for stage, (width, count) in enumerate(zip(_WIDTHS, self.blocks, strict=True), start=1):
            for index in range(count):
                stride = 1 if index else 2
                x = _Block(width, stride, name=f"layer{stage}_{index}")(x)
        x = BatchNorm(name="bn2")(x)  # (N, 7, 7, 512)
        x = Dense(_EMBEDDING_WIDTH, name="fc")(x.reshape(x.shape[0], -1))
        return BatchNorm(name="features")(x)


def count_blocks(names: Iterable[str]) -> tuple[int, ...]:
    """Residual blocks of each stage.

    Args:
      names: of parameters or modules; the block `b` of stage `s` is in names that begin with
        "layer<s>_<b>" or "layer<s>.<b>", b from 0.
    """
    found = {match.groups() for match in map(_BLOCK_NAME.match, names) if match}
    stages = [int(stage) for stage, _ in found]
    return tuple(stages.count(stage) for stage in range(1, len(_WIDTHS) + 1))


@jax.jit
def face_embeddings(variables: Variables, faces: Array) -> Array:
    """Embeddings whose angle tells how alike two faces are.

    Compiled anew for every number of faces.

    Args:
      variables: of `weights.load_variables("arcface", path)`; they tell the network's depth.
      faces: uint8 (N, 112, 112, 3) RGB, aligned to ArcFace's template.

    Returns:
      (N, 512) float32, not normalised.
    """
    network = IResNet(count_blocks(variables["params"]))
    return network.apply(variables, (faces.astype(jnp.float32) / 255 - 0.5) / 0.5)
