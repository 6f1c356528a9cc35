"""Converts the release's autoencoder checkpoints (`ViTAutoencoder`, RGB or landmarks)."""

from typing import Any

import numpy as np

from moditalker_jax.convert.tables import Rule, StateDict, convert, layer_norm, linear
from moditalker_jax.models.autoencoder import TriPlaneAutoencoder
from moditalker_jax.models.build import abstract_params


def _timesformer(side: str) -> tuple[Rule, ...]:
    layer, block = f"{side}.layers.*", f"{side}/timesformer/block_{{0}}"
    return (
        *_attention(f"{layer}.0", f"{block}/time_attention", f"{block}/time_norm"),
        *_attention(f"{layer}.1", f"{block}/space_attention", f"{block}/space_norm"),
        *_mlp(f"{layer}.2", f"{block}/mlp", f"{block}/mlp_norm"),
    )


def _plane(name: str) -> tuple[Rule, ...]:
    projection = f"encoder/project_{name}"
    layer, transformer = f"{name}_quant_attn.layers.*", f"{projection}/transformer"
    return (
        Rule(f"{name}_token", f"{projection}/token", np.ravel),
        Rule(f"{name}_pos_embedding", f"{projection}/positions", lambda tensor: tensor[0]),
        *_attention(
            f"{layer}.0", f"{transformer}/attention_{{0}}", f"{transformer}/attention_norm_{{0}}"
        ),
        *_mlp(f"{layer}.1", f"{transformer}/mlp_{{0}}", f"{transformer}/mlp_norm_{{0}}"),
        *_pointwise(f"pre_{name}", f"encoder/latents_{name}"),
        *_pointwise(f"post_{name}", f"decoder/features_{name}"),
    )


def _attention(module: str, path: str, norm: str) -> tuple[Rule, ...]:
    return (
        *layer_norm(f"{module}.norm", norm),
        *linear(f"{module}.fn.to_qkv", f"{path}/qkv", bias=False),
        *linear(f"{module}.fn.to_out.0", f"{path}/out"),
    )


def _mlp(module: str, path: str, norm: str) -> tuple[Rule, ...]:
    return (
        *layer_norm(f"{module}.norm", norm),
        *linear(f"{module}.fn.net.0", f"{path}/expand"),
        *linear(f"{module}.fn.net.3", f"{path}/contract"),
    )


def _pointwise(module: str, path: str) -> tuple[Rule, ...]:
    """A 1x1 convolution that becomes a linear layer."""
    return (
        Rule(f"{module}.weight", f"{path}/kernel", lambda tensor: tensor[:, :, 0, 0].T),
        Rule(f"{module}.bias", f"{path}/bias"),
    )


def _patch_kernel(weight: np.ndarray) -> np.ndarray:
    """Transposed convolution (in, colours, rows, columns) -> (in, rows * columns * colours)."""
    return weight.transpose(0, 2, 3, 1).reshape(weight.shape[0], -1)


TABLE = (
    *linear("encoder.to_patch_embedding", "encoder/patches"),
    *_timesformer("encoder"),
    *_plane("xy"),
    *_plane("yt"),
    *_plane("xt"),
    *_timesformer("decoder"),
    Rule("to_pixel.1.weight", "decoder/pixels/kernel", _patch_kernel),
    Rule("to_pixel.1.bias", "decoder/pixels_bias"),
)

IGNORED = (
    "coords",
    # The rotary frequencies, which are formulas here.
    "encoder.frame_rot_emb.inv_freqs",
    "encoder.image_rot_emb.scales",
    "decoder.frame_rot_emb.inv_freqs",
    "decoder.image_rot_emb.scales",
)


def convert_state_dict(
    state_dict: StateDict, *, model: TriPlaneAutoencoder | None = None
) -> dict[str, Any]:
    """Parameters of `TriPlaneAutoencoder` from a state dict of the release.

    Args:
      state_dict: tensors by key, as `tables.load_state_dict(path)` reads them.
      model: the network to fill, by default the release's at its full size. The weights mean the
        same only with `mismatched_frame_rotary=True`.

    Raises:
      InputError: tensors are missing, left over or of another shape.
    """
    model = model or TriPlaneAutoencoder(mismatched_frame_rotary=True)
    return convert(state_dict, TABLE, expected=abstract_params(model), ignored=IGNORED)
