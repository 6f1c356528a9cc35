"""Transformers of the tri-plane autoencoder (paper section 4.3, after PVDM).

A TimeSformer attends over time and over space in turn, so that a clip of T frames of N patches
costs N attentions over T tokens and T over N instead of one over T*N. The plane projections use a
plain transformer over the one axis that they remove.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from moditalker_jax.nn.embeddings import rotary_angles, rotate
from moditalker_jax.nn.layer_scan import scan_layers

NORM_EPSILON = 1e-5
AXIAL_MAX_FREQUENCY = 10.0


def frame_angles(num_frames: int, head_width: int, *, mismatched: bool = False) -> Array:
    """Rotary angles (T, head_width) of the frame numbers.

    Args:
      num_frames: T.
      head_width: even width of one attention head.
      mismatched: as the authors' release: the frequencies stand as two halves, although entries
        2i and 2i+1 are turned together. The two of a pair then have different angles, so that
        this is no rotation (it changes norms by up to 7 %).
    """
    angles = rotary_angles(jnp.arange(num_frames), head_width)
    return jnp.tile(angles[:, ::2], (1, 2)) if mismatched else angles


def axial_angles(rows: int, columns: int, head_width: int) -> Array:
    """Rotary angles (rows * columns, head_width) of the patches of a frame.

    Positions run from -1 to 1 along each side and are multiplied by pi times a frequency; the
    frequencies grow geometrically from 1 to `AXIAL_MAX_FREQUENCY / 2`. The first half of the
    entries turns with the row, the second with the column, in interleaved pairs.

    Args:
      rows: patches down a frame.
      columns: patches across it.
      head_width: width of one attention head, a multiple of 4.
    """
    exponents = jnp.linspace(0.0, math.log2(AXIAL_MAX_FREQUENCY / 2), head_width // 4)
    frequencies = math.pi * 2.0**exponents
    row = jnp.linspace(-1.0, 1.0, rows)[:, None, None] * frequencies
    column = jnp.linspace(-1.0, 1.0, columns)[None, :, None] * frequencies
    shape = (rows, columns, head_width // 4)
    grid = jnp.concatenate([jnp.broadcast_to(row, shape), jnp.broadcast_to(column, shape)], axis=-1)
    return jnp.repeat(grid.reshape(rows * columns, head_width // 2), 2, axis=-1)


def layer_norm(name: str) -> nn.LayerNorm:
    """LayerNorm of these networks, in float32."""
    return nn.LayerNorm(epsilon=NORM_EPSILON, dtype=jnp.float32, name=name)


class AxisAttention(nn.Module):
    """Multi-head self-attention along one axis of a feature map; all other axes are batch.

    Attributes:
      num_heads: number of heads.
      head_width: width of each.
      axis: negative index of the axis that is attended over; the last axis (-1) is the features.
      dtype: of the computation; the softmax is always float32.
    """

    num_heads: int
    head_width: int
    axis: int = -2
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Array, angles: Array | None = None, *, first_only: bool = False) -> Array:
        """Attends.

        Args:
          x: (..., L, ..., D), the attended axis of length L.
          angles: (L, head_width) rotary angles of queries and keys; None for no rotary.
          first_only: only position 0 asks, and the result has L = 1.
        """
        inner = self.num_heads * self.head_width
        qkv = nn.Dense(3 * inner, use_bias=False, dtype=self.dtype, name="qkv")(x)
        qkv = qkv.reshape(*x.shape[:-1], 3, self.num_heads, self.head_width)
        # One transposition brings the heads beside the batch: batched matrix products then need
        # no other, which matters most on CPU.
        qkv = jnp.moveaxis(qkv, (-3, self.axis - 2), (0, -2))  # (3, ..., heads, L, head_width)
        query, key, value = qkv
        if angles is not None:
            query, key = (rotate(x, angles).astype(x.dtype) for x in (query, key))
        if first_only:
            query = query[..., :1, :]
        out = _attend(query, key, value)
        out = jnp.moveaxis(out, -2, self.axis - 1)
        out = out.reshape(*out.shape[:-2], inner)
        return nn.Dense(x.shape[-1], dtype=self.dtype, name="out")(out)


def _attend(query: Array, key: Array, value: Array) -> Array:
    """Softmax attention over axis -2 of (..., L, head_width), each leading index by itself.

    The result is divided by the softmax's sum, not the (L, L) weights: the same, and less to do.
    """
    query = query * query.shape[-1] ** -0.5
    logits = jnp.einsum("...ld,...md->...lm", query, key, preferred_element_type=jnp.float32)
    highest = jax.lax.stop_gradient(jnp.max(logits, axis=-1, keepdims=True))
    weights = jnp.exp(logits - highest)
    mixed = jnp.einsum("...lm,...md->...ld", weights.astype(value.dtype), value)
    return (mixed / jnp.sum(weights, axis=-1, keepdims=True)).astype(value.dtype)


class FeedForward(nn.Module):
    """Two linear layers with an exact GELU between.

    Attributes:
      width: width of the hidden layer.
      gated: the hidden layer is `value * gelu(gate)`, both from one linear layer (GEGLU).
      dtype: of the computation.
    """

    width: int
    gated: bool = False
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        hidden = nn.Dense(self.width * (1 + self.gated), dtype=self.dtype, name="expand")(x)
        if self.gated:
            value, gate = jnp.split(hidden, 2, axis=-1)
            hidden = value * nn.gelu(gate, approximate=False)
        else:
            hidden = nn.gelu(hidden, approximate=False)
        return nn.Dense(x.shape[-1], dtype=self.dtype, name="contract")(hidden)


class TimeSformerBlock(nn.Module):
    """Attention over time, attention over space, GEGLU; each pre-norm with a residual.

    Attributes: see `TimeSformer`.
    """

    num_heads: int
    head_width: int
    mlp_ratio: int = 4
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Array, time_angles: Array, space_angles: Array) -> Array:
        time = AxisAttention(self.num_heads, self.head_width, -3, self.dtype, name="time_attention")
        space = AxisAttention(
            self.num_heads, self.head_width, -2, self.dtype, name="space_attention"
        )
        mlp = FeedForward(self.mlp_ratio * x.shape[-1], True, self.dtype, name="mlp")
        x = x + time(layer_norm("time_norm")(x), time_angles)  # (B, T, N, D)
        x = x + space(layer_norm("space_norm")(x), space_angles)  # (B, T, N, D)
        return x + mlp(layer_norm("mlp_norm")(x))  # (B, T, N, D)


class TimeSformer(nn.Module):
    """A stack of `TimeSformerBlock`s on the patches of a clip.

    Attributes:
      depth: number of blocks.
      num_heads: heads of each attention.
      head_width: width of each, a multiple of 4.
      mlp_ratio: hidden width of the feed-forward over the model's width.
      mismatched_frame_rotary: see `frame_angles`.
      remat: recompute each block in the backward pass, to save memory.
      scan_layers: run the blocks by one scan, which compiles sooner.
      dtype: of the computation.
    """

    depth: int
    num_heads: int
    head_width: int
    mlp_ratio: int = 4
    mismatched_frame_rotary: bool = False
    remat: bool = False
    scan_layers: bool = False
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Features (B, T, H, W, D) to features of the same shape."""
        shape = x.shape
        time_angles = frame_angles(
            shape[1], self.head_width, mismatched=self.mismatched_frame_rotary
        )
        space_angles = axial_angles(*shape[2:4], self.head_width)
        block = nn.remat(TimeSformerBlock) if self.remat else TimeSformerBlock
        x = x.reshape(*shape[:2], -1, shape[-1])  # (B, T, N, D)
        names = [f"block_{layer}" for layer in range(self.depth)]
        settings = (self.num_heads, self.head_width, self.mlp_ratio, self.dtype)
        if self.scan_layers and not self.is_initializing():
            alone = block(*settings, parent=None)
            x = scan_layers(
                lambda params, x, _: alone.apply({"params": params}, x, time_angles, space_angles),
                self.variables["params"],
                names,
                x,
            )
        else:
            for name in names:
                x = block(*settings, name=name)(x, time_angles, space_angles)
        return x.reshape(shape)


class AxisTransformer(nn.Module):
    """Pre-norm transformer without rotary or final norm, along axis -2.

    Attributes:
      depth: number of layers.
      num_heads: heads of each attention.
      head_width: width of each.
      mlp_width: hidden width of the feed-forward.
      dtype: of the computation.
    """

    depth: int
    num_heads: int
    head_width: int
    mlp_width: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Array, *, first_only: bool = False) -> Array:
        """Transforms (..., L, D).

        Args:
          x: the tokens.
          first_only: return position 0 alone, (..., 1, D). The last layer then computes no other,
            so this is much cheaper than taking position 0 of the full result, and equal to it.
        """
        for layer in range(self.depth):
            only = first_only and layer == self.depth - 1
            attention = AxisAttention(
                self.num_heads, self.head_width, dtype=self.dtype, name=f"attention_{layer}"
            )
            mlp = FeedForward(self.mlp_width, dtype=self.dtype, name=f"mlp_{layer}")
            attended = attention(layer_norm(f"attention_norm_{layer}")(x), first_only=only)
            x = (x[..., :1, :] if only else x) + attended
            x = x + mlp(layer_norm(f"mlp_norm_{layer}")(x))
        return x[..., :1, :] if first_only else x
