"""Conversion of the published PyTorch weights of the networks behind the measures.

Each function takes a state dict and returns the variables of the network of that name in
`moditalker_jax.metrics.networks`, {"params": ..., "batch_stats": ...}. PyTorch's counters of the
batches that a batch norm saw are dropped, and Inception's classifiers; anything else that a network
does not use is refused.
"""

from collections.abc import Iterable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict

from moditalker_jax.convert.tables import Rule, StateDict, Table, convert, linear, to_kernel
from moditalker_jax.errors import InputError
from moditalker_jax.metrics.networks.i3d import I3D
from moditalker_jax.metrics.networks.inception import InceptionV3
from moditalker_jax.metrics.networks.iresnet import DEPTHS, IResNet, count_blocks
from moditalker_jax.metrics.networks.syncnet import SyncNet

_COUNTER = ".num_batches_tracked"
_FID_CLASSES = 1008


def _weight(module: str, path: str) -> Rule:
    return Rule(f"{module}.weight", f"params/{path}/kernel", to_kernel)


def _batch_norm(module: str, path: str) -> Table:
    return (
        Rule(f"{module}.weight", f"params/{path}/scale"),
        Rule(f"{module}.bias", f"params/{path}/bias"),
        Rule(f"{module}.running_mean", f"batch_stats/{path}/mean"),
        Rule(f"{module}.running_var", f"batch_stats/{path}/var"),
    )


def _flattened_rows_first(weight: np.ndarray) -> np.ndarray:
    """Weight (D, 512 * 7 * 7) over flattened (C, H, W) to a kernel over flattened (H, W, C)."""
    return to_kernel(weight.reshape(-1, 512, 7, 7)).reshape(-1, weight.shape[0])


_BLOCK = "layer*.*"
_BLOCK_PATH = "layer{0}_{1}"
_ARCFACE_TABLE: Table = (
    _weight("conv1", "conv1"),
    *_batch_norm("bn1", "bn1"),
    Rule("prelu.weight", "params/prelu/slope"),
    *_batch_norm(f"{_BLOCK}.bn1", f"{_BLOCK_PATH}/bn1"),
    _weight(f"{_BLOCK}.conv1", f"{_BLOCK_PATH}/conv1"),
    *_batch_norm(f"{_BLOCK}.bn2", f"{_BLOCK_PATH}/bn2"),
    Rule(f"{_BLOCK}.prelu.weight", f"params/{_BLOCK_PATH}/prelu/slope"),
    _weight(f"{_BLOCK}.conv2", f"{_BLOCK_PATH}/conv2"),
    *_batch_norm(f"{_BLOCK}.bn3", f"{_BLOCK_PATH}/bn3"),
    _weight(f"{_BLOCK}.downsample.0", f"{_BLOCK_PATH}/shortcut"),
    *_batch_norm(f"{_BLOCK}.downsample.1", f"{_BLOCK_PATH}/shortcut_bn"),
    *_batch_norm("bn2", "bn2"),
    Rule("fc.weight", "params/fc/kernel", _flattened_rows_first),
    Rule("fc.bias", "params/fc/bias"),
    *_batch_norm("features", "features"),
)


def _all_frames_at_once(weight: np.ndarray) -> np.ndarray:
    """Weight (out, C, T, *window) to a kernel (*window, T * C, out) over frames as channels."""
    kernel = np.moveaxis(to_kernel(weight), 0, 2)
    return kernel.reshape(*kernel.shape[:2], -1, kernel.shape[-1])


_POSITIONS = (0, 4, 8, 11, 14, 18)
"""Places of SyncNet's convolutions in its sequences; the batch norms are right behind them."""


def _syncnet_tower(convolutions: str, head: str, path: str) -> Table:
    rules: list[Rule] = []
    for index, position in enumerate(_POSITIONS):
        place = f"{path}/conv_{index}"
        # The lips' windows have three axes, of which the first is folded.
        transform = _all_frames_at_once if path == "lips" else to_kernel
        rules += (
            Rule(f"{convolutions}.{position}.weight", f"params/{place}/conv/kernel", transform),
            Rule(f"{convolutions}.{position}.bias", f"params/{place}/conv/bias"),
            *_batch_norm(f"{convolutions}.{position + 1}", f"{place}/norm"),
        )
    return (
        *rules,
        *linear(f"{head}.0", f"params/{path}/head/hidden"),
        *_batch_norm(f"{head}.1", f"{path}/head/norm"),
        *linear(f"{head}.3", f"params/{path}/head/features"),
    )


_SYNCNET_TABLE: Table = (
    *_syncnet_tower("netcnnlip", "netfclip", "lips"),
    *_syncnet_tower("netcnnaud", "netfcaud", "sound"),
)


def convert_inception(state_dict: StateDict) -> dict[str, Any]:
    """Variables of an `InceptionV3`; its classifiers are not used.

    Raises:
      InputError: tensors are missing, left over or of another shape, or the weights are
        torchvision's.
    """
    classes = len(state_dict.get("fc.bias", range(_FID_CLASSES)))
    if classes != _FID_CLASSES:
        raise InputError(
            f"an Inception-v3 of {classes} classes, as torchvision's; FID is defined with the "
            f"features of the one of {_FID_CLASSES}"
        )
    expected = _expected(InceptionV3(), (1, 299, 299, 3))
    table = _same_names(expected, conv="conv", norm="bn")
    return _convert(state_dict, table, expected, ignored=("fc", "AuxLogits"))


def convert_i3d(state_dict: StateDict) -> dict[str, Any]:
    """Variables of an `I3D`.

    Raises:
      InputError: tensors are missing, left over or of another shape.
    """
    expected = _expected(I3D(), (1, 16, 224, 224, 3))
    logits = linear("logits.conv3d", "params/logits")
    table = (*_same_names(expected, conv="conv3d", norm="bn"), *logits)
    return _convert(state_dict, table, expected)


def convert_arcface(state_dict: StateDict) -> dict[str, Any]:
    """Variables of an `IResNet`, of the depth that the state dict has.

    Raises:
      InputError: tensors are missing, left over or of another shape, or the depth is unknown.
    """
    blocks = count_blocks(state_dict)
    if blocks not in DEPTHS.values():
        raise InputError(
            f"an iResNet whose stages have {', '.join(map(str, blocks))} blocks; only the depths "
            f"{' and '.join(map(str, DEPTHS))} are known"
        )
    return _convert(state_dict, _ARCFACE_TABLE, _expected(IResNet(blocks), (1, 112, 112, 3)))


def convert_syncnet(state_dict: StateDict) -> dict[str, Any]:
    """Variables of a `SyncNet`.

    Raises:
      InputError: tensors are missing, left over or of another shape.
    """
    expected = _expected(SyncNet(), (1, 5, 224, 224, 3), (1, 20, 13))
    return _convert(state_dict, _SYNCNET_TABLE, expected)


def _expected(network: nn.Module, *inputs: tuple[int, ...]) -> dict[str, Any]:
    shapes = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in inputs)
    return jax.eval_shape(network.init, jax.random.key(0), *shapes)


def _convert(
    state_dict: StateDict, table: Table, expected: dict[str, Any], ignored: Iterable[str] = ()
) -> dict[str, Any]:
    tensors = {key: value for key, value in state_dict.items() if not key.endswith(_COUNTER)}
    return convert(tensors, table, expected=expected, ignored=ignored)


def _same_names(expected: dict[str, Any], *, conv: str, norm: str) -> Table:
    """Rules of all `ConvNorm` of a network that has its modules' names from the state dict."""
    means = flatten_dict(expected["batch_stats"], sep="/")
    paths = {path.removesuffix("/norm/mean") for path in means if path.endswith("/norm/mean")}
    rules: list[Rule] = []
    for path in sorted(paths):
        module = path.replace("/", ".")
        rules.append(_weight(f"{module}.{conv}", f"{path}/conv"))
        rules.extend(_batch_norm(f"{module}.{norm}", f"{path}/norm"))
    return rules
