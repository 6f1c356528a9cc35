"""Decoder layers of AToM: disentangled attention, and the plain one that it is compared with.

Disentangled attention moves the lip part and the upper face apart (paper section 4.2, figure 4).
"""

from typing import NamedTuple

import flax.linen as nn
import flax.struct
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike

from moditalker_jax.nn.attention import RotaryAttention, layer_norm
from moditalker_jax.nn.embeddings import rotary_angles
from moditalker_jax.nn.film import FiLM


@flax.struct.dataclass
class LayerMemory:
    """Keys and values that a decoder layer reads from L tokens (heads of width D / heads).

    The lip part reads all tokens, the merged face only the last M of them (no audio).

    Attributes:
      lip_keys: (B, L, heads, D / heads).
      merged_keys: (B, M, heads, D / heads); other than lip_keys, since positions differ.
      values: (B, L, heads, D / heads), the same for both.
    """

    lip_keys: Array
    merged_keys: Array
    values: Array

    def join(self, other: "LayerMemory") -> "LayerMemory":
        """Both memories as one; the tokens that the merged face does not see stay first.

        All of the other's tokens must be seen by the merged face.
        """
        pairs = zip(
            (self.lip_keys, self.merged_keys, self.values),
            (other.lip_keys, other.merged_keys, other.values),
            strict=True,
        )
        return LayerMemory(*(jnp.concatenate(pair, axis=1) for pair in pairs))

    @property
    def merged_values(self) -> Array:
        """(B, M, heads, D / heads)."""
        return self.values[:, -self.merged_keys.shape[1] :]


class MemoryPositions(NamedTuple):
    """Rotary positions of a memory's tokens: (L,) as the lip part, (M,) as the merged face."""

    lip: np.ndarray
    merged: np.ndarray


class DecoderLayer(nn.Module):
    """One layer of AToM's decoder, pre-norm.

    Each part attends to itself; then the lip part reads the whole memory while the upper face
    attends to itself again; their sum, the merged face, reads the memory without audio. Both parts
    share the self-attention, its norms and FiLMs; both readings share the cross-attention's
    weights. In the authors' network what the merged face read replaces it.

    Attributes:
      width: D of each part.
      num_heads: of both attentions.
      dropout_rate: on the attention weights and on what each attention read.
      merge_residual: add what the merged face read to it instead.
      dtype: of the computation.
    """

    width: int
    num_heads: int
    dropout_rate: float = 0.0
    merge_residual: bool = False
    dtype: DTypeLike = jnp.float32

    def setup(self):
        attention = (self.width, self.num_heads, self.dropout_rate, self.dtype)
        self.self_attention = RotaryAttention(*attention)
        self.cross_attention = RotaryAttention(*attention)
        self.part_norm_0 = layer_norm(self.dtype)
        self.part_norm_1 = layer_norm(self.dtype)
        self.merged_norm = layer_norm(self.dtype)
        self.part_film_0 = FiLM(self.dtype)
        self.part_film_1 = FiLM(self.dtype)
        self.merged_film = FiLM(self.dtype)
        self.out = nn.Dense(2 * self.width, dtype=self.dtype)
        self.dropout = nn.Dropout(self.dropout_rate)

    def remember(self, tokens: Array, positions: MemoryPositions) -> LayerMemory:
        """The memory of tokens (B, L, D), of which the merged face sees the last M."""
        merged_tokens = tokens[:, -len(positions.merged) :]
        return LayerMemory(
            lip_keys=self.cross_attention.keys(tokens, rotary_angles(positions.lip, self.width)),
            merged_keys=self.cross_attention.keys(
                merged_tokens, rotary_angles(positions.merged, self.width)
            ),
            values=self.cross_attention.values(tokens),
        )

    def __call__(
        self,
        x: Array,
        lip_vector: Array,
        upper_vector: Array,
        memory: LayerMemory,
        *,
        deterministic: bool,
        lip_bias: Array | None = None,
        self_bias: Array | None = None,
    ) -> Array:
        """x (B, T, 2D), lip part before upper face, and FiLM vectors (B, D) -> (B, T, 2D).

        `lip_bias` (heads, T, L) is added to the logits with which the lip part reads the memory,
        `self_bias` (1, T, T) to those of self-attention.
        """
        angles = rotary_angles(np.arange(x.shape[1]), self.width)

        def self_attend(part):
            read = self.self_attention(part, angles, deterministic=deterministic, bias=self_bias)
            return self.dropout(read, deterministic=deterministic)

        def cross_attend(queries, keys, values, bias=None):
            read = self.cross_attention.attend(
                queries, angles, keys, values, deterministic=deterministic, bias=bias
            )
            return self.dropout(read, deterministic=deterministic)

        lip, upper = jnp.split(x, 2, axis=-1)  # 2 x (B, T, D)
        lip = lip + self.part_film_0(self_attend(self.part_norm_0(lip)), lip_vector)
        upper = upper + self.part_film_0(self_attend(self.part_norm_0(upper)), upper_vector)

        read = cross_attend(self.part_norm_1(lip), memory.lip_keys, memory.values, lip_bias)
        lip = lip + self.part_film_1(read, lip_vector)
        upper = upper + self.part_film_1(self_attend(self.part_norm_1(upper)), upper_vector)

        merged = lip + upper  # (B, T, D)
        read = cross_attend(self.merged_norm(merged), memory.merged_keys, memory.merged_values)
        merged = merged + read if self.merge_residual else read
        merged = merged + self.merged_film(merged, (lip_vector + upper_vector) / 2)
        return self.out(merged)  # (B, T, 2D)


@flax.struct.dataclass
class JointMemory:
    """Keys and values (B, L, heads, D / heads) that a joint decoder layer reads from L tokens."""

    keys: Array
    values: Array

    def join(self, other: "JointMemory") -> "JointMemory":
        """Both memories as one."""
        return JointMemory(
            jnp.concatenate((self.keys, other.keys), axis=1),
            jnp.concatenate((self.values, other.values), axis=1),
        )


class JointDecoderLayer(nn.Module):
    """A layer that moves the whole face at once (paper table 2a, rows I to III), pre-norm.

    The face attends to itself, then reads the whole memory. It is called as `DecoderLayer` is.

    Attributes:
      width: D.
      num_heads, dropout_rate, dtype: as of `DecoderLayer`.
    """

    width: int
    num_heads: int
    dropout_rate: float = 0.0
    dtype: DTypeLike = jnp.float32

    def setup(self):
        attention = (self.width, self.num_heads, self.dropout_rate, self.dtype)
        self.self_attention = RotaryAttention(*attention)
        self.cross_attention = RotaryAttention(*attention)
        self.norm_0 = layer_norm(self.dtype)
        self.norm_1 = layer_norm(self.dtype)
        self.film_0 = FiLM(self.dtype)
        self.film_1 = FiLM(self.dtype)
        self.out = nn.Dense(self.width, dtype=self.dtype)
        self.dropout = nn.Dropout(self.dropout_rate)

    def remember(self, tokens: Array, positions: MemoryPositions) -> JointMemory:
        """The memory of tokens (B, L, D) at `positions.lip`."""
        return JointMemory(
            self.cross_attention.keys(tokens, rotary_angles(positions.lip, self.width)),
            self.cross_attention.values(tokens),
        )

    def __call__(
        self,
        x: Array,
        lip_vector: Array,
        upper_vector: Array,
        memory: JointMemory,
        *,
        deterministic: bool,
        lip_bias: Array | None = None,
        self_bias: Array | None = None,
    ) -> Array:
        """x (B, T, D) and the FiLM vector that knows the audio, (B, D) -> (B, T, D)."""
        del upper_vector
        angles = rotary_angles(np.arange(x.shape[1]), self.width)
        read = self.self_attention(
            self.norm_0(x), angles, deterministic=deterministic, bias=self_bias
        )
        x = x + self.film_0(self.dropout(read, deterministic=deterministic), lip_vector)
        read = self.cross_attention.attend(
            self.norm_1(x),
            angles,
            memory.keys,
            memory.values,
            deterministic=deterministic,
            bias=lip_bias,
        )
        x = x + self.film_1(self.dropout(read, deterministic=deterministic), lip_vector)
        return self.out(x)  # (B, T, D)
