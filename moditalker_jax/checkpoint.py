"""Checkpoints: the only file that knows Orbax.

A stage's workdir holds `config.json` and `checkpoints/<step>/{train_state,ema_params}`. Generation
reads only the averaged parameters; an exported model is a workdir with nothing else left in it.
"""

import contextlib
import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import orbax.checkpoint as ocp

from moditalker_jax.config import StageConfig, read_config
from moditalker_jax.errors import InputError
from moditalker_jax.models.build import abstract_params, build_model

CHECKPOINTS = "checkpoints"


def _folder(workdir: Path) -> Path:
    return workdir.absolute() / CHECKPOINTS


def _manager_options(**options: Any) -> ocp.CheckpointManagerOptions:
    return ocp.CheckpointManagerOptions(best_fn=_loss, best_mode="min", **options)


def _loss(metrics: dict[str, float]) -> float:
    return metrics["loss"]


def set_newer_aside(workdir: Path, step: int) -> None:
    """Moves the checkpoints after `step` to `workdir/set_aside`, so that a run goes on from it.

    Raises:
      InputError: there is no checkpoint of that step.
    """
    steps = {int(p.name): p for p in _folder(workdir).glob("*") if p.name.isdigit()}
    if step not in steps:
        found = ", ".join(map(str, sorted(steps))) or "none"
        raise InputError(f"{workdir} has no checkpoint of step {step}; it has {found}")
    aside = workdir / "set_aside"
    for newer in (n for n in steps if n > step):
        aside.mkdir(exist_ok=True)
        target = aside / str(newer)
        if target.exists():
            shutil.rmtree(target)
        steps[newer].rename(target)


class Checkpointer:
    """Writes and restores a run's states; saving is asynchronous.

    The newest few are kept, and beside them the one with the lowest held-out loss.
    """

    def __init__(self, workdir: Path, *, keep: int):
        policies = ocp.checkpoint_managers
        best = policies.BestN(
            get_metric_fn=_loss, reverse=True, n=1, keep_checkpoints_without_metrics=False
        )
        kept = policies.AnyPreservationPolicy([policies.LatestN(keep), best])
        self._manager = ocp.CheckpointManager(
            _folder(workdir), options=_manager_options(preservation_policy=kept)
        )

    def latest_step(self) -> int | None:
        """The newest complete checkpoint's step, or None."""
        return self._manager.latest_step()

    def save(
        self, step: int, train_state: Any, ema_params: Any, *, held_out_loss: float | None = None
    ) -> None:
        """Starts writing a checkpoint; Orbax writes aside and renames.

        Args:
          step: its number.
          train_state, ema_params: what it holds.
          held_out_loss: by which the best one is known, where it was measured at this step.
        """
        self._manager.save(
            step,
            args=ocp.args.Composite(
                train_state=ocp.args.StandardSave(train_state),
                ema_params=ocp.args.StandardSave(ema_params),
            ),
            metrics=None if held_out_loss is None else {"loss": held_out_loss},
        )

    def restore(self, step: int, train_state: Any, ema_params: Any) -> tuple[Any, Any]:
        """The state at `step`, in the shapes and shardings of the (abstract) states given.

        Raises:
          InputError: the checkpoint is damaged or belongs to other settings.
        """
        try:
            restored = self._manager.restore(
                step,
                args=ocp.args.Composite(
                    train_state=ocp.args.StandardRestore(train_state),
                    ema_params=ocp.args.StandardRestore(ema_params),
                ),
            )
        except Exception as error:  # Orbax and TensorStore tell damage in many ways.
            reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else repr(error)
            earlier = sorted(s for s in self._manager.all_steps() if s < step)
            mend = (
                f"go on from an earlier one with --resume_at={earlier[-1]}"
                if earlier
                else "choose another --workdir"
            )
            raise InputError(
                f"{self._manager.directory}/{step} cannot be read ({reason}): it is damaged, or "
                f"was written with other settings; {mend}"
            ) from error
        return restored.train_state, restored.ema_params

    def close(self) -> None:
        """Waits until everything is on disk."""
        self._manager.wait_until_finished()
        self._manager.close()


@contextlib.contextmanager
def _reading(workdir: Path, *, best: bool = False) -> Iterator[tuple[ocp.CheckpointManager, int]]:
    """A workdir's checkpoints, and the newest or the best one's step.

    Raises:
      InputError: there is no checkpoint.
    """
    nothing = InputError(f"{workdir} holds no checkpoint yet: train the stage first (train.py)")
    if not _folder(workdir).is_dir():
        raise nothing
    options = _manager_options(read_only=True)
    with ocp.CheckpointManager(_folder(workdir), options=options) as manager:
        step = manager.best_step() if best else manager.latest_step()
        if step is None:
            raise nothing
        yield manager, step


def load_params(workdir: Path, abstract_params: Any, *, best: bool = False) -> Any:
    """The averaged parameters of a stage's newest checkpoint, on the default device.

    Args:
      workdir: a training workdir or an exported stage.
      abstract_params: pytree of `jax.ShapeDtypeStruct`, as from `jax.eval_shape`.
      best: those of the checkpoint with the lowest held-out loss instead.

    Raises:
      InputError: there is no checkpoint, or it does not fit the model in `config.json`.
    """
    device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    target = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=device), abstract_params
    )
    with _reading(workdir, best=best) as (manager, step):
        try:
            args = ocp.args.Composite(ema_params=ocp.args.StandardRestore(target))
            return manager.restore(step, args=args).ema_params
        except (ValueError, KeyError, TypeError, FileNotFoundError) as error:
            raise InputError(
                f"{_folder(workdir) / str(step)} does not fit the model in "
                f"{workdir / 'config.json'}: one of them was replaced or damaged"
            ) from error


def restore_arrays(workdir: Path) -> Any:
    """All arrays of a run's newest checkpoint as it was written, on the host.

    Raises:
      InputError: there is no checkpoint.
    """
    with _reading(workdir) as (manager, step):
        names = ("train_state", "ema_params")
        args = ocp.args.Composite(**{name: ocp.args.StandardRestore() for name in names})
        restored = manager.restore(step, args=args)
        return {name: jax.tree.map(np.asarray, restored[name]) for name in names}


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


def load_stage(workdir: Path, *, stage: str, best: bool = False) -> TrainedStage:
    """Loads what `train.py` or the export command left in `workdir`.

    The newest parameters, or with `best` those of the lowest held-out loss.

    Raises:
      InputError: no checkpoint directory, or one of another stage.
    """
    config, data = read_config(workdir)
    if config.stage != stage:
        raise InputError(f"{workdir} holds a checkpoint of stage {config.stage!r}, not {stage!r}")
    model = build_model(stage, config.model)
    shapes = abstract_params(model, audio_width=data["audio_encoder"]["width"])
    return TrainedStage(config, data, model, load_params(workdir, shapes, best=best))


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
