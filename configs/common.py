"""What the stages' configs share."""

import ml_collections

from moditalker_jax.config import with_defaults


def choose(variants: dict, variant: str) -> ml_collections.ConfigDict:
    """The named variant as a ConfigDict that names every field, so that flags can override each.

    Raises:
      ValueError: there is no such variant.
    """
    if variant not in variants:
        raise ValueError(f"no variant {variant!r}; there are {', '.join(variants)}")
    return ml_collections.ConfigDict(with_defaults(variants[variant]()))


def data(variant: str) -> dict:
    """Shards to train on: HDTF-like videos that `data_pipelines.prepare` cut, or synthetic ones."""
    return {"directory": "data/prepared" if variant == "paper" else "data/synthetic"}
