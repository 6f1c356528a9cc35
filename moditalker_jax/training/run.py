"""From a config to finished checkpoints: the entry point behind `train.py`."""

import contextlib
import itertools
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from data_pipelines.reading import load_metadata
from data_pipelines.records import check_audio_encoder
from moditalker_jax.checkpoint import TrainedStage, load_stage, set_newer_aside
from moditalker_jax.config import (
    STAGES,
    StageConfig,
    read_config,
    same_network,
    stage_config,
    write_config,
)
from moditalker_jax.encode_latents import encode_latents
from moditalker_jax.errors import InputError
from moditalker_jax.models.build import abstract_params, init_params
from moditalker_jax.models.principal_components import linear_codec
from moditalker_jax.training.batches import StageBatches, reads_audio
from moditalker_jax.training.loop import train
from moditalker_jax.training.processes import is_first, wait_for_all
from moditalker_jax.training.sharding import make_mesh
from moditalker_jax.training.stages.base import Stage
from moditalker_jax.training.stages.setup import build_stage
from moditalker_jax.training.state import plan_training

_FITTED_CLIPS = 256
"""Whose patches an autoencoder's principal components are taken from."""
_FIXED_ON_RESUME = ("stage", "diffusion", "frozen")


def run(
    values: Mapping[str, Any],
    workdir: Path,
    *,
    directory: str | None = None,
    start_from: Path | None = None,
    resume_at: int | None = None,
    profile: bool = False,
) -> None:
    """Trains the stage that `values` describe, or with "stages" each of several in order.

    Args:
      values: a config's nested mappings.
      workdir: of the stage, or of all stages.
      directory: shards to train on in place of the config's.
      start_from: directory of trained stages whose parameters new runs start from.
      resume_at: step of the checkpoint to go on from in place of the newest; of one stage only.
      profile: write a trace of some steps of each stage.

    Raises:
      InputError: what the user can mend, in one line.
      Preempted: SIGTERM came; the state is saved.
    """
    stages = values.get("stages")
    # A ConfigDict keeps no order.
    named = {"": values} if stages is None else {n: stages[n] for n in STAGES if n in stages}
    configs = {}
    for name, stage_values in named.items():
        stage_values = dict(stage_values)
        if directory is not None:
            stage_values["data"] = {**stage_values["data"], "directory": directory}
        if start_from is not None:
            stage_values["start_from"] = str(start_from / stage_values["stage"])
        configs[name] = stage_config(stage_values, where=f"config.{name}" if name else "config")
    if resume_at is not None:
        if len(configs) > 1:
            raise InputError("--resume_at is for one stage; give that stage's config and workdir")
        if is_first():
            set_newer_aside(workdir, resume_at)
        wait_for_all("resume_at")
    for name, config in configs.items():
        run_stage(config, workdir / name, profile=profile)


def run_stage(config: StageConfig, workdir: Path, *, profile: bool = False) -> dict[str, float]:
    """Trains one stage in `workdir`, resuming what is there.

    MToV on cached latents writes them first if they are missing.

    Returns:
      The last evaluation's metrics, and "seconds_per_step".
    """
    directory = Path(config.data.directory)
    metadata = load_metadata(directory)
    if (workdir / "config.json").exists():
        _check_resumable(config, workdir, metadata)
    stage = build_stage(config, workdir, metadata)
    start = _start(config, metadata)
    latents = workdir.parent / config.data.latents
    batches = StageBatches(config, latents=latents)
    starts_anew = start is None and not (workdir / "checkpoints").exists()
    encodes = config.stage == "mtov" and config.data.source == "latents" and not latents.exists()
    if not encodes:
        batches.check()
    with _tells_full_disks(workdir):
        if is_first():
            workdir.mkdir(parents=True, exist_ok=True)
            _check_space(config, workdir, stage, metadata)
            if encodes:
                encode_latents(
                    directory,
                    latents,
                    autoencoder=workdir.parent / config.autoencoder,
                    landmark_autoencoder=workdir.parent / config.landmark_autoencoder,
                    stride=config.data.latent_stride,
                    disc_radius=config.data.disc_radius,
                    audio=reads_audio(config),
                    identity=config.data.identity,
                )
            write_config(workdir, config, metadata)
        wait_for_all("workdir")
        start_params = start and start.params
        if starts_anew and config.initialization == "principal_components":
            start_params = _principal_components(stage, config, batches)
        return train(
            stage,
            config,
            workdir,
            train_batches=batches.train,
            evaluation_batches=batches.evaluation,
            start_params=start_params,
            profile=profile,
        )


def _start(config: StageConfig, metadata: Mapping[str, Any]) -> TrainedStage | None:
    """The trained stage that a new run starts from, if the config names one."""
    if config.start_from is None:
        return None
    start = load_stage(Path(config.start_from), stage=config.stage)
    if not same_network(start.config.model, config.model):
        raise InputError(
            f"{config.start_from} was trained with another config.model: {start.config.model}"
        )
    if config.stage == "atom":
        check_audio_encoder(metadata, start.data["audio_encoder"], where=config.start_from)
    return start


def _principal_components(stage: Stage, config: StageConfig, batches: StageBatches) -> Any:
    """Parameters that code the first batches' patches linearly."""
    count = -(-_FITTED_CLIPS // config.training.batch_size)
    frames = [batch["video"][:, ::5] for batch in itertools.islice(batches.train(0), count)]
    video = np.concatenate(frames).astype(np.float32) / 127.5 - 1.0
    params = init_params(stage.model, jax.random.key(config.training.seed))
    try:
        return linear_codec(params, stage.model, video)
    except (ValueError, AttributeError) as error:
        raise InputError(f"config.initialization='principal_components': {error}") from error


def _check_space(
    config: StageConfig, workdir: Path, stage: Stage, metadata: Mapping[str, Any]
) -> None:
    """Raises InputError where the checkpoints would not find room."""
    params = abstract_params(stage.model, audio_width=metadata["audio_encoder"]["width"])
    plan = plan_training(stage, config, make_mesh(config.mesh), params)
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(plan.shapes))
    # The kept ones, the best one, and the one that is being written.
    needed = size * (config.training.keep_checkpoints + 2)
    free = shutil.disk_usage(workdir).free
    if free < needed:
        raise InputError(
            f"{workdir}: no space left on the device for checkpoints: {needed / 1e9:.2f} GB are "
            f"needed, {free / 1e9:.2f} GB are free; make room or choose another --workdir"
        )


@contextlib.contextmanager
def _tells_full_disks(workdir: Path) -> Iterator[None]:
    """What cannot be written, as an InputError."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{error.filename or workdir}: cannot be written ({error.strerror or error}); make "
            "room or choose another --workdir, and call again: the run goes on"
        ) from error


def _check_resumable(config: StageConfig, workdir: Path, metadata: Mapping[str, Any]) -> None:
    previous, previous_metadata = read_config(workdir)
    different = [f for f in _FIXED_ON_RESUME if getattr(previous, f) != getattr(config, f)]
    if not same_network(previous.model, config.model):
        different.append("model")
    if different:
        field = different[0]
        raise InputError(
            f"{workdir} was trained with another config.{field}: {getattr(previous, field)}; "
            "choose another --workdir"
        )
    if config.stage == "atom":
        check_audio_encoder(metadata, previous_metadata["audio_encoder"], where=workdir)
