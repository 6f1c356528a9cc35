"""Conversion of the speech encoders' published weights: HuBERT and Whisper of transformers' format.

Positions' weight norm is folded: w = g * v / |v|, the norm over all but the window's axis.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from moditalker_jax.convert.tables import (
    Rule,
    StateDict,
    Table,
    convert,
    layer_norm,
    linear,
    to_kernel,
)

HUBERT_IGNORED = ("masked_spec_embed", "lm_head", "quantizer", "projector", "classifier")

_POSITIONS = "encoder.pos_conv_embed.conv"
_WEIGHT_NORM = (
    (f"{_POSITIONS}.weight_g", f"{_POSITIONS}.weight_v"),
    tuple(f"{_POSITIONS}.parametrizations.weight.original{i}" for i in (0, 1)),
)
"""Names of g and v as older and newer PyTorch have them."""

_CONVOLUTION = "feature_extractor.conv_layers"
HUBERT_TABLE: Table = (
    *linear(f"{_CONVOLUTION}.*.conv", "conv_{0}"),
    *layer_norm(f"{_CONVOLUTION}.*.layer_norm", "conv_norm_{0}"),
    *layer_norm("feature_projection.layer_norm", "projection_norm"),
    *linear("feature_projection.projection", "projection"),
    *linear(_POSITIONS, "positions"),
    *layer_norm("encoder.layer_norm", "norm"),
    *linear("encoder.layers.*.attention.q_proj", "layers_{0}/query"),
    *linear("encoder.layers.*.attention.k_proj", "layers_{0}/key"),
    *linear("encoder.layers.*.attention.v_proj", "layers_{0}/value"),
    *linear("encoder.layers.*.attention.out_proj", "layers_{0}/out"),
    *layer_norm("encoder.layers.*.layer_norm", "layers_{0}/attention_norm"),
    *layer_norm("encoder.layers.*.final_layer_norm", "layers_{0}/mlp_norm"),
    *linear("encoder.layers.*.feed_forward.intermediate_dense", "layers_{0}/mlp_in"),
    *linear("encoder.layers.*.feed_forward.output_dense", "layers_{0}/mlp_out"),
)

WHISPER_TABLE: Table = (
    *linear("encoder.conv1", "conv_in"),
    *linear("encoder.conv2", "conv_halve"),
    Rule("encoder.embed_positions.weight", "positions"),
    *layer_norm("encoder.layer_norm", "norm"),
    *linear("encoder.layers.*.self_attn.q_proj", "layers_{0}/query"),
    Rule("encoder.layers.*.self_attn.k_proj.weight", "layers_{0}/key/kernel", to_kernel),
    *linear("encoder.layers.*.self_attn.v_proj", "layers_{0}/value"),
    *linear("encoder.layers.*.self_attn.out_proj", "layers_{0}/out"),
    *layer_norm("encoder.layers.*.self_attn_layer_norm", "layers_{0}/attention_norm"),
    *layer_norm("encoder.layers.*.final_layer_norm", "layers_{0}/mlp_norm"),
    *linear("encoder.layers.*.fc1", "layers_{0}/mlp_in"),
    *linear("encoder.layers.*.fc2", "layers_{0}/mlp_out"),
)


def convert_hubert(state_dict: StateDict, *, expected: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters of a `HuBERT` from the state dict of a HubertModel or of one with a head.

    Raises:
      InputError: tensors are missing, left over or of another shape.
    """
    state_dict = {key.removeprefix("hubert."): value for key, value in state_dict.items()}
    for scale, direction in _WEIGHT_NORM:
        if scale in state_dict and direction in state_dict:
            g, v = (np.asarray(state_dict.pop(key), np.float64) for key in (scale, direction))
            norm = np.sqrt(np.sum(v**2, axis=(0, 1), keepdims=True))
            state_dict[f"{_POSITIONS}.weight"] = (g * v / norm).astype(np.float32)
    return convert(state_dict, HUBERT_TABLE, expected=expected, ignored=HUBERT_IGNORED)


def whisper_encoder_tensors(state_dict: StateDict) -> dict[str, np.ndarray]:
    """What of a WhisperModel's state dict, or of one with a head, belongs to the encoder."""
    named = {key.removeprefix("model."): value for key, value in state_dict.items()}
    return {key: value for key, value in named.items() if key.startswith("encoder.")}


def convert_whisper(tensors: StateDict, *, expected: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters of a `WhisperEncoder` from `whisper_encoder_tensors`.

    Raises:
      InputError: tensors are missing, left over or of another shape.
    """
    return convert(tensors, WHISPER_TABLE, expected=expected)
