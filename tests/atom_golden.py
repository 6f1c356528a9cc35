"""The small AToM of the goldens: its network, weights and arrays in this project's layout."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict

from moditalker_jax.convert.atom import TABLE, convert_state_dict
from moditalker_jax.convert.tables import targets
from moditalker_jax.models.atom import AToM

GOLDENS = Path(__file__).parent / "goldens"
AUDIO_WIDTH = 32


def tiny_atom(**changes: Any) -> AToM:
    """The goldens' network, in the release's form unless `changes` say otherwise."""
    sizes = {"num_frames": 12, "width": 64, "mlp_width": 128, "num_layers": 2, "num_heads": 4}
    return AToM(**(sizes | {"share_film": True} | changes))


@cache
def load(name: str) -> dict[str, np.ndarray]:
    """The arrays of tests/goldens/NAME.npz."""
    with np.load(GOLDENS / f"{name}.npz") as arrays:
        return dict(arrays)


@cache
def tiny_variables() -> dict[str, Any]:
    """The goldens' weights, for `tiny_atom().apply`."""
    weights = load("atom_tiny_weights")
    return {"params": convert_state_dict(weights, model=tiny_atom(), audio_width=AUDIO_WIDTH)}


def as_points(array: np.ndarray) -> np.ndarray:
    """(..., T, 204), as the release has it, to (..., T, 68, 3)."""
    return array.reshape(*array.shape[:-1], 68, 3)


def relative_error(actual: Any, expected: np.ndarray) -> float:
    """Greatest difference, relative to the greatest expected value."""
    actual = np.asarray(actual).reshape(expected.shape)
    return float(np.abs(actual - expected).max() / np.abs(expected).max())


def gradient_parts(gradients: Mapping[str, Any], key: str) -> list[np.ndarray]:
    """The gradients of all our parameters that are one tensor `key` of the release; [] if dead."""
    flat = flatten_dict(gradients, sep="/")
    return [np.asarray(flat[path], np.float64) for path, _ in targets(key, TABLE)]
