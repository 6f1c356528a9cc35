"""Re-creates every weight, input and noise of the goldens with numpy alone.

weights: `recipe_value(state_dict_key, shape, seed=0)`, parameters only.
inputs:  `recipe_array(name, shape, seed=7, scale)`.
"""

import zlib

import numpy as np

_GAIN = {"final_layer": 0.15, "pre_xy": 0.4, "pre_yt": 0.4, "pre_xt": 0.4, "to_pixel": 0.5}


def quantise(values, bits=6):
    """Rounds to `bits` significant bits, float32."""
    mantissa, exponent = np.frexp(np.asarray(values, dtype=np.float64))
    return np.ldexp(np.round(mantissa * 2.0**bits) / 2.0**bits, exponent).astype(np.float32)


def recipe_array(name, shape, seed=0, scale=1.0):
    """Normal numbers that depend on the name and the seed only."""
    random = np.random.RandomState((zlib.crc32(name.encode()) ^ seed) & 0xFFFFFFFF)
    values = random.standard_normal(int(np.prod(shape)) if len(shape) else 1)
    return quantise(values.reshape(shape) * scale)


def recipe_value(key, shape, seed=0):
    """The weight of a state dict's key: scaled by its kind and its fan-in."""
    leaf = key.rsplit(".", 1)[-1]
    if leaf in ("bias", "in_proj_bias"):
        return recipe_array(key, shape, seed, 0.05)
    if leaf == "weight" and len(shape) == 1:  # scales of LayerNorm and GroupNorm
        return quantise(1.0 + recipe_array(key, shape, seed, 0.1).astype(np.float64), 8)
    if leaf in ("weight", "in_proj_weight"):
        fan_in = shape[0] if key.startswith("to_pixel") else int(np.prod(shape[1:]))
        gain = _GAIN.get(key.split(".")[0], 1.0)
        return recipe_array(key, shape, seed, gain / np.sqrt(fan_in))
    return recipe_array(key, shape, seed, 0.5)  # tokens, positional and null embeddings
