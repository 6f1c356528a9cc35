"""HuBERT (Hsu et al. 2021): 16 kHz waveform to features at 50 Hz. The paper's audio encoder."""

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
from jax import Array, lax

from moditalker_jax.nn.attention import layer_norm
from moditalker_jax.nn.transformer import TransformerLayer


class HuBERT(nn.Module):
    """Seven convolutions, a convolution for positions, and a transformer.

    Values do not depend on what stands behind a waveform's end, so that waveforms of all lengths
    can be padded to few shapes.

    Attributes:
      width: D of the features; 1024 in the large model.
      num_layers, num_heads, mlp_width: of the transformer.
      norm_first: norms before attention and MLP and one at the end (large, "stable layer norm"),
        or after them and one at the start (base).
      norm_every_convolution: layer norm after each convolution (large), or one group norm over
        time after the first (base).
      projection_norm: layer norm in front of the projection to D.
      conv_widths, conv_windows, conv_strides, conv_bias: the convolutions of the waveform.
      position_window, position_groups: the convolution that tells positions.
    """

    width: int = 1024
    num_layers: int = 24
    num_heads: int = 16
    mlp_width: int = 4096
    norm_first: bool = True
    norm_every_convolution: bool = True
    projection_norm: bool = True
    conv_widths: Sequence[int] = (512,) * 7
    conv_windows: Sequence[int] = (10, 3, 3, 3, 3, 2, 2)
    conv_strides: Sequence[int] = (5, 2, 2, 2, 2, 2, 2)
    conv_bias: bool = True
    position_window: int = 128
    position_groups: int = 16

    @nn.compact
    def __call__(self, waveform: Array, num_samples: Array) -> Array:
        """waveform (B, n), of which `num_samples` (B,) are real -> (B, S, D).

        S = floor((n - 80) / 320); of them the first floor((num_samples - 80) / 320) mean something.
        """
        x, lengths = self._convolve(waveform[..., None], num_samples)  # (B, S, C)
        if self.projection_norm:
            x = layer_norm(x.dtype, name="projection_norm")(x)
        x = nn.Dense(self.width, name="projection")(x)
        real = jnp.arange(x.shape[1]) < lengths[:, None]
        x = jnp.where(real[..., None], x, 0.0)
        x = x + self._positions(x)
        norm = layer_norm(x.dtype, name="norm")
        if not self.norm_first:
            x = norm(x)
        for index in range(self.num_layers):
            x = TransformerLayer(
                self.width,
                self.num_heads,
                self.mlp_width,
                norm_first=self.norm_first,
                name=f"layers_{index}",
            )(x, lengths)
        return norm(x) if self.norm_first else x

    def _convolve(self, x: Array, lengths: Array) -> tuple[Array, Array]:
        for index, (width, window, stride) in enumerate(
            zip(self.conv_widths, self.conv_windows, self.conv_strides, strict=True)
        ):
            x = nn.Conv(
                width,
                (window,),
                strides=stride,
                padding="VALID",
                use_bias=self.conv_bias,
                name=f"conv_{index}",
            )(x)
            lengths = (lengths - window) // stride + 1
            if self.norm_every_convolution:
                x = layer_norm(x.dtype, name=f"conv_norm_{index}")(x)
            elif index == 0:
                x = _NormOverTime(name="conv_norm_0")(x, lengths)
            x = nn.gelu(x, approximate=False)
        return x, lengths

    def _positions(self, x: Array) -> Array:
        # The window is even: as many frames on the left, one less on the right.
        half = self.position_window // 2
        right = half - 1 if self.position_window % 2 == 0 else half
        positions = nn.Conv(
            self.width,
            (self.position_window,),
            padding=[(half, right)],
            feature_group_count=self.position_groups,
            name="positions",
        )(x)
        return nn.gelu(positions, approximate=False)


class _NormOverTime(nn.Module):
    """Each channel to zero mean and unit variance over its real steps (a group norm by channel)."""

    @nn.compact
    def __call__(self, x: Array, lengths: Array) -> Array:
        """x (B, L, C), of which the first `lengths` (B,) are real."""
        scale = self.param("scale", nn.initializers.ones, (x.shape[-1],))
        bias = self.param("bias", nn.initializers.zeros, (x.shape[-1],))
        real = (jnp.arange(x.shape[1]) < lengths[:, None])[..., None]
        count = lengths[:, None, None]
        mean = jnp.sum(jnp.where(real, x, 0.0), axis=1, keepdims=True) / count
        centred = x - mean
        variance = jnp.sum(jnp.where(real, centred**2, 0.0), axis=1, keepdims=True) / count
        return centred * lax.rsqrt(variance + 1e-5) * scale + bias
