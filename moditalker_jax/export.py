"""Copies what generation needs of a run: the averaged parameters and settings of four stages.

python -m moditalker_jax.export --run runs/demo --out exported [--float16]
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp

from moditalker_jax.checkpoint import load_stage, save_params
from moditalker_jax.config import STAGES, write_config
from moditalker_jax.errors import InputError, command


def export(run: Path, out: Path, *, dtype: jnp.dtype = jnp.float32, best: bool = False) -> None:
    """Writes each stage of `run` to `out` as a workdir with nothing but averaged parameters.

    Stored as float16 they take half the space; loading makes float32 of them again. With `best`
    they are those of each stage's lowest held-out loss, else the newest.

    Raises:
      InputError: a stage is missing, or `out` exists already.
    """
    if out.exists():
        raise InputError(f"{out} exists already: choose another --out")
    stages = {name: load_stage(run / name, stage=name, best=best) for name in STAGES}
    aside = out.with_name(out.name + ".part")
    for name, stage in stages.items():
        (aside / name).mkdir(parents=True)
        params = jax.tree.map(lambda leaf: leaf.astype(dtype), stage.params)
        save_params(aside / name, params)
        write_config(aside / name, stage.config, stage.data)
    aside.rename(out)


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = argparse.ArgumentParser(description="Copies what generation needs of a run.")
    parser.add_argument("--run", type=Path, required=True, help="directory of the four stages")
    parser.add_argument("--out", type=Path, required=True, help="directory to write")
    parser.add_argument("--float16", action="store_true", help="store half the bytes")
    parser.add_argument(
        "--best", action="store_true", help="take the checkpoints of the lowest held-out loss"
    )
    options = parser.parse_args(arguments)
    dtype = jnp.float16 if options.float16 else jnp.float32
    export(options.run, options.out, dtype=dtype, best=options.best)
    return 0


if __name__ == "__main__":
    sys.exit(main())
