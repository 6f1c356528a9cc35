"""Conversion of the release's tri-plane U-Net (state dict of its `DiffusionWrapper`).

The release names blocks by their place in flat lists: list 0 of the way down is the first
convolution, and inside a block the residual block, the attention and the second residual block are
numbered as they come. The table is therefore made from the network's plan.
"""

from typing import Any

import numpy as np

from moditalker_jax.convert.tables import Rule, StateDict, Table, convert, layer_norm, linear
from moditalker_jax.models.build import abstract_params
from moditalker_jax.models.mtov import BlockPlan, TriPlaneUNet, UNetPlan, plan_blocks

_ROOT = "diffusion_model"


def pointwise_kernel(weight: np.ndarray) -> np.ndarray:
    """Weight of a convolution with window 1, (out, in, 1, ...) -> (in, out) of an `nn.Dense`."""
    return weight.reshape(weight.shape[:2]).T


def _pointwise(module: str, path: str) -> tuple[Rule, ...]:
    return (
        Rule(f"{module}.weight", f"{path}/kernel", pointwise_kernel),
        Rule(f"{module}.bias", f"{path}/bias"),
    )


def _residual(module: str, path: str, *, skip: bool = True) -> tuple[Rule, ...]:
    rules = (
        *layer_norm(f"{module}.in_layers.0", f"{path}/norm_in"),
        *linear(f"{module}.in_layers.2", f"{path}/conv_in"),
        *linear(f"{module}.emb_layers.1", f"{path}/time"),
        *layer_norm(f"{module}.out_layers.0", f"{path}/norm_out"),
        *linear(f"{module}.out_layers.3", f"{path}/conv_out"),
    )
    return (*rules, *_pointwise(f"{module}.skip_connection", f"{path}/skip")) if skip else rules


def _attention(module: str, path: str) -> tuple[Rule, ...]:
    return (
        *layer_norm(f"{module}.norm", f"{path}/norm"),
        *_pointwise(f"{module}.qkv", f"{path}/qkv"),
        *_pointwise(f"{module}.proj_out", f"{path}/projection"),
    )


def _block(block: str, joint: str, path: str, plan: BlockPlan) -> tuple[Rule, ...]:
    rules = [*_residual(f"{block}.0", f"{path}/residual")]
    if plan.attention:
        rules += _attention(f"{block}.1", f"{path}/plane_attention")
    if plan.ending:
        rules += _residual(f"{block}.{1 + plan.attention}", f"{path}/ending", skip=False)
    return (*rules, *_attention(joint, f"{path}/joint_attention"))


def _plan(model: TriPlaneUNet) -> UNetPlan:
    return plan_blocks(
        model.channel_multipliers, model.num_res_blocks, model.attention_downsampling
    )


def table(model: TriPlaneUNet) -> Table:
    """The rules for a release's U-Net of the same configuration as `model`."""
    plan = _plan(model)
    rules = [
        *linear(f"{_ROOT}.time_embed.0", "time_in"),
        *linear(f"{_ROOT}.time_embed.2", "time_out"),
        *linear(f"{_ROOT}.input_blocks.0.0", "conv_in"),
        *_block(f"{_ROOT}.middle_block", f"{_ROOT}.mid_attn", "middle", plan.middle),
        *layer_norm(f"{_ROOT}.out.0", "norm_out"),
        *linear(f"{_ROOT}.out.2", "conv_out"),
    ]
    for index, block in enumerate(plan.down):
        names = (f"{_ROOT}.input_blocks.{index + 1}", f"{_ROOT}.input_attns.{index + 1}")
        rules += _block(*names, f"down_{index}", block)
    for index, block in enumerate(plan.up):
        names = (f"{_ROOT}.output_blocks.{index}", f"{_ROOT}.output_attns.{index}")
        rules += _block(*names, f"up_{index}", block)
    return tuple(rules)


def ignored(model: TriPlaneUNet) -> tuple[str, ...]:
    """Keys of the release's second way up, which it owns and never runs, and of a zero buffer.

    The dead blocks are the way up without attention inside the planes.
    """
    keys = [f"{_ROOT}.zeros"]
    for index, block in enumerate(_plan(model).up):
        names = (f"{_ROOT}.output_bg_blocks.{index}", f"{_ROOT}.output_bg_attns.{index}")
        dead = _block(*names, "", block._replace(attention=False))
        keys += [rule.pattern for rule in dead]
    return tuple(keys)


def convert_state_dict(
    state_dict: StateDict, *, model: TriPlaneUNet | None = None
) -> dict[str, Any]:
    """Parameters of `TriPlaneUNet` from a state dict of the release's `DiffusionWrapper`.

    Args:
      state_dict: tensors by key, as `tables.load_state_dict(path)` reads them.
      model: the network to fill, by default the release's at its full size. The weights mean the
        same only with `reference_on_xy_only=True`.

    Raises:
      InputError: tensors are missing, left over or of another shape.
    """
    model = model or TriPlaneUNet(reference_on_xy_only=True)
    expected = abstract_params(model)
    return convert(state_dict, table(model), expected=expected, ignored=ignored(model))
