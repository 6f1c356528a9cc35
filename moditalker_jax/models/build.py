"""From a stage's settings to its Linen module and (abstract) parameters."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from moditalker_jax import spec
from moditalker_jax.errors import InputError
from moditalker_jax.models.atom import AToM
from moditalker_jax.models.autoencoder import TriPlaneAutoencoder
from moditalker_jax.models.mtov import TriPlaneUNet
from moditalker_jax.triplane import TriPlane

_MODULES: dict[str, type[nn.Module]] = {
    "atom": AToM,
    "autoencoder": TriPlaneAutoencoder,
    "landmark_autoencoder": TriPlaneAutoencoder,
    "mtov": TriPlaneUNet,
}


def build_model(stage: str, fields: Mapping[str, Any]) -> nn.Module:
    """The stage's module with the given fields.

    Raises:
      InputError: the module has no such field.
    """
    module = _MODULES[stage]
    known = {field.name for field in dataclasses.fields(module)} - {"parent", "name"}
    unknown = sorted(set(fields) - known)
    if unknown:
        raise InputError(
            f"config.model: {module.__name__} has no field {unknown[0]!r}; "
            f"it takes {', '.join(sorted(known))}"
        )
    return module(**fields)


def check_sizes(model: nn.Module) -> None:
    """Makes sure that the module's fields go together, computing nothing.

    Raises:
      InputError: they don't, such as a width that the heads don't divide.
    """
    try:
        abstract_params(model)
    except (ValueError, TypeError, ZeroDivisionError, IndexError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"config.model: {type(model).__name__} can't have these sizes: {reason}"
        ) from error


def init_params(model: nn.Module, key: jax.Array, *, audio_width: int = 1) -> Any:
    """Fresh parameters; `audio_width` is that of the audio features that the network reads."""
    match model:
        case AToM():
            frames = model.num_frames
            inputs = (
                jnp.zeros((1, frames, spec.NUM_LANDMARKS, 3)),
                jnp.zeros((1,), jnp.int32),
                jnp.zeros((1, frames * spec.AUDIO_STEPS_PER_FRAME, audio_width)),
                jnp.zeros((1, spec.NUM_LANDMARKS, 3)),
            )
        case TriPlaneAutoencoder():
            inputs = (jnp.zeros((1, model.num_frames, model.resolution, model.resolution, 3)),)
        case TriPlaneUNet():
            # Convolutions and attention have no size of their own: any plane that halves
            # often enough gives the same parameters.
            side = 2 ** len(model.channel_multipliers)
            plane = jnp.zeros((1, side, side, model.out_channels))
            latents = TriPlane(plane, plane, plane)
            audio = jnp.zeros((1, spec.AUDIO_STEPS_PER_FRAME * side, audio_width))
            inputs = (latents, jnp.zeros((1,), jnp.int32), latents, latents, latents, audio)
    # Compiled as one, in which XLA leaves the forward pass out: much sooner than op by op.
    return jax.jit(model.init)(key, *inputs)["params"]


def abstract_params(model: nn.Module, *, audio_width: int = 1) -> Any:
    """Shapes and types of the parameters, computing nothing."""
    return jax.eval_shape(
        lambda key: init_params(model, key, audio_width=audio_width), jax.random.key(0)
    )


def count_params(params: Any) -> int:
    """Number of scalars in a pytree of (abstract) parameters."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
