"""Converts the release's AToM checkpoints (`train-N.pt`)."""

from typing import Any

from moditalker_jax.convert.tables import (
    Rule,
    StateDict,
    convert,
    identity,
    layer_norm,
    linear,
    third,
    to_kernel,
)
from moditalker_jax.models.atom import AToM
from moditalker_jax.models.build import abstract_params

RELEASE_AUDIO_WIDTH = 1024
"""Width of the HuBERT features that the release's network reads."""

ENTRIES = ("model_state_dict", "ema_state_dict")
"""Entries of the checkpoint file. The raw weights come first: the release samples with them, and
its averaged ones start anew from random weights at each resume."""


def _attention(module: str, path: str) -> tuple[Rule, ...]:
    projections = enumerate(("query", "key", "value"))
    return (
        *(
            Rule(f"{module}.in_proj_{kind}", f"{path}/{name}/{leaf}", third(index, then))
            for index, name in projections
            for kind, leaf, then in (("weight", "kernel", to_kernel), ("bias", "bias", identity))
        ),
        *linear(f"{module}.out_proj", f"{path}/out"),
    )


def _encoder(module: str, path: str) -> tuple[Rule, ...]:
    return (
        *_attention(f"{module}.*.self_attn", f"{path}_{{0}}/attention"),
        *layer_norm(f"{module}.*.norm1", f"{path}_{{0}}/attention_norm"),
        *layer_norm(f"{module}.*.norm2", f"{path}_{{0}}/mlp_norm"),
        *linear(f"{module}.*.linear1", f"{path}_{{0}}/mlp_in"),
        *linear(f"{module}.*.linear2", f"{path}_{{0}}/mlp_out"),
    )


def _pooled(module: str, path: str) -> tuple[Rule, ...]:
    return (
        *layer_norm(f"{module}.0", f"{path}/norm"),
        *linear(f"{module}.1", f"{path}/hidden"),
        *linear(f"{module}.3", f"{path}/out"),
    )


_STACK = "seqTransDecoder.stack.*"

TABLE = (
    Rule("null_cond_embed", "null_audio"),
    Rule("face_null_cond_embed", "null_landmarks"),
    Rule("null_cond_hidden", "null_audio_vector"),
    *linear("time_mlp.1", "time_hidden"),
    *linear("to_time_cond.0", "time_vector"),
    *linear("to_time_tokens.0", "time_tokens"),
    *linear("cond_projection", "audio_projection"),
    *_encoder("cond_encoder", "audio_encoder"),
    *_pooled("non_attn_cond_projection", "audio_pooled"),
    *linear("face_projection", "landmark_projection"),
    *_encoder("face_encoder", "landmark_encoder"),
    *_pooled("non_attn_face_projection", "landmark_pooled"),
    *layer_norm("norm_cond", "memory_norm"),
    *linear("input_projection_lip", "lip_projection"),
    *linear("input_projection_wo_lip", "upper_projection"),
    *_attention(f"{_STACK}.self_attn", "decoder_{0}/self_attention"),
    *_attention(f"{_STACK}.multihead_attn", "decoder_{0}/cross_attention"),
    *layer_norm(f"{_STACK}.norm1", "decoder_{0}/part_norm_0"),
    *layer_norm(f"{_STACK}.norm2", "decoder_{0}/part_norm_1"),
    *layer_norm(f"{_STACK}.norm3", "decoder_{0}/merged_norm"),
    *linear(f"{_STACK}.film1.block.1", "decoder_{0}/part_film_0/linear"),
    *linear(f"{_STACK}.film2.block.1", "decoder_{0}/part_film_1/linear"),
    *linear(f"{_STACK}.film3.block.1", "decoder_{0}/merged_film/linear"),
    *linear(f"{_STACK}.linear3", "decoder_{0}/out"),
    *linear("final_layer", "out"),
)

IGNORED = (
    # Parameters that the release's forward pass never reads.
    "face_mlp",
    "input_projection",
    "non_attn_pos_projection",
    "pos_encoder",
    "pos_projection",
    "seqTransDecoder.stack.*.linear1",
    "seqTransDecoder.stack.*.linear2",
    "to_face_cond",
    "to_face_tokens",
    # The rotary frequencies, which are a formula here.
    "rotary.freqs",
    "cond_encoder.*.rotary.freqs",
    "face_encoder.*.rotary.freqs",
    "seqTransDecoder.stack.*.rotary.freqs",
)


def convert_state_dict(
    state_dict: StateDict, *, model: AToM | None = None, audio_width: int = RELEASE_AUDIO_WIDTH
) -> dict[str, Any]:
    """Parameters of `AToM` from a state dict of the release's MotionDecoder.

    Args:
      state_dict: tensors by key, as `tables.load_state_dict(path, entries=ENTRIES)` reads them.
      model: the network to fill, by default the release's at its full size. The weights mean
        the same only with `share_film=True`.
      audio_width: of the audio features.

    Raises:
      InputError: tensors are missing, left over or of another shape.
    """
    model = model or AToM(share_film=True)
    expected = abstract_params(model, audio_width=audio_width)
    return convert(state_dict, TABLE, expected=expected, ignored=IGNORED)
