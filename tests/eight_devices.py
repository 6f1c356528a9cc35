"""A program for eight devices: every stage trained on several meshes and on one device.

python -m tests.eight_devices prints one JSON object: for each stage and mesh the losses of five
steps, the largest difference of the updated parameters from one device's, and the collectives.
"""

import importlib
import json
import re
from collections import Counter

import jax
import numpy as np

from moditalker_jax.config import STAGES, StageConfig, stage_config
from moditalker_jax.latents import LATENT_NAMES, ClipEncoder
from moditalker_jax.models.build import build_model, init_params
from moditalker_jax.training.sharding import make_mesh, replicated, shard_batch
from moditalker_jax.training.stages.atom import AToMStage
from moditalker_jax.training.stages.autoencoder import AutoencoderStage
from moditalker_jax.training.stages.base import Stage
from moditalker_jax.training.stages.mtov import MToVStage
from moditalker_jax.training.state import make_training
from tests.clips import AUDIO_WIDTH, make_metadata

STEPS = 5
BATCH = 16
MESHES = {"data": (8, 1), "fsdp": (1, 8), "both": (2, 4)}
SMALLER = {"atom": {"num_layers": 1}, "mtov": {"channel_multipliers": (1,)}}
"""Depth adds nothing but time to what is tested with these."""
COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")


def tiny_config(stage: str, **sections: dict) -> StageConfig:
    """The stage's tiny config with a batch for eight devices, and plain gradient steps."""
    values = importlib.import_module(f"configs.{stage}").get_config("tiny").to_dict()
    values["training"] |= {"batch_size": BATCH} | sections.get("training", {})
    values["model"] |= SMALLER.get(stage, {})
    # Adaptive steps would blow up rounding wherever a gradient is all but zero.
    values["optimizer"] |= {"epsilon": 1e-2, "warmup_steps": 0}
    values["mesh"] = {"min_sharded_size": 64} | sections.get("mesh", {})
    return stage_config(values)


def make_stage(config: StageConfig) -> Stage:
    """The stage with random weights in place of what it rests on."""
    model = build_model(config.stage, config.model)
    match config.stage:
        case "atom":
            return AToMStage(model, config.loss, config.diffusion, config.sampling, make_metadata())
        case "autoencoder":
            return AutoencoderStage(model, config.loss, "video", None, {})
        case "landmark_autoencoder":
            return AutoencoderStage(model, config.loss, "landmark_video", None, {})
    autoencoder = build_model("autoencoder", tiny_config("autoencoder").model)
    params = init_params(autoencoder, jax.random.key(5))
    encoder = ClipEncoder(autoencoder, autoencoder)
    constants = {"autoencoder": params, "landmark_autoencoder": params}
    return MToVStage(model, config.loss, config.diffusion, config.sampling, encoder, constants)


def make_batch(config: StageConfig, seed: int) -> dict[str, np.ndarray]:
    """Random numbers in the shapes that the stage reads."""
    rng = np.random.default_rng(seed)

    def normal(*shape: int) -> np.ndarray:
        return rng.normal(size=(BATCH, *shape)).astype(np.float32)

    match config.stage:
        case "atom":
            frames = config.model["num_frames"]
            return {
                "motion": 0.1 * normal(frames, 68, 3),
                "audio_features": normal(2 * frames, AUDIO_WIDTH),
                "mask": np.arange(frames) < rng.integers(4, frames + 1, (BATCH, 1)),
            }
        case "mtov":
            model = tiny_config("autoencoder").model
            grid = model["resolution"] // model["patch_size"]
            tokens = grid * grid + 2 * 16 * grid
            latents = {name: normal(tokens, model["latent_channels"]) for name in LATENT_NAMES}
            return {name: np.tanh(latent) for name, latent in latents.items()}
    side = config.model["resolution"]
    name = "video" if config.stage == "autoencoder" else "landmark_video"
    video = rng.integers(0, 256, (BATCH, 16, side, side, 3), dtype=np.uint8)
    return {name: video, "landmarks": rng.random((BATCH, 16, 68, 3), dtype=np.float32)}


def train(config: StageConfig, mesh: jax.sharding.Mesh) -> tuple[list[float], object, Counter]:
    """Losses, final parameters on the host, and the collectives of the compiled step."""
    stage = make_stage(config)
    state, ema_params, step = make_training(stage, config, mesh, jax.random.key(0))
    constants = jax.device_put(stage.constants, replicated(mesh))
    losses, compiled = [], None
    for number in range(STEPS):
        batch = shard_batch(make_batch(config, number), mesh)
        arguments = (state, ema_params, constants, batch, jax.random.key(1))
        compiled = compiled or step.lower(*arguments).compile()
        state, ema_params, metrics = compiled(*arguments)
        losses.append(float(metrics["loss"]))
    found = re.findall(rf" ({'|'.join(COLLECTIVES)})(?:-start)?\(", compiled.as_text())
    return losses, jax.tree.map(np.asarray, state.params), Counter(found)


def compare(stage: str) -> dict[str, dict]:
    """The stage on one device and on each mesh."""
    config = tiny_config(stage)
    losses, params, collectives = train(config, make_mesh(config.mesh, jax.devices()[:1]))
    results = {"one": {"losses": losses, "collectives": collectives}}
    for name, (data, fsdp) in MESHES.items():
        config = tiny_config(stage, mesh={"data": data, "fsdp": fsdp})
        losses, others, collectives = train(config, make_mesh(config.mesh))
        differences = jax.tree.map(lambda a, b: np.abs(a - b).max(), params, others)
        results[name] = {
            "losses": losses,
            "difference": float(max(jax.tree.leaves(differences))),
            "collectives": collectives,
        }
    if stage == "mtov":  # The part that accumulates is the same for all.
        config = tiny_config(stage, training={"accumulate_steps": 2}, mesh={"fsdp": 4})
        losses, _, collectives = train(config, make_mesh(config.mesh))
        results["accumulated"] = {"losses": losses, "collectives": collectives}
    return results


if __name__ == "__main__":
    assert jax.device_count() == 8
    print(json.dumps({s: compare(s) for s in STAGES}))
