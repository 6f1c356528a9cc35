"""Flags that several commands have: the files of the networks' weights."""

import argparse
from pathlib import Path

from moditalker_jax.metrics.networks.weights import NETWORKS


def add_weights_flags(parser: argparse.ArgumentParser) -> None:
    """Adds --NETWORK-weights for each of `NETWORKS`."""
    for network, published in NETWORKS.items():
        parser.add_argument(
            f"--{network}-weights",
            type=Path,
            metavar="FILE",
            help=f"{published.file}, for {' and '.join(published.metrics)}",
        )


def weights_files(options: argparse.Namespace) -> dict[str, Path]:
    """The files that were given, by network."""
    given = {network: getattr(options, f"{network}_weights") for network in NETWORKS}
    return {network: path for network, path in given.items() if path is not None}
