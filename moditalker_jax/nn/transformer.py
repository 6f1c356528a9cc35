"""The usual transformer layer, with norms before or after: what speech encoders are made of."""

import flax.linen as nn
import jax
from jax import Array

from moditalker_jax.nn.attention import layer_norm


class TransformerLayer(nn.Module):
    """Self-attention and an MLP with the exact GELU, each with a residual.

    Attributes:
      width: D of input and output.
      num_heads: of the attention.
      mlp_width: of the hidden layer.
      norm_first: norms stand before attention and MLP (Whisper, HuBERT large), or after their
        residuals (HuBERT base).
      key_bias: Whisper's keys have none.
    """

    width: int
    num_heads: int
    mlp_width: int
    norm_first: bool = True
    key_bias: bool = True

    @nn.compact
    def __call__(self, x: Array, lengths: Array | None = None) -> Array:
        """x (B, L, D) -> (B, L, D); attention reads only the first `lengths` (B,) of L."""
        attention_norm = layer_norm(x.dtype, name="attention_norm")
        mlp_norm = layer_norm(x.dtype, name="mlp_norm")
        if self.norm_first:
            x = x + self._attend(attention_norm(x), lengths)
            return x + self._mlp(mlp_norm(x))
        x = attention_norm(x + self._attend(x, lengths))
        return mlp_norm(x + self._mlp(x))

    def _attend(self, x: Array, lengths: Array | None) -> Array:
        heads = (*x.shape[:-1], self.num_heads, -1)
        query = nn.Dense(self.width, name="query")(x).reshape(heads)
        key = nn.Dense(self.width, use_bias=self.key_bias, name="key")(x).reshape(heads)
        value = nn.Dense(self.width, name="value")(x).reshape(heads)
        read = jax.nn.dot_product_attention(query, key, value, key_value_seq_lengths=lengths)
        return nn.Dense(self.width, name="out")(read.reshape(x.shape))

    def _mlp(self, x: Array) -> Array:
        hidden = nn.gelu(nn.Dense(self.mlp_width, name="mlp_in")(x), approximate=False)
        return nn.Dense(self.width, name="mlp_out")(hidden)
