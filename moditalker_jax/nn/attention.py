"""Multi-head attention with rotary positions, and the transformer layer made of it."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from moditalker_jax.nn.embeddings import rotate


def layer_norm(dtype: DTypeLike, *, name: str | None = None) -> nn.LayerNorm:
    """LayerNorm with PyTorch's epsilon, its statistics in float32 by the two-pass variance."""
    return nn.LayerNorm(epsilon=1e-5, use_fast_variance=False, dtype=dtype, name=name)


def suits_cudnn(query: Array) -> bool:
    """Whether cuDNN's fused attention takes queries (..., heads, width).

    It does on GPUs, in half precision; it keeps no weights for the backward pass, and its softmax
    is float32 too.
    """
    half = query.dtype in (jnp.bfloat16, jnp.float16)
    width = query.shape[-1]
    return half and width % 8 == 0 and width <= 128 and jax.default_backend() == "gpu"


def dot_product_attention(
    query: Array, key: Array, value: Array, bias: Array | None = None
) -> Array:
    """`jax.nn.dot_product_attention`, by cuDNN where it suits; the softmax is float32.

    Args:
      query: (B, T, heads, width).
      key, value: (B, L, heads, width).
      bias: (1 or B, 1 or heads, T, L), added to the logits.
    """
    if not suits_cudnn(query):
        return jax.nn.dot_product_attention(query, key, value, bias=bias)
    bias = None if bias is None else jnp.asarray(bias, query.dtype)
    return jax.nn.dot_product_attention(query, key, value, bias=bias, implementation="cudnn")


class RotaryAttention(nn.Module):
    """Attention whose inputs are rotated by their positions over the full width.

    As in EDGE, and unlike usual rotary attention, the rotation comes *before* the query and key
    projections and before the split into heads; values are not rotated. Positions therefore act as
    absolute ones. Keys and values have methods of their own, so that those of a fixed memory can be
    kept from one call to the next.

    Attributes:
      width: D of queries, memory and output.
      num_heads: of width D / num_heads each.
      dropout_rate: on the attention weights.
      dtype: of the computation; the softmax is float32.
    """

    width: int
    num_heads: int
    dropout_rate: float = 0.0
    dtype: DTypeLike = jnp.float32

    def setup(self):
        self.query = nn.Dense(self.width, dtype=self.dtype)
        self.key = nn.Dense(self.width, dtype=self.dtype)
        self.value = nn.Dense(self.width, dtype=self.dtype)
        self.out = nn.Dense(self.width, dtype=self.dtype)

    def _heads(self, x: Array) -> Array:
        return x.reshape(*x.shape[:-1], self.num_heads, -1)

    def keys(self, memory: Array, angles: Array) -> Array:
        """Keys (B, L, heads, D / heads) of a memory (B, L, D) at rotary angles (L, D)."""
        return self._heads(self.key(rotate(memory, angles)))

    def values(self, memory: Array) -> Array:
        """Values (B, L, heads, D / heads) of a memory (B, L, D)."""
        return self._heads(self.value(memory))

    def attend(
        self,
        x: Array,
        angles: Array,
        keys: Array,
        values: Array,
        *,
        deterministic: bool,
        bias: Array | None = None,
    ) -> Array:
        """What x (B, T, D) at rotary angles (T, D) reads from keys and values: (B, T, D).

        `bias` (heads or 1, T, L) is added to the logits.
        """
        bias = None if bias is None else bias[None]
        queries = self._heads(self.query(rotate(x, angles)))
        if deterministic or self.dropout_rate == 0:
            read = dot_product_attention(queries, keys, values, bias)
        else:  # JAX's own function has no dropout of the weights
            read = nn.dot_product_attention(
                queries,
                keys,
                values,
                bias=bias,
                broadcast_dropout=False,
                dropout_rng=self.make_rng("dropout"),
                dropout_rate=self.dropout_rate,
                dtype=self.dtype,
                force_fp32_for_softmax=True,
            )
        return self.out(read.reshape(x.shape))

    def __call__(
        self, x: Array, angles: Array, *, deterministic: bool, bias: Array | None = None
    ) -> Array:
        """Self-attention of x (B, T, D) at rotary angles (T, D); `bias` as in `attend`."""
        keys, values = self.keys(x, angles), self.values(x)
        return self.attend(x, angles, keys, values, deterministic=deterministic, bias=bias)


class EncoderLayer(nn.Module):
    """Pre-norm transformer layer: rotary self-attention, then an MLP with the exact GELU.

    Attributes:
      width: D of input and output.
      mlp_width: of the hidden layer.
      num_heads: of the attention.
      dropout_rate: on the attention weights, the hidden layer, and both residual branches.
      dtype: of the computation.
    """

    width: int
    mlp_width: int
    num_heads: int
    dropout_rate: float = 0.0
    dtype: DTypeLike = jnp.float32

    def setup(self):
        self.attention = RotaryAttention(
            self.width, self.num_heads, self.dropout_rate, dtype=self.dtype
        )
        self.attention_norm = layer_norm(self.dtype)
        self.mlp_norm = layer_norm(self.dtype)
        self.mlp_in = nn.Dense(self.mlp_width, dtype=self.dtype)
        self.mlp_out = nn.Dense(self.width, dtype=self.dtype)
        self.dropout = nn.Dropout(self.dropout_rate)

    def __call__(
        self, x: Array, angles: Array, *, deterministic: bool, bias: Array | None = None
    ) -> Array:
        """x (B, L, D) at rotary angles (L, D) -> (B, L, D); `bias` (1, L, L) of the attention."""
        read = self.attention(
            self.attention_norm(x), angles, deterministic=deterministic, bias=bias
        )
        x = x + self.dropout(read, deterministic=deterministic)
        hidden = nn.gelu(self.mlp_in(self.mlp_norm(x)), approximate=False)
        hidden = self.mlp_out(self.dropout(hidden, deterministic=deterministic))
        return x + self.dropout(hidden, deterministic=deterministic)
