"""Whisper's audio encoder (Radford et al. 2022, section 2.2): log-mel spectrogram to features."""

import flax.linen as nn
from jax import Array

from moditalker_jax.nn.attention import layer_norm
from moditalker_jax.nn.transformer import TransformerLayer


class WhisperEncoder(nn.Module):
    """Two convolutions, learned or sinusoidal positions read from the checkpoint, transformer.

    Attributes:
      width: D of the features; 384 in whisper-tiny.
      num_layers, num_heads, mlp_width: of the transformer.
      num_positions: S, features of one window: 1,500 are its 30 s.
    """

    width: int = 384
    num_layers: int = 4
    num_heads: int = 6
    mlp_width: int = 1536
    num_positions: int = 1500

    @nn.compact
    def __call__(self, spectrogram: Array) -> Array:
        """spectrogram (B, 2S, mels), 100 a second -> (B, S, D), 50 a second."""
        same = [(1, 1)]
        x = nn.gelu(
            nn.Conv(self.width, (3,), padding=same, name="conv_in")(spectrogram), approximate=False
        )
        x = nn.gelu(
            nn.Conv(self.width, (3,), strides=2, padding=same, name="conv_halve")(x),
            approximate=False,
        )
        x = x + self.param(
            "positions", nn.initializers.normal(0.02), (self.num_positions, self.width)
        )
        for index in range(self.num_layers):
            x = TransformerLayer(
                self.width, self.num_heads, self.mlp_width, key_bias=False, name=f"layers_{index}"
            )(x)
        return layer_norm(x.dtype, name="norm")(x)
