"""The loss terms of the stages beyond the goldens', against their definitions written in numpy."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from moditalker_jax.config import DiffusionConfig, LossConfig, SamplingConfig
from moditalker_jax.latents import ClipEncoder
from moditalker_jax.models.autoencoder import TriPlaneAutoencoder
from moditalker_jax.training.stages.atom import AToMStage
from moditalker_jax.training.stages.autoencoder import (
    MAX_PRE_LATENT,
    AutoencoderStage,
    mouth_mask,
)
from moditalker_jax.training.stages.mtov import MToVStage, channel_weights

AUTOENCODER = TriPlaneAutoencoder(
    resolution=16,
    num_frames=4,
    width=8,
    depth=1,
    num_heads=1,
    head_width=8,
    projection_depth=1,
    projection_heads=1,
    projection_mlp_width=8,
    latent_channels=2,
)
KEY = jax.random.key(0)
LANDMARKS = np.random.default_rng(1).uniform(0.3, 0.7, (2, 4, 68, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def params():
    return AUTOENCODER.init(KEY, jnp.zeros((1, 4, 16, 16, 3)))["params"]


@pytest.fixture(scope="module")
def video():
    return np.random.default_rng(0).integers(0, 256, (2, 4, 16, 16, 3), np.uint8)


def autoencoder_loss(params, video, *, train=True, **weights):
    config = LossConfig(**({"l1": 0.0, "perceptual": 0.0} | weights))
    stage = AutoencoderStage(AUTOENCODER, config, "video", None, {})
    batch = {"video": video, "landmarks": LANDMARKS}
    return stage.loss(params, {}, batch, KEY, jnp.zeros((), int), train=train)[0]


def test_pixel_terms(params, video):
    pixels = video / 127.5 - 1.0
    error = pixels - np.asarray(AUTOENCODER.apply({"params": params}, jnp.float32(pixels)))
    moving = error - error.mean(axis=1, keepdims=True)
    for weight, size in (("l1", np.abs), ("l2", np.square)):
        still = autoencoder_loss(params, video, **{weight: 2.0})
        np.testing.assert_allclose(still, 2.0 * size(error).mean(), rtol=1e-5)
        both = autoencoder_loss(params, video, motion=3.0, **{weight: 2.0})
        np.testing.assert_allclose(both - still, 6.0 * size(moving).mean(), rtol=1e-4)


def test_the_mouth_counts_once_more(params, video):
    error = video / 127.5 - 1.0
    error -= np.asarray(AUTOENCODER.apply({"params": params}, jnp.float32(error)))
    mask = np.asarray(mouth_mask(LANDMARKS, 16))[..., 0] > 0
    assert 0.01 < mask.mean() < 0.7
    more = autoencoder_loss(params, video, l2=2.0, mouth=3.0)
    expected = 2.0 * np.mean(error**2) + 6.0 * np.mean(error[mask] ** 2)
    np.testing.assert_allclose(more, expected, rtol=1e-4)


def test_the_mouth_is_the_box_of_its_landmarks_and_a_margin():
    landmarks = np.zeros((1, 1, 68, 3), np.float32)
    landmarks[..., 48:68, 0] = np.linspace(0.4, 0.6, 20)  # 0.2 wide, so the margin is 0.05
    landmarks[..., 48:68, 1] = np.linspace(0.7, 0.8, 20)
    rows, columns = np.nonzero(np.asarray(mouth_mask(landmarks, 100))[0, 0, ..., 0])
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (65, 84, 35, 64)
    assert rows.size == 20 * 30


def test_a_mouth_without_pixels_has_no_say(params, video):
    outside = {"video": video, "landmarks": np.full_like(LANDMARKS, 2.0)}
    config = LossConfig(l1=0.0, l2=2.0, perceptual=0.0, mouth=3.0)
    stage = AutoencoderStage(AUTOENCODER, config, "video", None, {})

    def loss(params):
        return stage.loss(params, {}, outside, KEY, jnp.zeros((), int), train=True)[0]

    np.testing.assert_allclose(loss(params), autoencoder_loss(params, video, l2=2.0), rtol=1e-6)
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(jax.grad(loss)(params)))


def test_latent_range_pulls_a_saturated_plane_back(params, video):
    bias = MAX_PRE_LATENT + 4.0
    layer = {"kernel": jnp.zeros((8, 2)), "bias": jnp.full((2,), bias)}
    calm = {"kernel": jnp.zeros((8, 2)), "bias": jnp.full((2,), MAX_PRE_LATENT)}
    encoder = {**params["encoder"], "latents_xy": calm, "latents_xt": calm, "latents_yt": layer}
    saturated = {**params, "encoder": encoder}
    # One plane of three lies 4 beyond the range.
    overshoot = autoencoder_loss(saturated, video, latent_range=0.5)
    np.testing.assert_allclose(overshoot, 0.5 * 4.0**2 / 3.0, rtol=1e-5)
    slope = jax.grad(
        lambda b: autoencoder_loss(
            {**saturated, "encoder": {**encoder, "latents_yt": {**layer, "bias": b}}},
            video,
            latent_range=1.0,
        )
    )(layer["bias"])
    assert (slope > 0.5).all()


def test_latent_noise_disturbs_the_decoder_in_training_only(params, video):
    clean = autoencoder_loss(params, video, l2=1.0)
    assert autoencoder_loss(params, video, train=False, l2=1.0, latent_noise=0.5) == clean
    little, much = (
        autoencoder_loss(params, video, l2=1.0, latent_noise=scale) - clean for scale in (0.01, 1.0)
    )
    assert 0.0 < abs(little) < 0.1 * abs(much)


def test_mixup_averages_two_windows_with_one_weight_and_in_training_only():
    motion = np.random.default_rng(0).standard_normal((3, 4, 68, 3)).astype(np.float32)
    mask = np.ones((3, 4), bool)
    mask[0, 3] = False
    batch = {"motion": motion, "audio_features": motion.reshape(3, 8, -1), "mask": mask}
    seen = []

    class Listens:
        def apply(self, variables, x_t, timesteps, audio, reference, **options):
            seen.append((audio, reference))
            return jnp.zeros_like(x_t)

    def loss(train, **weights):
        diffusion = DiffusionConfig(schedule="cosine", residual=False)
        sampling = SamplingConfig(num_sampling_steps=2)
        config = LossConfig(velocity=0.0, **weights)
        stage = AToMStage(Listens(), config, diffusion, sampling, data={})
        return float(stage.loss({}, {}, batch, KEY, jnp.zeros((), int), train=train)[0])

    assert loss(False, mixup=0.5) == loss(True) == loss(False)
    mixed = loss(True, mixup=0.5)
    audio, reference = (np.asarray(x).reshape(3, -1) for x in seen[-1])
    own, other = motion.reshape(3, -1), np.roll(motion, 1, axis=0).reshape(3, -1)
    shares = ((audio - other) * (own - other)).sum(axis=1) / ((own - other) ** 2).sum(axis=1)
    assert ((shares >= 0.5) & (shares <= 1.0)).all() and np.ptp(shares) > 0.01
    expected = shares[:, None] * own + (1 - shares[:, None]) * other
    np.testing.assert_allclose(audio, expected, atol=1e-5)
    np.testing.assert_allclose(reference, expected[:, : 68 * 3], atol=1e-5)
    shown = mask & np.roll(mask, 1, axis=0)
    assert shown.sum() == 10
    error = (expected.reshape(motion.shape) ** 2)[shown].mean()
    np.testing.assert_allclose(mixed, 7.5 * error, rtol=1e-4)


class Zeros(nn.Module):
    """Predicts zeros, so that the loss is a function of the target alone."""

    @nn.compact
    def __call__(self, x_t, timesteps, landmark, pose, reference, audio, *, train):
        return jax.tree.map(jnp.zeros_like, x_t)


def test_mtov_motion_is_the_error_of_the_time_planes_around_their_mean():
    rng = np.random.default_rng(1)
    tokens = rng.standard_normal((3, 2 * 2 + 4 * 2 + 4 * 2, 2)).astype(np.float32)
    batch = dict.fromkeys(("video", "landmark", "pose", "reference"), tokens)
    stage = MToVStage(
        Zeros(),
        LossConfig(),
        DiffusionConfig(schedule="scaled_linear"),
        SamplingConfig(num_sampling_steps=2),
        ClipEncoder(AUTOENCODER, AUTOENCODER),
        {},
    )
    losses = []
    for motion in (0.0, 5.0):
        stage = dataclasses.replace(stage, loss_config=LossConfig(motion=motion))
        losses.append(float(stage.loss({}, {}, batch, KEY, 0, train=False)[0]))
    np.testing.assert_allclose(losses[0], np.square(tokens).mean(), rtol=1e-5)
    time_planes = tokens[:, 4:].reshape(3, 2, 4, 2, 2)  # (B, plane, T, side, C)
    moving = time_planes - time_planes.mean(axis=2, keepdims=True)
    np.testing.assert_allclose(losses[1] - losses[0], 5.0 * np.square(moving).mean(), rtol=1e-4)


def test_channels_count_by_what_they_do_to_pixels(params):
    decoder = jax.tree.map(np.asarray, params["decoder"])
    weights = channel_weights(decoder, 1.0)
    flat = np.concatenate([np.asarray(plane) for plane in jax.tree.leaves(weights)])
    assert flat.shape == (6,) and abs(flat.mean() - 1) < 1e-5
    gain = np.linalg.norm(decoder["features_xt"]["kernel"] @ decoder["pixels"]["kernel"], axis=1)
    np.testing.assert_allclose(flat[4:] / flat[4], gain / gain[0], rtol=1e-5)
    squared = channel_weights(decoder, 2.0)
    np.testing.assert_allclose(squared.xt[1] / squared.xt[0], (gain[1] / gain[0]) ** 2, rtol=1e-5)
    assert all((plane == 1).all() for plane in jax.tree.leaves(channel_weights(decoder, 0.0)))
