"""Typed settings: what a config file may say, checked once at the border.

A config file gives an `ml_collections.ConfigDict`; `stage_config` splats it into the frozen
dataclasses below, so that an unknown or missing field fails at once and by name. Below the
entry points nothing sees a ConfigDict.
"""

import dataclasses
import json
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from moditalker_jax.errors import InputError

StageName = Literal["atom", "autoencoder", "landmark_autoencoder", "mtov"]
STAGES: tuple[StageName, ...] = ("autoencoder", "landmark_autoencoder", "atom", "mtov")
"""The four stages, each after those that it needs."""
CONFIG_FILE = "config.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Where the batches come from.

    Attributes:
      directory: shards written by `data_pipelines`.
      latents: tri-plane latents of `directory`, relative to the workdir's parent (MToV only).
      latent_stride: frames from one cached clip to the next.
      identity: the identity frame beside a cached clip: its "first" (paper), or "any" of the whole
        recording, as in generation, whose photo does not share the clip's mouth.
      source: MToV trains on cached "latents", or encodes "clips" in every step.
      max_frame_stride: the autoencoders train on every s-th frame of a clip, s random up to this.
      disc_radius: radius of the landmark discs in pixels; None scales the paper's 3 px at 256.
      mirror: every second window is mirrored, left for right, at random; cached latents are not.
    """

    directory: str
    latents: str = "latents"
    latent_stride: int = 16
    identity: Literal["first", "any"] = "first"
    source: Literal["latents", "clips"] = "latents"
    max_frame_stride: int = 1
    disc_radius: float | None = None
    mirror: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class DiffusionConfig:
    """Forward process and the network's target (paper equations 1, 2, 5 and 6).

    Attributes:
      residual: AToM diffuses how landmarks differ from the window's first frame; otherwise the
        landmarks themselves (paper table 2a, row I).
    """

    schedule: Literal["cosine", "scaled_linear"]
    num_train_timesteps: int = 1000
    prediction_type: Literal["x0", "epsilon", "v"] = "x0"
    cond_drop_rate: float = 0.0
    residual: bool = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class SamplingConfig:
    """How generation samples a trained stage, and the pictures drawn while training.

    Attributes:
      start_fraction: below 1, sampling starts from the noised reference latents and runs only
        this last part of the steps (the release's "noised start").
      truncate_fraction: the release's noise level of that start, one step above its first call.
      rederive_epsilon: recompute epsilon from the clipped x0 (AToM), or keep the network's.
    """

    num_sampling_steps: int
    eta: float = 1.0
    guidance_scale: float = 1.0
    start_fraction: float = 1.0
    truncate_fraction: bool = False
    rederive_epsilon: bool = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """Adan or AdamW with linear warm-up and, if asked for, cosine decay to `final_fraction`."""

    name: Literal["adan", "adamw"]
    learning_rate: float
    betas: tuple[float, ...]
    weight_decay: float
    epsilon: float = 1e-8
    warmup_steps: int = 0
    decay: Literal["none", "cosine"] = "none"
    final_fraction: float = 0.0
    clip_norm: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class MeshConfig:
    """How the devices of all processes share the work; the batch is split over all of them.

    Attributes:
      data: devices along the axis that splits the batch alone; -1 is all that `fsdp` leaves.
      fsdp: devices along the axis that also splits parameters, their average and the optimizer's
        state: each keeps a part, and gathers an array when the step needs it.
      min_sharded_size: arrays of fewer numbers are whole on every device.
    """

    data: int = -1
    fsdp: int = 1
    min_sharded_size: int = 65_536


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Length, bookkeeping and averaging of a run.

    Attributes:
      batch_size: of one update, over all processes.
      accumulate_steps: an update's batch goes through the network in this many parts, one after
        the other, to save memory.
      max_skipped_steps: updates whose loss or gradient is not finite are left out; one more than
        this many stops the run.
      keep_checkpoints: the newest this many stay, and beside them the best one.
      ema: "constant" decay (AToM), "warmup" decay min(d, (1+n)/(10+n)) (MToV), or "none".
      ema_every: steps between EMA updates (the release's MToV: 25).
    """

    batch_size: int
    num_steps: int
    seed: int = 0
    accumulate_steps: int = 1
    max_skipped_steps: int = 0
    ema: Literal["none", "constant", "warmup"] = "constant"
    ema_decay: float = 0.9999
    ema_every: int = 1
    log_every: int = 100
    evaluate_every: int = 1000
    evaluation_batches: int = 4
    checkpoint_every: int = 1000
    keep_checkpoints: int = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class LossConfig:
    """Weights of the loss terms; each stage reads its own.

    Attributes:
      reconstruction, velocity: AToM's 7.5 and 1.5.
      l1, l2, perceptual: the autoencoders' weights; LPIPS sets in at step `perceptual_start` and
        looks at `perceptual_frames` random frames of each clip (None: all of them).
      motion: the loss once more, times this, of what differs from the mean over time: of frames
        (autoencoders) or of the planes that keep time (MToV). On short trainings, what stands
        still otherwise hides what moves.
      mouth: the autoencoders' loss once more, times this, of the pixels around the mouth, which are
        few and carry what the speech does.
      latent_range: the autoencoders' weight of keeping latents out of the flat ends of their tanh.
        At high learning rates whole planes otherwise saturate in the first steps and carry nothing
        from then on.
      latent_noise: standard deviation of the noise on the latents that the autoencoders' decoder
        gets in training. What moves must then stand out of it, and MToV's small errors don't show.
      audio_noise, reference_noise: standard deviations of normal noise that AToM's audio features,
        each number by itself, and reference landmarks get in training. Little data would otherwise
        be known by heart, its speakers' faces and voices first.
      mixup: AToM is trained on weighted means of two windows, their weights drawn from
        Beta(mixup, mixup); 0 keeps windows as they are.
      channel_gain: MToV's channels count by their gain in the decoder to this power; 0 is alike.
        Principal components differ by more than ten times in what they do to pixels.
      diffusion: MToV's norm.
    """

    reconstruction: float = 7.5
    velocity: float = 1.5
    l1: float = 1.0
    l2: float = 0.0
    perceptual: float = 1.0
    perceptual_start: int = 0
    perceptual_frames: int | None = 1
    motion: float = 0.0
    mouth: float = 0.0
    latent_range: float = 0.0
    latent_noise: float = 0.0
    audio_noise: float = 0.0
    reference_noise: float = 0.0
    mixup: float = 0.0
    channel_gain: float = 0.0
    diffusion: Literal["mse", "l1"] = "mse"


@dataclasses.dataclass(frozen=True, kw_only=True)
class StageConfig:
    """Everything about one training stage.

    Attributes:
      model: the fields of the stage's Linen module.
      autoencoder, landmark_autoencoder: workdirs of those stages, relative to this workdir's
        parent, for the stages that build on them.
      frozen: keys of the autoencoder's parameters that are not trained, "/"-separated.
      start_from: workdir of the same stage whose trained parameters a new run starts from.
      initialization: of a new run without `start_from`: "random", or, for the RGB autoencoder,
        "principal_components" of the patches of the first batches, see
        `models.principal_components`.
    """

    stage: StageName
    model: dict[str, Any]
    data: DataConfig
    optimizer: OptimizerConfig
    training: TrainingConfig
    mesh: MeshConfig = MeshConfig()
    loss: LossConfig = LossConfig()
    diffusion: DiffusionConfig | None = None
    sampling: SamplingConfig | None = None
    autoencoder: str = "autoencoder"
    landmark_autoencoder: str = "landmark_autoencoder"
    frozen: tuple[str, ...] = ()
    start_from: str | None = None
    initialization: Literal["random", "principal_components"] = "random"


HOW_TO_COMPUTE = ("attention_span", "dtype", "dropout_rate", "remat", "scan_layers")
"""Fields of networks that change how they are computed, and no parameter."""


def same_network(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Whether two configs' `model` have the same parameters."""
    kept = [{k: v for k, v in m.items() if k not in HOW_TO_COMPUTE} for m in (first, second)]
    return kept[0] == kept[1]


_SECTIONS = {
    "data": DataConfig,
    "optimizer": OptimizerConfig,
    "training": TrainingConfig,
    "mesh": MeshConfig,
    "loss": LossConfig,
    "diffusion": DiffusionConfig,
    "sampling": SamplingConfig,
}


def _splat(cls: type, values: Mapping[str, Any], where: str) -> Any:
    known = {field.name: field for field in dataclasses.fields(cls)}
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise InputError(f"{where}: unknown field {unknown[0]!r}; it takes {', '.join(known)}")
    missing = [
        name
        for name, field in known.items()
        if name not in values
        and field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise InputError(f"{where}: field {missing[0]!r} is missing")
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    wanted = get_type_hints(cls)
    for name, value in values.items():
        if not _fits(value, wanted[name]):
            raise InputError(f"{where}.{name}={value!r} is not {_words(wanted[name])}")
        low = _LOWEST.get(name)
        if low is not None and value is not None and value < low:
            raise InputError(f"{where}.{name}={value!r} is too small; the smallest is {low}")
    return cls(**values)


_LOWEST = {
    "batch_size": 1,
    "num_steps": 1,
    "accumulate_steps": 1,
    "max_skipped_steps": 0,
    "log_every": 1,
    "evaluate_every": 1,
    "evaluation_batches": 1,
    "checkpoint_every": 1,
    "keep_checkpoints": 1,
    "ema_every": 1,
    "learning_rate": 0.0,
    "warmup_steps": 0,
    "num_sampling_steps": 1,
    "num_train_timesteps": 1,
    "latent_stride": 1,
    "max_frame_stride": 1,
    "fsdp": 1,
}
"""The smallest value of fields that count something, whatever section they are in."""


def _words(wanted: Any) -> str:
    if get_origin(wanted) is Literal:
        return f"one of {', '.join(map(repr, get_args(wanted)))}"
    return f"of type {getattr(wanted, '__name__', wanted)}"


def _fits(value: Any, wanted: Any) -> bool:
    """Whether a value is of the annotated type; whole numbers pass for real ones."""
    origin, arguments = get_origin(wanted), get_args(wanted)
    if wanted is Any:
        return True
    if origin is Literal:
        return value in arguments
    if origin in (Union, types.UnionType):
        return any(_fits(value, argument) for argument in arguments)
    if origin is tuple:
        return isinstance(value, tuple) and all(_fits(item, arguments[0]) for item in value)
    if origin is dict:
        return isinstance(value, dict)
    if wanted in (int, float) and isinstance(value, bool):
        return False
    if wanted is float:
        return isinstance(value, int | float)
    return isinstance(value, wanted)


def with_defaults(values: Mapping[str, Any]) -> dict[str, Any]:
    """One stage's settings with the fields that were left at their defaults, for flags to override.

    Nothing is checked: that is `stage_config`'s part. Sections that a stage does without stay out.
    """
    filled = _defaults(StageConfig) | dict(values)
    for name, section in _SECTIONS.items():
        if name in values:
            filled[name] = _defaults(section) | dict(values[name])
        elif filled.get(name) is not None:
            filled[name] = _defaults(section)
        else:
            filled.pop(name, None)
    return filled


def _defaults(cls: type) -> dict[str, Any]:
    return {
        field.name: field.default
        for field in dataclasses.fields(cls)
        if field.default is not dataclasses.MISSING
    }


def stage_config(values: Mapping[str, Any], *, where: str = "config") -> StageConfig:
    """Reads one stage's settings from nested mappings.

    Raises:
      InputError: an unknown or missing field, named with its section.
    """
    values = dict(values)
    for name, section in _SECTIONS.items():
        if values.get(name) is not None:
            values[name] = _splat(section, dict(values[name]), f"{where}.{name}")
    if "model" in values:
        values["model"] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in dict(values["model"]).items()
        }
    return _splat(StageConfig, values, where)


def write_config(workdir: Path, config: StageConfig, metadata: Mapping[str, Any]) -> None:
    """Writes `config.json`: the stage's settings and the metadata of the data it is trained on."""
    text = json.dumps({"config": dataclasses.asdict(config), "data": dict(metadata)}, indent=2)
    aside = workdir / (CONFIG_FILE + ".part")
    aside.write_text(text + "\n")
    aside.rename(workdir / CONFIG_FILE)


def read_config(workdir: Path) -> tuple[StageConfig, dict[str, Any]]:
    """The settings and data metadata that `write_config` wrote.

    Raises:
      InputError: `workdir` holds no readable `config.json`.
    """
    path = workdir / CONFIG_FILE
    try:
        content = json.loads(path.read_text())
        return stage_config(content["config"], where=str(path)), content["data"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{workdir} is not a checkpoint directory: {CONFIG_FILE} is missing or unreadable "
            "(give the --workdir of a train.py run)"
        ) from error
