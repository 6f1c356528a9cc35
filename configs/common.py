"""What the stages' configs share."""

from collections.abc import Callable

from moditalker_jax.config import with_defaults

try:
    from ml_collections import ConfigDict
except ImportError:  # Flags need it; training from a script does not.
    ConfigDict = dict


def choose(variants: dict, variant: str) -> ConfigDict:
    """The named variant as a ConfigDict that names every field, so that flags can override each.

    Raises:
      ValueError: there is no such variant.
    """
    if variant not in variants:
        raise ValueError(f"no variant {variant!r}; there are {', '.join(variants)}")
    return ConfigDict(with_defaults(variants[variant]()))


def data(variant: str) -> dict:
    """Clips to train on: HDTF-like videos that `data_pipelines.prepare` cut, or puppets."""
    return {"directory": "data/prepared" if variant == "paper" else "data/puppets"}


def choose_row(get_config: Callable, rows: dict, variant: str) -> ConfigDict:
    """A stage's config with the changes of one row of a table.

    Args:
      get_config: of the stage.
      rows: changes by section, of each row.
      variant: "VARIANT.ROW".

    Raises:
      ValueError: there is no such row or variant.
    """
    base, _, row = variant.partition(".")
    if row not in rows:
        raise ValueError(f"no row {row!r}; give VARIANT.ROW with a row of {', '.join(rows)}")
    config = get_config(base)
    for section, changes in rows[row].items():
        config[section] = {**config[section].to_dict(), **changes}
    return config
