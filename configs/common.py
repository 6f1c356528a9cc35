"""What the stages' configs share."""

import ml_collections


def choose(variants: dict, variant: str) -> ml_collections.ConfigDict:
    """The named variant as a ConfigDict.

    Raises:
      ValueError: there is no such variant.
    """
    if variant not in variants:
        raise ValueError(f"no variant {variant!r}; there are {', '.join(variants)}")
    return ml_collections.ConfigDict(variants[variant]())


def data(variant: str) -> dict:
    """Shards to train on: HDTF-like videos that `data_pipelines.prepare` cut, or synthetic ones."""
    return {"directory": "data/prepared" if variant == "paper" else "data/synthetic"}
