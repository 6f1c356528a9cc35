"""From a config to finished checkpoints: the entry point behind `train.py`.

The only file of this package that meets `data_pipelines`.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from data_pipelines import latents as latent_shards
from data_pipelines import loader
from data_pipelines.builder import load_metadata
from moditalker_jax import spec
from moditalker_jax.config import StageConfig, read_config, stage_config, write_config
from moditalker_jax.encode_latents import encode_latents
from moditalker_jax.errors import InputError
from moditalker_jax.training import sharding
from moditalker_jax.training.batches import with_condition_videos
from moditalker_jax.training.loop import train
from moditalker_jax.training.stages.base import Batch
from moditalker_jax.training.stages.setup import build_stage

_FIXED_ON_RESUME = ("stage", "model", "diffusion", "frozen")


def run(values: Mapping[str, Any], workdir: Path) -> None:
    """Trains the stage that `values` describe, or with "stages" each of several in order.

    Raises:
      InputError: what the user can mend, in one line.
    """
    if "stages" not in values:
        run_stage(stage_config(values), workdir)
        return
    for name, stage_values in values["stages"].items():
        run_stage(stage_config(stage_values, where=f"config.stages.{name}"), workdir / name)


def run_stage(config: StageConfig, workdir: Path) -> dict[str, float]:
    """Trains one stage in `workdir`, resuming what is there.

    MToV on cached latents writes them first if they are missing.

    Returns:
      The last evaluation's metrics.
    """
    directory = Path(config.data.directory)
    metadata = load_metadata(directory)
    if (workdir / "config.json").exists():
        _check_resumable(config, workdir)
    latents_dir = workdir.parent / config.data.latents
    cached = config.stage == "mtov" and config.data.source == "latents"
    stage = build_stage(config, workdir, metadata)
    workdir.mkdir(parents=True, exist_ok=True)
    write_config(workdir, config, metadata)
    if cached and not latents_dir.exists():
        encode_latents(
            directory,
            latents_dir,
            autoencoder=workdir.parent / config.autoencoder,
            landmark_autoencoder=workdir.parent / config.landmark_autoencoder,
            disc_radius=config.data.disc_radius,
            landmark_jitter=config.data.landmark_jitter,
        )
    source = _LatentBatches(latents_dir, config) if cached else _ClipBatches(directory, config)
    return train(
        stage,
        config,
        workdir,
        train_batches=source.train,
        evaluation_batches=source.evaluation,
    )


def _check_resumable(config: StageConfig, workdir: Path) -> None:
    previous, _ = read_config(workdir)
    for field in _FIXED_ON_RESUME:
        if getattr(previous, field) != getattr(config, field):
            raise InputError(
                f"{workdir} was trained with another config.{field}: {getattr(previous, field)}; "
                "choose another --workdir"
            )


class _Batches:
    """Batches for one stage; each process gets its share."""

    def __init__(self, directory: Path, config: StageConfig):
        self.directory, self.config = directory, config
        training = config.training
        self.options = {
            "batch_size": sharding.local_batch_size(training.batch_size, sharding.make_mesh()),
            "process_index": jax.process_index(),
            "process_count": jax.process_count(),
        }

    def _read(self, split: str, **options: Any) -> Iterator[Batch]:
        raise NotImplementedError

    def train(self, start_step: int) -> Iterator[Batch]:
        """Endless batches; a resumed run draws from a seed of its own."""
        return self._read("train", seed=self.config.training.seed + start_step)

    def evaluation(self) -> Iterator[Batch]:
        """One pass over the held-out split."""
        return self._read("validation", seed=None)
