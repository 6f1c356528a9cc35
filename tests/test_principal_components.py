"""An autoencoder that starts as a linear codec."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from moditalker_jax.models.autoencoder import TriPlaneAutoencoder
from moditalker_jax.models.build import init_params
from moditalker_jax.models.principal_components import linear_codec

MODEL = TriPlaneAutoencoder(
    resolution=16,
    num_frames=3,
    patch_size=4,
    width=48,
    depth=1,
    num_heads=1,
    head_width=8,
    projection_depth=1,
    projection_mlp_width=16,
    latent_channels=8,
    mean_residual=True,
    linear_pixels=True,
)


def smooth_video(seed, clips=20):
    """Still clips (B, T, 16, 16, 3) of soft blobs of colour."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(0, 0.35, (clips, 1, 4, 4, 3)).astype(np.float32)
    fine = jax.image.resize(coarse, (clips, 1, 16, 16, 3), "cubic")
    return np.repeat(np.clip(np.asarray(fine), -1, 1), 3, axis=1)


def psnr(model, params, video):
    made = jax.jit(model.apply)({"params": params}, jnp.asarray(video))
    return -10 * np.log10(np.mean((np.asarray(made) - video) ** 2) / 4)


def test_still_video_is_coded_as_principal_components_would():
    params = init_params(MODEL, jax.random.key(0))
    changed = linear_codec(params, MODEL, smooth_video(0, 200))
    shapes = (jax.tree.map(lambda x: (x.shape, x.dtype), tree) for tree in (params, changed))
    assert next(shapes) == next(shapes)
    held_out = smooth_video(1)
    assert psnr(MODEL, params, held_out) < 15
    patches = [
        video[:, 0].reshape(-1, 4, 4, 4, 4, 3).transpose(0, 1, 3, 2, 4, 5).reshape(-1, 48)
        for video in (smooth_video(0, 200), held_out)
    ]
    basis = np.linalg.svd(patches[0] - patches[0].mean(0), full_matrices=False)[2][:8]
    centred = patches[1] - patches[0].mean(0)
    best = -10 * np.log10(np.mean((centred - centred @ basis.T @ basis) ** 2) / 4)
    # What the tanh of the latents and one bias a colour cost.
    assert best - 6 < psnr(MODEL, changed, held_out) <= best + 0.1


def test_it_needs_the_two_fields():
    plain = MODEL.clone(linear_pixels=False)
    with pytest.raises(ValueError, match="linear_pixels"):
        linear_codec(init_params(plain, jax.random.key(0)), plain, smooth_video(0))


def test_a_still_frame_is_coded_as_its_clip():
    params = {"params": init_params(MODEL, jax.random.key(0))}
    video = smooth_video(2, 4)
    clip = jax.jit(lambda v: MODEL.apply(params, v, method="encode"))(video)
    still = jax.jit(lambda v: MODEL.apply(params, v, method="encode_still"))(video[:, 0])
    for a, b in zip(jax.tree.leaves(clip), jax.tree.leaves(still), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    with pytest.raises(ValueError, match="takes"):
        MODEL.apply(params, video, method="encode_still")
