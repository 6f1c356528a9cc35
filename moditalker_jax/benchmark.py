"""FLOPs and times of AToM and MToV, beside the same without cached conditions.

python -m moditalker_jax.benchmark            the paper's sizes
python -m moditalker_jax.benchmark --variant demo

FLOPs are XLA's own count of the compiled program. Both variants of a pair are timed in turns in
one run, so that a busy machine slows both.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from configs import atom as atom_config
from configs import autoencoder as autoencoder_config
from configs import mtov as mtov_config
from moditalker_jax import spec
from moditalker_jax.config import LossConfig, StageConfig, stage_config
from moditalker_jax.latents import ClipEncoder, Latents
from moditalker_jax.models.build import build_model, init_params
from moditalker_jax.training.stages.atom import AToMStage
from moditalker_jax.training.stages.mtov import MToVStage
from moditalker_jax.triplane import TriPlane

AUDIO_WIDTH = 1024
Row = tuple[str, float, float, float]


def compile_and_count(function: Callable, *inputs: Any) -> tuple[Callable, float, float]:
    """The compiled function, XLA's count of its FLOPs, and the seconds that compiling took."""
    lowered = jax.jit(function).lower(*inputs)
    start = time.perf_counter()
    compiled = lowered.compile()
    seconds = time.perf_counter() - start
    return compiled, float(compiled.cost_analysis()["flops"]), seconds


def time_in_turns(functions: Sequence[Callable], repeats: int) -> list[float]:
    """Each function's fastest run in seconds, the functions taking turns."""
    best = [float("inf")] * len(functions)
    for _ in range(repeats):
        for index, function in enumerate(functions):
            start = time.perf_counter()
            jax.block_until_ready(function())
            best[index] = min(best[index], time.perf_counter() - start)
    return best


def measure(named: dict[str, tuple[Callable, tuple]], repeats: int) -> list[Row]:
    """Rows (name, GFLOP, seconds to compile, seconds) of functions with their inputs."""
    compiled = {name: compile_and_count(f, *inputs) for name, (f, inputs) in named.items()}
    calls = [
        lambda f=compiled[name][0], inputs=inputs: f(*inputs) for name, (_, inputs) in named.items()
    ]
    seconds = time_in_turns(calls, repeats)
    return [
        (name, flops / 1e9, compiling, running)
        for (name, (_, flops, compiling)), running in zip(compiled.items(), seconds, strict=True)
    ]


def atom_rows(config: StageConfig, repeats: int) -> list[Row]:
    """One guided sampling step with cached and with uncached conditions; one training step."""
    model = build_model("atom", config.model)
    params = init_params(model, jax.random.key(0), audio_width=AUDIO_WIDTH)
    frames = model.num_frames
    x_t = jnp.zeros((2, frames, spec.NUM_LANDMARKS, 3))
    timesteps = jnp.full((2,), 500)
    audio = jnp.zeros((2, frames * spec.AUDIO_STEPS_PER_FRAME, AUDIO_WIDTH))
    reference = jnp.zeros((2, spec.NUM_LANDMARKS, 3))
    keep = jnp.array([True, False])

    # Parameters are arguments throughout: XLA would fold closed-over ones as constants.
    @jax.jit
    def encode(params, audio, reference):
        return model.apply(
            {"params": params}, audio, reference, keep_condition=keep, method="encode_conditions"
        )

    def cached(params, x_t, conditions):
        return model.apply({"params": params}, x_t, timesteps, conditions, method="denoise")

    def uncached(params, x_t, audio, reference):
        return model.apply(
            {"params": params}, x_t, timesteps, audio, reference, keep_condition=keep
        )

    stage, scanned = (
        AToMStage(
            model.clone(scan_layers=scan), config.loss, config.diffusion, config.sampling, data={}
        )
        for scan in (False, True)
    )
    batch = {"motion": x_t[:1], "audio_features": audio[:1], "mask": jnp.ones((1, frames), bool)}
    return measure(
        {
            "AToM sampling step, conditions cached": (
                cached,
                (params, x_t, encode(params, audio, reference)),
            ),
            "AToM sampling step, uncached": (uncached, (params, x_t, audio, reference)),
            "AToM training step, a window": (gradient_of(stage), (params, {}, batch)),
            "AToM training step, layers scanned": (gradient_of(scanned), (params, {}, batch)),
        },
        repeats,
    )


def mtov_rows(config: StageConfig, autoencoder: StageConfig, repeats: int) -> list[Row]:
    """A sampling step with cached latents and encoding anew; training the two ways."""
    model = build_model("mtov", config.model)
    encoder_model = build_model("autoencoder", autoencoder.model)
    params = init_params(model, jax.random.key(0))
    encoder_params = init_params(encoder_model, jax.random.key(1))
    constants = {"autoencoder": encoder_params, "landmark_autoencoder": encoder_params}
    encoder = ClipEncoder(encoder_model, encoder_model)
    side, frames = encoder_model.resolution, encoder_model.num_frames
    grid = side // encoder_model.patch_size
    planes = TriPlane(
        *(jnp.zeros((1, rows, grid, model.out_channels)) for rows in (grid, frames, frames))
    )
    latents = Latents(planes, planes, planes, planes)
    video = jnp.zeros((1, frames, side, side, 3), jnp.uint8)
    clip = {
        "video": video,
        "landmark_video": video,
        "pose_video": video,
        "reference": video[:, 0],
    }
    cache = {name: planes.to_tokens() for name in ("video", "landmark", "pose", "reference")}
    timesteps = jnp.full((1,), 500)

    def cached(params, x_t, latents):
        conditions = (latents.landmark, latents.pose, latents.reference)
        return model.apply({"params": params}, x_t, timesteps, *conditions)

    def uncached(params, x_t, constants, clip):
        conditions = {name: value for name, value in clip.items() if name != "video"}
        return cached(params, x_t, encoder.encode(constants, conditions))

    stage = MToVStage(model, LossConfig(), config.diffusion, config.sampling, encoder, constants)
    train = gradient_of(stage)
    return measure(
        {
            "MToV sampling step, conditions cached": (cached, (params, planes, latents)),
            "MToV sampling step, encoding each time": (
                uncached,
                (params, planes, constants, clip),
            ),
            "MToV training step, cached latents, a clip": (train, (params, {}, cache)),
            "MToV training step, encoding on the fly": (train, (params, constants, clip)),
        },
        repeats,
    )


def gradient_of(stage: AToMStage | MToVStage) -> Callable:
    """Loss and gradients of a stage, as its training step computes them."""
    key, step = jax.random.key(2), jnp.zeros((), jnp.int32)

    def gradients(params, constants, batch):
        return jax.value_and_grad(
            lambda p: stage.loss(p, constants, batch, key, step, train=True)[0]
        )(params)

    return gradients


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(description="FLOPs and times of AToM and MToV.")
    parser.add_argument("--variant", default="paper", choices=("paper", "demo", "tiny"))
    parser.add_argument("--repeats", type=int, default=2)
    options = parser.parse_args(arguments)
    atom, autoencoder, mtov = (
        stage_config(module.get_config(options.variant).to_dict())
        for module in (atom_config, autoencoder_config, mtov_config)
    )
    print(f"{jax.devices()[0].device_kind}, float32, variant {options.variant!r}")
    print(f"{'':44s} {'GFLOP':>9s} {'compiling':>9s} {'seconds':>9s}")
    for measured in (
        lambda: atom_rows(atom, options.repeats),
        lambda: mtov_rows(mtov, autoencoder, options.repeats),
    ):
        for name, gigaflops, compiling, seconds in measured():
            print(f"{name:44s} {gigaflops:9.1f} {compiling:9.1f} {seconds:9.3f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
