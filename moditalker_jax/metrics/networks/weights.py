"""Published weights of the networks behind the measures: where to get them, and reading them.

The project ships none of them. Mind their licences: insightface gives ArcFace's weights for
non-commercial research only.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from safetensors.numpy import load_file

from moditalker_jax.convert.metric_networks import (
    convert_arcface,
    convert_i3d,
    convert_inception,
    convert_syncnet,
)
from moditalker_jax.convert.tables import StateDict, load_state_dict
from moditalker_jax.errors import InputError
from moditalker_jax.metrics.networks.layers import Variables


@dataclasses.dataclass(frozen=True)
class Network:
    """A published network.

    Attributes:
      title: its name in the field.
      metrics: the measures that need it.
      file: name of its published weights.
      source: where they are published.
      mark: a key that only this network's state dict has.
      convert: from its state dict to variables.
    """

    title: str
    metrics: tuple[str, ...]
    file: str
    source: str
    mark: str
    convert: Callable[[StateDict], dict[str, Any]]

    @property
    def advice(self) -> str:
        """What to get, from where and for what."""
        return f"for {' and '.join(self.metrics)} get {self.file}, from {self.source}"


NETWORKS = {
    "inception": Network(
        title="Inception-v3",
        metrics=("FID",),
        file="pt_inception-2015-12-05-6726825d.pth",
        source="https://github.com/mseitzer/pytorch-fid/releases",
        mark="Mixed_7c.branch3x3dbl_3b.conv.weight",
        convert=convert_inception,
    ),
    "i3d": Network(
        title="I3D",
        metrics=("FVD",),
        file="i3d_pretrained_400.pt",
        source="https://drive.google.com/uc?id=1fBNl3TS0LA5FEhZv5nMGJs2_7qQmvTmh (PVDM's copy)",
        mark="Mixed_5c.b3b.conv3d.weight",
        convert=convert_i3d,
    ),
    "arcface": Network(
        title="ArcFace's iResNet",
        metrics=("CSIM",),
        file="backbone.pth (r50 or r100)",
        source="the model zoo of arcface_torch in https://github.com/deepinsight/insightface",
        mark="layer1.0.prelu.weight",
        convert=convert_arcface,
    ),
    "syncnet": Network(
        title="SyncNet",
        metrics=("LSE-D", "LSE-C"),
        file="syncnet_v2.model",
        source="http://www.robots.ox.ac.uk/~vgg/software/lipsync/data/syncnet_v2.model",
        mark="netcnnlip.0.weight",
        convert=convert_syncnet,
    ),
}
"""By the names that `load_variables` takes."""


def load_variables(name: str, path: str | Path) -> Variables:
    """Reads a network's published weights.

    Args:
      name: one of `NETWORKS`.
      path: of the state dict: a file of `torch.save`, `.safetensors`, or `.npz` of arrays by key.
        Nothing in it is run.

    Returns:
      What the network's functions take, as arrays on the default device.

    Raises:
      InputError: there is no such file, it is not readable, or it holds another network.
    """
    network, path = NETWORKS[name], Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; {network.advice}")
    tensors = {key.removeprefix("module."): value for key, value in _read(path).items()}
    if network.mark not in tensors:
        held = [other.title for other in NETWORKS.values() if other.mark in tensors]
        what = held[0] if held else "another network"
        raise InputError(f"{path}: holds {what}, not {network.title}; {network.advice}")
    try:
        return jax.tree.map(jnp.asarray, network.convert(tensors))
    except InputError as error:
        raise InputError(f"{path}: {error}; {network.advice}") from error


def _read(path: Path) -> StateDict:
    if path.suffix != ".safetensors":
        return load_state_dict(path)
    try:
        return load_file(path)
    except Exception as error:  # of the file, the format, or a type of numbers that numpy lacks
        raise InputError(f"{path}: not a readable safetensors file ({error})") from error
