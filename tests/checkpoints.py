"""Small random checkpoints of all four stages, for tests of what is built on them."""

import importlib
from pathlib import Path

import jax

from moditalker_jax.audio_features import LogMel
from moditalker_jax.checkpoint import save_params
from moditalker_jax.config import STAGES, stage_config, write_config
from moditalker_jax.landmark_backends import MEDIAPIPE
from moditalker_jax.models.build import build_model, init_params

DATA = {
    "fps": 25,
    "resolution": 32,
    "audio_encoder": {"name": LogMel.name, "width": LogMel.width, "version": LogMel.version},
    **MEDIAPIPE.metadata(),
}


def write_checkpoint(directory: Path, **data) -> Path:
    """Writes tiny stages with fresh parameters; `data` replaces metadata."""
    for index, stage in enumerate(STAGES):
        values = importlib.import_module(f"configs.{stage}").get_config("tiny").to_dict()
        config = stage_config(values)
        model = build_model(stage, config.model)
        params = init_params(model, jax.random.key(index), audio_width=LogMel.width)
        (directory / stage).mkdir(parents=True)
        save_params(directory / stage, params)
        write_config(directory / stage, config, {**DATA, **data})
    return directory
