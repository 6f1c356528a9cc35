"""MToV's denoiser: a U-Net on tri-planes (paper section 4.3, equation 6).

One 2D U-Net denoises the planes xy, yt and xt of a clip with the same weights; after each of its
blocks one attention joins all tokens of all planes. Landmarks, pose and identity enter as latent
tri-planes beside the noisy one.
"""

import functools
from collections.abc import Iterable
from typing import Literal, NamedTuple, get_args

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from moditalker_jax.nn.embeddings import sinusoidal_embedding
from moditalker_jax.nn.unet_blocks import (
    NORM_EPSILON,
    AudioAttention,
    PlaneSizes,
    ResidualBlock,
    TokenAttention,
    downsample,
    map_planes,
    upsample,
)
from moditalker_jax.triplane import TriPlane

Condition = Literal["landmark", "pose", "reference", "audio"]


class BlockPlan(NamedTuple):
    """One block of the U-Net: a residual block and what stands around it.

    The attention across planes, which every block ends with, goes without saying.

    Attributes:
      multiplier: output channels in units of `base_channels`.
      attention: attention within each plane follows the residual block.
      halve: the residual block halves the planes.
      ending: a second residual block, "residual" or, doubling the planes, "upsample".
    """

    multiplier: int
    attention: bool = False
    halve: bool = False
    ending: Literal["residual", "upsample"] | None = None


class UNetPlan(NamedTuple):
    """Blocks on the way down (after the first convolution), in the middle, on the way up."""

    down: tuple[BlockPlan, ...]
    middle: BlockPlan
    up: tuple[BlockPlan, ...]


def plan_blocks(
    channel_multipliers: Iterable[int], num_res_blocks: int, attention_downsampling: Iterable[int]
) -> UNetPlan:
    """Lays out the U-Net.

    Each level has `num_res_blocks` blocks (and one that halves, but for the last level) going
    down and `num_res_blocks + 1` going up, so that each feature of the way down, the first
    convolution's included, is read by one skip connection.
    """
    down, up = [], []
    multipliers, attention_levels = tuple(channel_multipliers), set(attention_downsampling)
    for level, multiplier in enumerate(multipliers):
        block = BlockPlan(multiplier, attention=2**level in attention_levels)
        down += [block] * num_res_blocks
        if level + 1 < len(multipliers):
            down.append(BlockPlan(multiplier, halve=True))
        last = block._replace(ending="upsample" if level else None)
        up = [block] * num_res_blocks + [last] + up
    middle = BlockPlan(multipliers[-1], attention=True, ending="residual")
    return UNetPlan(tuple(down), middle, tuple(up))


class TriPlaneBlock(nn.Module):
    """One block of the plan on the three planes, then attention across them."""

    plan: BlockPlan
    base_channels: int
    num_heads: int = 8
    num_groups: int = 32
    dropout_rate: float = 0.0
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self,
        tokens: Array,
        sizes: PlaneSizes,
        time: Array,
        audio_features: Array | None,
        *,
        deterministic: bool,
    ) -> tuple[Array, PlaneSizes]:
        """Maps tokens (B, L, C) of planes with `sizes` to (B, L', C') and their new sizes.

        Given `audio_features` (B, S, A), the blocks that attend within planes read them.
        """
        channels = self.plan.multiplier * self.base_channels
        residual = functools.partial(
            ResidualBlock,
            channels,
            num_groups=self.num_groups,
            dropout_rate=self.dropout_rate,
            dtype=self.dtype,
        )
        attention = functools.partial(
            TokenAttention,
            num_heads=self.num_heads,
            num_groups=self.num_groups,
            dtype=self.dtype,
        )

        resample = {"resample": downsample} if self.plan.halve else {}
        block = residual(name="residual", **resample)
        tokens = map_planes(lambda x: block(x, time, deterministic=deterministic), tokens, sizes)
        if self.plan.halve:
            sizes = tuple((rows // 2, columns // 2) for rows, columns in sizes)

        if self.plan.attention:
            within = attention(name="plane_attention")
            tokens = map_planes(
                lambda x: within(x.reshape(x.shape[0], -1, channels)).reshape(x.shape),
                tokens,
                sizes,
            )
            if audio_features is not None:
                read = AudioAttention(
                    self.num_heads, self.num_groups, self.dtype, name="audio_attention"
                )
                tokens = read(tokens, sizes, audio_features)

        if self.plan.ending:
            resample = {"resample": upsample} if self.plan.ending == "upsample" else {}
            last = residual(name="ending", **resample)
            tokens = map_planes(lambda x: last(x, time, deterministic=deterministic), tokens, sizes)
        if self.plan.ending == "upsample":
            sizes = tuple((rows * 2, columns * 2) for rows, columns in sizes)

        return attention(name="joint_attention")(tokens), sizes


class TriPlaneUNet(nn.Module):
    """The denoiser of MToV; what it predicts (x0, epsilon, v) is its trainer's business.

    Attributes:
      out_channels: latent channels of the prediction.
      base_channels: width of the first level.
      channel_multipliers: width of each level in units of `base_channels`; each level after the
        first halves the planes.
      num_res_blocks: blocks of a level going down (going up has one more).
      attention_downsampling: the downsampling factors whose blocks attend within each plane.
      num_heads: of every attention.
      num_groups: of every GroupNorm; divides all widths.
      conditions: what the network is told (paper table 2b). "landmark", "pose" and "reference" are
        latents beside the noisy ones; "audio" is read by cross-attention.
      reference_on_xy_only: the identity latents' yt and xt planes are replaced by zeros, as in the
        authors' release; the paper conditions every plane.
      reference_residual: the prediction is the identity latents plus what the network adds, so that
        a fresh network returns the identity. For predictions of x0: what stays as it is in the
        identity frame need not be learned.
      dropout_rate: before the second convolution of each residual block.
      remat: recompute each block in the backward pass, to save memory.
      dtype: of convolutions, projections and attention; norms and softmax stay float32.
    """

    out_channels: int = 4
    base_channels: int = 128
    channel_multipliers: tuple[int, ...] = (1, 2, 4, 4)
    num_res_blocks: int = 2
    attention_downsampling: tuple[int, ...] = (1, 2, 4)
    num_heads: int = 8
    num_groups: int = 32
    conditions: tuple[Condition, ...] = ("landmark", "pose", "reference")
    reference_on_xy_only: bool = False
    reference_residual: bool = False
    dropout_rate: float = 0.0
    remat: bool = False
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self,
        x_t: TriPlane,
        timesteps: Array,
        landmark_latents: TriPlane,
        pose_latents: TriPlane,
        reference_latents: TriPlane,
        audio_features: Array | None = None,
        *,
        train: bool = False,
    ) -> TriPlane:
        """Denoises one batch of tri-planes.

        Args:
          x_t: noisy latents; the sides of its planes are multiples of 2**(levels - 1).
          timesteps: (B,), larger is noisier.
          landmark_latents: of the landmark video, with planes of the same sizes.
          pose_latents: of the frames that are black below the nose.
          reference_latents: of the identity frames.
          audio_features: (B, 2T, A) at 50 Hz, for the condition "audio".
          train: dropout is on (needs the rng stream "dropout").

        Returns:
          The prediction, float32, with the plane sizes of `x_t` and `out_channels`. A freshly
          initialised network returns zeros, with `reference_residual` the identity latents.

        Raises:
          ValueError: a condition is unknown, or is "audio" and there are no `audio_features`.
        """
        if unknown := set(self.conditions) - set(get_args(Condition)):
            raise ValueError(f"conditions are {get_args(Condition)}, not {sorted(unknown)}")
        reads_audio = "audio" in self.conditions
        if reads_audio and audio_features is None:
            raise ValueError("the condition 'audio' needs audio_features")
        if self.reference_on_xy_only:
            reference_latents = reference_latents.replace(
                yt=jnp.zeros_like(reference_latents.yt), xt=jnp.zeros_like(reference_latents.xt)
            )
        latents = {
            "landmark": landmark_latents,
            "pose": pose_latents,
            "reference": reference_latents,
        }
        told = [latents[name] for name in latents if name in self.conditions]
        tokens = x_t.concatenate(*told).to_tokens().astype(self.dtype)  # (B, L, 4 * C)
        sizes = self._plane_sizes(x_t)
        time = self._embed_time(timesteps)  # (B, 4 * base_channels)

        conv_in = nn.Conv(self.base_channels, (3, 3), dtype=self.dtype, name="conv_in")
        tokens = map_planes(conv_in, tokens, sizes)  # (B, L, base_channels)
        audio = audio_features.astype(self.dtype) if reads_audio else None
        tokens = self._run_blocks(tokens, sizes, time, audio, deterministic=not train)

        norm_out = nn.GroupNorm(self.num_groups, epsilon=NORM_EPSILON, name="norm_out")
        conv_out = nn.Conv(
            self.out_channels,
            (3, 3),
            kernel_init=nn.initializers.zeros,
            dtype=self.dtype,
            name="conv_out",
        )
        tokens = map_planes(
            lambda x: conv_out(nn.silu(norm_out(x)).astype(self.dtype)), tokens, sizes
        )  # (B, L, out_channels)
        output = x_t.with_tokens(tokens.astype(jnp.float32))
        if self.reference_residual and "reference" in self.conditions:
            output = jax.tree.map(jnp.add, output, reference_latents)
        return output

    def _embed_time(self, timesteps: Array) -> Array:
        """The activated embedding of the timesteps that every residual block projects."""
        width = 4 * self.base_channels
        h = sinusoidal_embedding(timesteps, self.base_channels, cosine_first=True, inclusive=False)
        h = nn.Dense(width, dtype=self.dtype, name="time_in")(h)
        h = nn.Dense(width, dtype=self.dtype, name="time_out")(nn.silu(h))
        return nn.silu(h)

    def _run_blocks(
        self,
        tokens: Array,
        sizes: PlaneSizes,
        time: Array,
        audio: Array | None,
        *,
        deterministic: bool,
    ) -> Array:
        """The way down, the middle and the way up; tokens (B, L, base_channels) both ways."""
        plan = plan_blocks(
            self.channel_multipliers, self.num_res_blocks, self.attention_downsampling
        )
        build = functools.partial(
            TriPlaneBlock,
            base_channels=self.base_channels,
            num_heads=self.num_heads,
            num_groups=self.num_groups,
            dropout_rate=self.dropout_rate,
            dtype=self.dtype,
        )

        def run(block: BlockPlan, name: str, tokens: Array, sizes: PlaneSizes):
            new_sizes = []

            def call(
                module: TriPlaneBlock, tokens: Array, time: Array, audio: Array | None
            ) -> Array:
                tokens, new_sizes[:] = module(
                    tokens, sizes, time, audio, deterministic=deterministic
                )
                return tokens

            call = nn.remat(call) if self.remat else call
            return call(build(block, name=name), tokens, time, audio), tuple(new_sizes)

        skips = [tokens]
        for index, block in enumerate(plan.down):
            tokens, sizes = run(block, f"down_{index}", tokens, sizes)
            skips.append(tokens)
        tokens, sizes = run(plan.middle, "middle", tokens, sizes)
        for index, block in enumerate(plan.up):
            tokens = jnp.concatenate((tokens, skips.pop()), axis=-1)
            tokens, sizes = run(block, f"up_{index}", tokens, sizes)
        return tokens

    def _plane_sizes(self, planes: TriPlane) -> PlaneSizes:
        sizes = tuple(plane.shape[1:3] for plane in jax.tree.leaves(planes))
        factor = 2 ** (len(self.channel_multipliers) - 1)
        if any(side % factor for size in sizes for side in size):
            raise ValueError(f"planes of {sizes} do not halve {factor.bit_length() - 1} times")
        return sizes
