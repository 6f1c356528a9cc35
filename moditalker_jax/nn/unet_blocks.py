"""Blocks of the tri-plane U-Net: 2D weights shared by three planes, attention over all of them.

Between blocks a tri-plane travels as its tokens (B, L, C), planes end to end and row-major, beside
their sizes. A 2D block sees planes of one size as one batch; attention sees tokens, so neither
needs more than a reshape when all planes are equally large.
"""

import itertools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from moditalker_jax.nn.attention import dot_product_attention, suits_cudnn
from moditalker_jax.nn.embeddings import sinusoidal_embedding

PlaneSizes = tuple[tuple[int, int], ...]
"""(rows, columns) of each plane, in the order of their tokens."""

NORM_EPSILON = 1e-5


def map_planes(block: Callable[[Array], Array], tokens: Array, sizes: PlaneSizes) -> Array:
    """Applies a 2D `block` to every plane, neighbouring planes of equal size in one call.

    Args:
      block: maps (B', rows, columns, C) to (B', rows', columns', C') without mixing the batch.
        The planes of one clip stay neighbours in B'.
      tokens: (B, L, C).
      sizes: of the planes in `tokens`.

    Returns:
      (B, L', C') tokens.
    """
    outputs, start = [], 0
    for (rows, columns), run in itertools.groupby(sizes):
        count = len(tuple(run))
        part = tokens[:, start : start + count * rows * columns]
        planes = part.reshape(-1, rows, columns, tokens.shape[-1])  # (B*count, rows, columns, C)
        planes = block(planes)
        outputs.append(planes.reshape(tokens.shape[0], -1, planes.shape[-1]))
        start += count * rows * columns
    return jnp.concatenate(outputs, axis=1)


def downsample(planes: Array) -> Array:
    """Means of 2x2 neighbours: (B, 2h, 2w, C) to (B, h, w, C)."""
    return nn.avg_pool(planes, (2, 2), strides=(2, 2))


def upsample(planes: Array) -> Array:
    """Each position repeated 2x2: (B, h, w, C) to (B, 2h, 2w, C)."""
    return planes.repeat(2, axis=1).repeat(2, axis=2)


@jax.custom_vjp
def attend(query: Array, key: Array, value: Array) -> Array:
    """Softmax attention that keeps no attention weights for the backward pass.

    The backward pass computes the (L, L) weights again from one number a query. Storing them takes
    most of the memory of the U-Net, and on a CPU reading them back takes most of its time.
    Softmax is float32. Differentiable once, in reverse mode.

    Args:
      query: (B, L, heads, D).
      key: (B, L, heads, D).
      value: (B, L, heads, D).

    Returns:
      (B, L, heads, D) in the type of `query`.
    """
    return _attend_forward(query, key, value)[0]


def _logits(query: Array, key: Array) -> Array:
    """(B, heads, L, L) float32, queries in rows."""
    scaled = query * query.shape[-1] ** -0.5
    return jnp.einsum("bqhd,bkhd->bhqk", scaled, key, preferred_element_type=jnp.float32)


def _attend_forward(query: Array, key: Array, value: Array) -> tuple[Array, tuple[Array, ...]]:
    logits = _logits(query, key)
    highest = logits.max(axis=-1, keepdims=True)
    weights = jnp.exp(logits - highest)
    total = weights.sum(axis=-1)  # (B, heads, L)
    output = jnp.einsum(
        "bhqk,bkhd->bqhd", weights.astype(value.dtype), value, preferred_element_type=jnp.float32
    )
    output = (output / total.swapaxes(1, 2)[..., None]).astype(query.dtype)
    return output, (query, key, value, output, highest[..., 0] + jnp.log(total))


def _attend_backward(residuals: tuple[Array, ...], cotangent: Array) -> tuple[Array, Array, Array]:
    query, key, value, output, log_total = residuals
    weights = jnp.exp(_logits(query, key) - log_total[..., None])
    to_weights = jnp.einsum("bqhd,bkhd->bhqk", cotangent, value, preferred_element_type=jnp.float32)
    # Softmax moves a logit against the mean of its row, which is the output times its cotangent.
    mean = jnp.sum(cotangent * output, axis=-1, dtype=jnp.float32).swapaxes(1, 2)
    to_logits = (weights * (to_weights - mean[..., None])).astype(query.dtype)
    scale = query.shape[-1] ** -0.5
    to_query = jnp.einsum("bhqk,bkhd->bqhd", to_logits, key) * scale
    to_key = jnp.einsum("bhqk,bqhd->bkhd", to_logits, query) * scale
    to_value = jnp.einsum("bhqk,bqhd->bkhd", weights.astype(value.dtype), cotangent)
    return to_query, to_key, to_value


attend.defvjp(_attend_forward, _attend_backward)


def _attend_fused(query: Array, key: Array, value: Array) -> Array:
    """`attend`, or what cuDNN has for it."""
    fused = dot_product_attention if suits_cudnn(query) else attend
    return fused(query, key, value)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions around a time-dependent scale and shift; starts as its skip path.

    `resample` acts between the first activation and the first convolution, and on the skip path.
    GroupNorm's statistics are those of one plane.
    """

    channels: int
    resample: Callable[[Array], Array] | None = None
    num_groups: int = 32
    dropout_rate: float = 0.0
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, planes: Array, time: Array, *, deterministic: bool) -> Array:
        """Maps planes (k*B, h, w, C), k neighbours a clip, and `time` (B, E) to (k*B, h', w', C').

        `time` is already activated.
        """
        h = nn.GroupNorm(self.num_groups, epsilon=NORM_EPSILON, name="norm_in")(planes)
        h, skip = nn.silu(h).astype(self.dtype), planes
        if self.resample is not None:
            h, skip = self.resample(h), self.resample(skip)
        h = nn.Conv(self.channels, (3, 3), dtype=self.dtype, name="conv_in")(h)

        scale_shift = nn.Dense(2 * self.channels, dtype=self.dtype, name="time")(time)
        scale_shift = scale_shift.repeat(planes.shape[0] // time.shape[0], axis=0)
        scale, shift = jnp.split(scale_shift[:, None, None, :], 2, axis=-1)
        h = nn.GroupNorm(self.num_groups, epsilon=NORM_EPSILON, name="norm_out")(h)
        h = nn.silu(h * (1 + scale) + shift).astype(self.dtype)
        h = nn.Dropout(self.dropout_rate)(h, deterministic=deterministic)
        h = nn.Conv(
            self.channels,
            (3, 3),
            kernel_init=nn.initializers.zeros,
            dtype=self.dtype,
            name="conv_out",
        )(h)

        if skip.shape[-1] != self.channels:
            skip = nn.Dense(self.channels, dtype=self.dtype, name="skip")(skip)
        return skip + h


class TokenAttention(nn.Module):
    """Self-attention among tokens with a residual; starts as the identity.

    The fused projection is head-major: each head's query, key and value lie side by side.
    GroupNorm's statistics are those of all tokens given: of one plane when planes are the batch,
    of the three together when a clip is.
    """

    num_heads: int = 8
    num_groups: int = 32
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, tokens: Array) -> Array:
        """Maps tokens (B, L, C) to (B, L, C)."""
        batch, length, width = tokens.shape
        h = nn.GroupNorm(self.num_groups, epsilon=NORM_EPSILON, name="norm")(tokens)
        h = nn.Dense(3 * width, dtype=self.dtype, name="qkv")(h)
        h = h.reshape(batch, length, self.num_heads, 3, width // self.num_heads)
        h = _attend_fused(h[..., 0, :], h[..., 1, :], h[..., 2, :])
        h = nn.Dense(width, kernel_init=nn.initializers.zeros, dtype=self.dtype, name="projection")(
            h.reshape(batch, length, width)
        )
        return tokens + h


class AudioAttention(nn.Module):
    """What tokens read from audio features, with a residual; starts as the identity.

    Tokens of the planes that keep time know their time, and audio steps theirs.
    """

    num_heads: int = 8
    num_groups: int = 32
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, tokens: Array, sizes: PlaneSizes, audio_features: Array) -> Array:
        """Maps tokens (B, L, C) of planes with `sizes` to (B, L, C), given audio (B, S, A)."""
        batch, length, width = tokens.shape
        num_steps = audio_features.shape[1]
        h = nn.GroupNorm(self.num_groups, epsilon=NORM_EPSILON, name="norm")(tokens)
        h = h + _time_of_tokens(sizes, num_steps, width)
        query = nn.Dense(width, dtype=self.dtype, name="query")(h)
        audio = nn.Dense(width, dtype=self.dtype, name="audio")(audio_features)
        audio = audio + sinusoidal_embedding(jnp.arange(num_steps), width)
        key_value = nn.Dense(2 * width, dtype=self.dtype, name="key_value")(audio)
        query, key, value = (
            x.reshape(batch, -1, self.num_heads, width // self.num_heads)
            for x in (query, *jnp.split(key_value, 2, axis=-1))
        )
        h = _attend_fused(query, key, value).reshape(batch, length, width)
        h = nn.Dense(width, kernel_init=nn.initializers.zeros, dtype=self.dtype, name="projection")(
            h
        )
        return tokens + h


def _time_of_tokens(sizes: PlaneSizes, num_steps: int, width: int) -> Array:
    """(L, width): embedded audio step at the middle of each token's frame; zeros on plane xy."""
    (rows, columns), *timed = sizes
    embedded = [jnp.zeros((rows * columns, width))]
    for rows, columns in timed:
        steps = (jnp.arange(rows) + 0.5) * (num_steps / rows) - 0.5
        embedded.append(sinusoidal_embedding(steps, width).repeat(columns, axis=0))
    return jnp.concatenate(embedded)
