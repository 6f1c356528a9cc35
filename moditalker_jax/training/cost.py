"""What a training step costs on a device, from XLA's own analysis; nothing is computed.

    python -m moditalker_jax.training.cost --stage mtov --variant paper --fsdp 8 --remat

compiles the step for that many virtual CPU devices and prints FLOPs, memory and the arithmetic of
a whole run on H100s. Other backends lay memory out differently: read it as a comparison.
"""

import argparse
import dataclasses
import importlib
import sys
import time
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from moditalker_jax import spec
from moditalker_jax.config import STAGES, MeshConfig, StageConfig, stage_config
from moditalker_jax.errors import command
from moditalker_jax.latents import LATENT_NAMES, ClipEncoder
from moditalker_jax.models.autoencoder import TriPlaneAutoencoder
from moditalker_jax.models.build import abstract_params, build_model, count_params
from moditalker_jax.models.perceptual import load_lpips_params
from moditalker_jax.training.reporting import step_memory
from moditalker_jax.training.sharding import make_mesh, over_batch, replicated
from moditalker_jax.training.stages.atom import AToMStage
from moditalker_jax.training.stages.autoencoder import AutoencoderStage
from moditalker_jax.training.stages.base import Stage
from moditalker_jax.training.stages.mtov import MToVStage
from moditalker_jax.training.state import plan_training

H100_FLOPS = 989e12
"""Peak of one H100 in bfloat16, without sparsity (NVIDIA's data sheet)."""
UTILISATION = 0.35
"""Share of the peak that trainings of this kind reach; assumed, not measured."""


def stage_without_weights(config: StageConfig, autoencoder: TriPlaneAutoencoder) -> Stage:
    """A stage with abstract weights in place of those that it rests on.

    Args:
      config: of the stage.
      autoencoder: whose latents MToV denoises.
    """
    model = build_model(config.stage, config.model)
    match config.stage:
        case "autoencoder" | "landmark_autoencoder":
            source = "video" if config.stage == "autoencoder" else "landmark_video"
            constants = jax.eval_shape(load_lpips_params) if config.loss.perceptual else {}
            return AutoencoderStage(model, config.loss, source, None, constants)
        case "atom":
            return AToMStage(model, config.loss, config.diffusion, config.sampling, data={})
    shapes = abstract_params(autoencoder)
    return MToVStage(
        model,
        config.loss,
        config.diffusion,
        config.sampling,
        ClipEncoder(autoencoder, autoencoder),
        {"autoencoder": shapes, "landmark_autoencoder": shapes},
    )


def abstract_batch(
    config: StageConfig, autoencoder: TriPlaneAutoencoder, *, audio_width: int
) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes of the batch that a stage reads; MToV's is of cached latents."""
    size = config.training.batch_size

    def floats(*shape: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((size, *shape), jnp.float32)

    match config.stage:
        case "atom":
            frames = config.model["num_frames"]
            return {
                "motion": floats(frames, spec.NUM_LANDMARKS, 3),
                "audio_features": floats(frames * spec.AUDIO_STEPS_PER_FRAME, audio_width),
                "mask": jax.ShapeDtypeStruct((size, frames), jnp.bool_),
            }
        case "mtov":
            grid = autoencoder.resolution // autoencoder.patch_size
            tokens = grid * (grid + 2 * autoencoder.num_frames)
            return dict.fromkeys(LATENT_NAMES, floats(tokens, autoencoder.latent_channels))
    frames, side = autoencoder.num_frames, autoencoder.resolution
    source = "video" if config.stage == "autoencoder" else "landmark_video"
    video = jax.ShapeDtypeStruct((size, frames, side, side, 3), jnp.uint8)
    return {source: video, "landmarks": floats(frames, spec.NUM_LANDMARKS, 3)}


def abstract_step(
    config: StageConfig, autoencoder: StageConfig, mesh: jax.sharding.Mesh, *, audio_width: int
) -> tuple[jax.stages.Wrapped, tuple[Any, ...]]:
    """The jitted training step, and shapes of its arguments with their shardings."""
    encoder = build_model("autoencoder", autoencoder.model)
    stage = stage_without_weights(config, encoder)
    plan = plan_training(stage, config, mesh, abstract_params(stage.model, audio_width=audio_width))

    def placed(shapes: Any, where: jax.sharding.Sharding) -> Any:
        return jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where), shapes
        )

    return plan.step, (
        *plan.shapes,
        placed(stage.constants, replicated(mesh)),
        placed(abstract_batch(config, encoder, audio_width=audio_width), over_batch(mesh)),
        jax.eval_shape(lambda: jax.random.key(0)),
    )


def kept_for_backward(config: StageConfig, autoencoder: StageConfig, *, audio_width: int) -> int:
    """Bytes that the forward pass of a whole batch leaves for the backward pass, parameters too.

    This is what `remat` saves; how much of it lies in memory at once is the compiler's affair.
    """
    encoder = build_model("autoencoder", autoencoder.model)
    stage = stage_without_weights(config, encoder)
    batch = abstract_batch(config, encoder, audio_width=audio_width)

    def backward(params: Any, constants: Any, batch: Any) -> Any:
        key, step = jax.random.key(0), jnp.zeros((), jnp.int32)
        return jax.vjp(lambda p: stage.loss(p, constants, batch, key, step, train=True)[0], params)[
            1
        ]

    params = abstract_params(stage.model, audio_width=audio_width)
    kept = jax.eval_shape(backward, params, stage.constants, batch)
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(kept))


def load_config(stage: str, variant: str, **model: Any) -> StageConfig:
    """A stage's config of that variant, with fields of its network changed."""
    values = importlib.import_module(f"configs.{stage}").get_config(variant).to_dict()
    values["model"] |= model
    return stage_config(values)


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the costs; returns the exit status."""
    parser = argparse.ArgumentParser(description="What a training step costs on a device.")
    parser.add_argument("--stage", choices=STAGES, required=True)
    parser.add_argument("--variant", default="paper")
    parser.add_argument("--fsdp", type=int, default=1, help="devices that share the state")
    parser.add_argument("--data", type=int, default=1, help="times this many devices")
    parser.add_argument("--batch-size", type=int, help="of the config where left out")
    parser.add_argument("--remat", action="store_true", help="recompute blocks")
    parser.add_argument("--scan", action="store_true", help="run equal layers by one scan")
    parser.add_argument("--bfloat16", action="store_true", help="compute in bfloat16")
    parser.add_argument("--audio-width", type=int, default=1024, help="of AToM's features")
    options = parser.parse_args(arguments)
    jax.config.update("jax_num_cpu_devices", options.fsdp * options.data)
    fields: dict[str, Any] = {"remat": True} if options.remat else {}
    fields |= {"scan_layers": True} if options.scan else {}
    fields |= {"dtype": "bfloat16"} if options.bfloat16 else {}
    config = load_config(options.stage, options.variant, **fields)
    batch_size = options.batch_size or config.training.batch_size
    config = dataclasses.replace(
        config,
        mesh=MeshConfig(fsdp=options.fsdp),
        training=dataclasses.replace(config.training, batch_size=batch_size),
    )
    autoencoder = load_config("autoencoder", options.variant)
    step, shapes = abstract_step(
        config,
        autoencoder,
        make_mesh(config.mesh),
        audio_width=options.audio_width,
    )
    started = time.perf_counter()
    lowered = step.lower(*shapes)
    traced = time.perf_counter()
    compiled = lowered.compile()
    compiled_at = time.perf_counter()
    kept = kept_for_backward(config, autoencoder, audio_width=options.audio_width)
    devices = options.fsdp * options.data
    flops = compiled.cost_analysis()["flops"] * devices
    memory = compiled.memory_analysis()
    hours = config.training.num_steps * flops / (H100_FLOPS * UTILISATION) / 3600
    print(f"{options.stage}:{options.variant}, batch {batch_size}, {devices} device(s)")
    print(f"  parameters          {count_params(shapes[0].params):,}")
    print(f"  FLOPs of a step     {flops:.3e}")
    print(
        f"  memory a device     {step_memory(compiled) / 2**30:.2f} GiB: state and batch "
        f"{memory.argument_size_in_bytes / 2**30:.2f}, between "
        f"{memory.temp_size_in_bytes / 2**30:.2f}"
    )
    print(f"  kept for backward   {kept / devices / 2**30:.2f} GiB a device, parameters included")
    print(f"  traced in {traced - started:.1f} s, compiled in {compiled_at - traced:.1f} s")
    print(
        f"  a run               {config.training.num_steps:,} steps x {flops:.2e} / "
        f"({H100_FLOPS:.3g} x {UTILISATION}) = {hours:,.1f} h on 1 H100, {hours / 8:,.1f} h on 8"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
