"""Flags that several commands have: what is measured, and the files of the networks' weights."""

import argparse
from pathlib import Path

from moditalker_jax.evaluation.comparison.measures import LPIPS_NETWORKS
from moditalker_jax.flags import at_least
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


def add_every_flag(parser: argparse.ArgumentParser, *, default: int = 1) -> None:
    """Adds --every."""
    parser.add_argument(
        "--every",
        type=at_least(1),
        default=default,
        help=f"measure pictures at each so manyth frame only; default {default}",
    )


def add_lpips_flag(parser: argparse.ArgumentParser) -> None:
    """Adds --lpips."""
    parser.add_argument(
        "--lpips",
        nargs="+",
        choices=LPIPS_NETWORKS,
        default=LPIPS_NETWORKS,
        help="networks of LPIPS; default both. VGG16 takes nearly all of the time without a GPU",
    )


def weights_files(options: argparse.Namespace) -> dict[str, Path]:
    """The files that were given, by network."""
    given = {network: getattr(options, f"{network}_weights") for network in NETWORKS}
    return {network: path for network, path in given.items() if path is not None}
