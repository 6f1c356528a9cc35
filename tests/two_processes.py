"""A program that trains AToM alone or as one of two processes, on the same global batches.

python -m tests.two_processes DATA WORKDIR STEPS          alone, with the shares of both
python -m tests.two_processes DATA WORKDIR STEPS PORT 0   the first of two, with its own share
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np

from data_pipelines.builder import load_metadata
from data_pipelines.loader import Batch, atom_batches
from moditalker_jax.config import write_config
from moditalker_jax.training.loop import train
from moditalker_jax.training.processes import is_first, join, wait_for_all
from moditalker_jax.training.stages.setup import build_stage
from tests.eight_devices import BATCH, tiny_config


def share(data: str, split: str, index: int, *, seed: int | None, start: int = 0) -> Iterator:
    """The batches that process `index` of two reads."""
    return atom_batches(
        data,
        split,
        BATCH // 2,
        seed=seed,
        start=start,
        num_frames=tiny_config("atom").model["num_frames"],
        process_index=index,
        process_count=2,
    )


def batches(data: str, split: str, **options) -> Iterator[Batch]:
    """This process's share, or alone the shares of both, one after the other in each batch."""
    if jax.process_count() == 2:
        yield from share(data, split, jax.process_index(), **options)
        return
    for pair in zip(*(share(data, split, index, **options) for index in (0, 1)), strict=True):
        yield {name: np.concatenate([part[name] for part in pair]) for name in pair[0]}


def main(data: str, workdir: Path, steps: int, fsdp: int) -> None:
    """Trains to `steps` from what there is."""
    config = tiny_config(
        "atom",
        training={
            "num_steps": steps,
            "log_every": 1,
            "evaluate_every": 100,
            "checkpoint_every": 2,
        },
        mesh={"fsdp": fsdp},
    )
    metadata = load_metadata(data)
    if is_first():
        workdir.mkdir(parents=True, exist_ok=True)
        write_config(workdir, config, metadata)
    wait_for_all("workdir")
    train(
        build_stage(config, workdir, metadata),
        config,
        workdir,
        train_batches=lambda start: batches(data, "train", seed=0, start=start),
        evaluation_batches=lambda: batches(data, "validation", seed=None),
    )


if __name__ == "__main__":
    if len(sys.argv) > 4:
        join(f"localhost:{sys.argv[4]}", 2, int(sys.argv[5]))
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), fsdp=2 if len(sys.argv) > 4 else 1)
