"""Checkpoints: the only file that knows Orbax.

A stage's workdir holds `config.json` and `checkpoints/<step>/{train_state,ema_params}`. Generation
reads only the averaged parameters; an exported model is a workdir with nothing else left in it.
"""

import dataclasses
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import orbax.checkpoint as ocp

from moditalker_jax.config import StageConfig, read_config
from moditalker_jax.errors import InputError
from moditalker_jax.models.build import abstract_params, build_model

CHECKPOINTS = "checkpoints"


def _folder(workdir: Path) -> Path:
    return workdir.absolute() / CHECKPOINTS


class Checkpointer:
    """Writes and restores a run's states, keeping the newest few; saving is asynchronous."""

    def __init__(self, workdir: Path, *, keep: int):
        options = ocp.CheckpointManagerOptions(max_to_keep=keep)
        self._manager = ocp.CheckpointManager(_folder(workdir), options=options)

    def latest_step(self) -> int | None:
        """The newest complete checkpoint's step, or None."""
        return self._manager.latest_step()

    def save(self, step: int, train_state: Any, ema_params: Any) -> None:
        """Starts writing a checkpoint; Orbax writes aside and renames."""
        self._manager.save(
            step,
            args=ocp.args.Composite(
                train_state=ocp.args.StandardSave(train_state),
                ema_params=ocp.args.StandardSave(ema_params),
            ),
        )

    def restore(self, step: int, train_state: Any, ema_params: Any) -> tuple[Any, Any]:
        """The state at `step`, in the shapes and shardings of the (abstract) states given.

        Raises:
          InputError: the checkpoint does not fit: it belongs to other settings.
        """
        try:
            restored = self._manager.restore(
                step,
                args=ocp.args.Composite(
                    train_state=ocp.args.StandardRestore(train_state),
                    ema_params=ocp.args.StandardRestore(ema_params),
                ),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{self._manager.directory}/{step} does not fit this config: it was written with "
                "other model or optimizer settings (choose another --workdir)"
            ) from error
        return restored.train_state, restored.ema_params

    def close(self) -> None:
        """Waits until everything is on disk."""
        self._manager.wait_until_finished()
        self._manager.close()


def load_params(workdir: Path, abstract_params: Any) -> Any:
    """The averaged parameters of a stage's newest checkpoint, on the default device.

    Args:
      workdir: a training workdir or an exported stage.
      abstract_params: pytree of `jax.ShapeDtypeStruct`, as from `jax.eval_shape`.

    Raises:
      InputError: there is no checkpoint, or it does not fit the model in `config.json`.
    """
    folder = _folder(workdir)
    if not folder.is_dir():
        raise InputError(f"{workdir} holds no checkpoint yet: train the stage first (train.py)")
    device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    target = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=device), abstract_params
    )
    with ocp.CheckpointManager(folder, options=ocp.CheckpointManagerOptions(read_only=True)) as m:
        step = m.latest_step()
        if step is None:
            raise InputError(f"{workdir} holds no checkpoint yet: train the stage first (train.py)")
        try:
            args = ocp.args.Composite(ema_params=ocp.args.StandardRestore(target))
            return m.restore(step, args=args).ema_params
        except (ValueError, KeyError, TypeError, FileNotFoundError) as error:
            raise InputError(
                f"{folder / str(step)} does not fit the model in {workdir / 'config.json'}: "
                "one of them was replaced or damaged"
            ) from error


@dataclasses.dataclass(frozen=True)
class TrainedStage:
    """One stage's module, averaged parameters and settings.

    Attributes:
      data: metadata of the data set that it was trained on (audio encoder, landmark backend, ...).
    """

    config: StageConfig
    data: dict[str, Any]
    model: nn.Module
    params: Any


def load_stage(workdir: Path, *, stage: str) -> TrainedStage:
    """Loads what `train.py` or the export command left in `workdir`.

    Raises:
      InputError: no checkpoint directory, or one of another stage.
    """
    config, data = read_config(workdir)
    if config.stage != stage:
        raise InputError(f"{workdir} holds a checkpoint of stage {config.stage!r}, not {stage!r}")
    model = build_model(stage, config.model)
    shapes = abstract_params(model, audio_width=data["audio_encoder"]["width"])
    return TrainedStage(config, data, model, load_params(workdir, shapes))


def save_params(workdir: Path, params: Any, *, step: int = 0) -> None:
    """Writes parameters alone, as a checkpoint that `load_params` reads.

    Raises:
      InputError: there already are checkpoints in `workdir`.
    """
    if _folder(workdir).exists():
        raise InputError(f"{_folder(workdir)} exists already: choose another output directory")
    with ocp.CheckpointManager(_folder(workdir)) as manager:
        manager.save(step, args=ocp.args.Composite(ema_params=ocp.args.StandardSave(params)))
        manager.wait_until_finished()
