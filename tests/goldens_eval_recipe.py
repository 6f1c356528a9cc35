"""Re-creates the weights and inputs behind the goldens of the measures with numpy alone.

`weight(network, key, shape)` is one entry of a state dict, of the networks syncnet, inception_fid,
i3d and iresnet50; `state_dict(network)` is all of them.
"""

import json
from pathlib import Path

import numpy as np

from tests.goldens_recipe import recipe_array, recipe_value

GOLDENS = Path(__file__).parent / "goldens_eval"

_GAINS = {"syncnet": 1.5, "inception_fid": 1.5, "i3d": 1.5, "iresnet50": 1.25}
_OTHER_GAINS = {
    "syncnet": {
        "netcnnlip.0.weight": 1.5 / 64,
        "netcnnaud.0.weight": 1.5 / 16,
        "netfcaud.3.weight": 0.125,
        "netfclip.3.weight": 0.0625,
    },
    "iresnet50": {"conv2.weight": 0.5},
}
"""Gains of whole keys, or of their ends."""


def _gain(network, key):
    for end, gain in _OTHER_GAINS.get(network, {}).items():
        if f".{key}".endswith(f".{end}"):
            return gain
    return _GAINS[network]


def weight(network, key, shape):
    """float32 of that shape; a batch norm's counter is an int64 zero."""
    *_, module, leaf = ("", *key.split("."))
    if leaf == "num_batches_tracked":
        return np.zeros((), np.int64)
    if leaf == "running_mean":
        return recipe_array(key, shape, 0, 0.05)
    if leaf == "running_var":
        return (1 + 0.1 * np.abs(_normal(key, shape, 0))).astype(np.float32)
    if (module, leaf) == ("prelu", "weight"):
        return (0.25 + 0.05 * _normal(key, shape, 0)).astype(np.float32)
    values = recipe_value(key, shape)
    if len(shape) > 1:
        values = (values.astype(np.float64) * _gain(network, key)).astype(np.float32)
    return values


def state_dict(network):
    """Every entry in the order of the PyTorch module."""
    entries = json.loads((GOLDENS / f"state_dict_{network}.json").read_text())
    return {e["key"]: weight(network, e["key"], tuple(e["shape"])) for e in entries}


def image(name, count, rows, columns, *, cell=8, low=48.0, noise=16.0):
    """uint8 (count, rows, columns, 3): noise in cells of `cell` pixels, and noise in each pixel."""
    cells = _normal(f"{name}.low", (count, -(-rows // cell), -(-columns // cell), 3))
    coarse = cells.repeat(cell, axis=1).repeat(cell, axis=2)[:, :rows, :columns]
    fine = _normal(f"{name}.noise", (count, rows, columns, 3))
    return np.clip(np.rint(128 + low * coarse + noise * fine), 0, 255).astype(np.uint8)


def speech(name, samples):
    """int16 (samples,): noise that changes its loudness every 20 ms at 16 kHz."""
    envelope = np.abs(_normal(f"{name}.env", (-(-samples // 320),))).repeat(320)[:samples]
    noise = _normal(f"{name}.noise", (samples + 3,))
    smooth = noise[:-3] + noise[1:-2] + noise[2:-1] + noise[3:]
    return np.clip(np.rint(1500 * envelope * smooth), -32768, 32767).astype(np.int16)


def lpips_pairs():
    """Two uint8 (3, 64, 64, 3): unrelated images, one with noise, one shifted by two pixels."""
    images = image("lpips.a", 3, 64, 64)
    noisy = images[1] + np.rint(recipe_array("lpips.n", (64, 64, 3), 7, 20.0))
    others = (
        image("lpips.b", 1, 64, 64)[0],
        np.clip(noisy, 0, 255).astype(np.uint8),
        np.roll(images[2], 2, axis=1),
    )
    return images, np.stack(others)


def _normal(name, shape, seed=7):
    return recipe_array(name, shape, seed, 1.0).astype(np.float64)
