"""Builds the stage that a config describes, loading the trained stages that it rests on."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from moditalker_jax.config import LossConfig, StageConfig
from moditalker_jax.errors import InputError
from moditalker_jax.latents import load_clip_encoder
from moditalker_jax.models.build import build_model, check_sizes
from moditalker_jax.models.perceptual import load_lpips_params
from moditalker_jax.training.stages.atom import AToMStage
from moditalker_jax.training.stages.autoencoder import AutoencoderStage
from moditalker_jax.training.stages.base import Stage
from moditalker_jax.training.stages.mtov import MToVStage


def build_stage(config: StageConfig, workdir: Path, data: Mapping[str, Any]) -> Stage:
    """The stage with its module and constants.

    Args:
      config: the stage's settings.
      workdir: its directory; the autoencoders' directories lie beside it.
      data: metadata of the training data.

    Raises:
      InputError: a stage that this one needs was not trained yet, or settings are missing.
    """
    model = build_model(config.stage, config.model)
    check_sizes(model)
    match config.stage:
        case "autoencoder":
            return AutoencoderStage(
                model, config.loss, "video", None, _perceptual_constants(config.loss)
            )
        case "landmark_autoencoder":
            return AutoencoderStage(
                model,
                config.loss,
                "landmark_video",
                workdir.parent / config.autoencoder,
                _perceptual_constants(config.loss),
            )
        case "atom":
            _require(config, "diffusion", "sampling")
            return AToMStage(
                model,
                config.loss,
                config.diffusion,
                config.sampling,
                data,
            )
        case "mtov":
            _require(config, "diffusion", "sampling")
            encoder, params = load_clip_encoder(
                workdir.parent / config.autoencoder, workdir.parent / config.landmark_autoencoder
            )
            return MToVStage(
                model,
                config.loss,
                config.diffusion,
                config.sampling,
                encoder,
                params,
                data["audio_encoder"]["width"],
            )


def _perceptual_constants(loss: LossConfig) -> Any:
    return load_lpips_params() if loss.perceptual else {}


def _require(config: StageConfig, *sections: str) -> None:
    for section in sections:
        if getattr(config, section) is None:
            raise InputError(f"config.{section} is missing: stage {config.stage!r} needs it")
