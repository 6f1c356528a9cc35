"""Full-size steps and samplers in bfloat16, lowered for GPUs and TPUs on whatever machine."""

import jax
import jax.numpy as jnp
import pytest

from moditalker_jax import spec
from moditalker_jax.config import STAGES
from moditalker_jax.latents import Latents
from moditalker_jax.models.build import abstract_params, build_model
from moditalker_jax.sampling import sample_latents, sample_motion
from moditalker_jax.training.cost import abstract_step, load_config
from moditalker_jax.training.sharding import make_mesh
from moditalker_jax.triplane import TriPlane

AUDIO_WIDTH = 1024
PLATFORMS = ("cuda", "tpu")


def lowered_text(function, *arguments):
    """The program for each platform."""
    traced = function.trace(*arguments)
    return [traced.lower(lowering_platforms=(platform,)).as_text() for platform in PLATFORMS]


@pytest.mark.parametrize("stage", STAGES)
def test_training_steps_lower_for_gpu_and_tpu(stage):
    config = load_config(stage, "paper", dtype="bfloat16")
    mesh = make_mesh(config.mesh, jax.devices()[:1])
    autoencoder = load_config("autoencoder", "paper")
    step, shapes = abstract_step(config, autoencoder, mesh, audio_width=AUDIO_WIDTH)
    for text in lowered_text(step, *shapes):
        assert "bf16" in text


def test_atom_sampler_lowers_for_gpu_and_tpu():
    config = load_config("atom", "paper", dtype="bfloat16")
    model = build_model("atom", config.model)
    shape = lambda *sides: jax.ShapeDtypeStruct((1, *sides), jnp.float32)  # noqa: E731
    sample = jax.jit(
        lambda *inputs: sample_motion(
            model, *inputs, diffusion=config.diffusion, config=config.sampling
        )
    )
    for text in lowered_text(
        sample,
        abstract_params(model, audio_width=AUDIO_WIDTH),
        shape(model.num_frames * spec.AUDIO_STEPS_PER_FRAME, AUDIO_WIDTH),
        shape(spec.NUM_LANDMARKS, 3),
        jax.eval_shape(lambda: jax.random.key(0)),
    ):
        assert "bf16" in text and "while" in text


def test_mtov_sampler_lowers_for_gpu_and_tpu():
    config = load_config("mtov", "paper", dtype="bfloat16")
    model = build_model("mtov", config.model)
    planes = TriPlane(
        *(
            jax.ShapeDtypeStruct((1, rows, 32, model.out_channels), jnp.float32)
            for rows in (32, 16, 16)
        )
    )
    sample = jax.jit(
        lambda *inputs: sample_latents(
            model, *inputs, diffusion=config.diffusion, config=config.sampling
        )
    )
    for text in lowered_text(
        sample,
        abstract_params(model),
        Latents(None, planes, planes, planes),
        jax.eval_shape(lambda: jax.random.key(0)),
    ):
        assert "bf16" in text and "while" in text
