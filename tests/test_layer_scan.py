"""Scanned layers and recomputed blocks change how a step is computed, and no number of it."""

import jax
import numpy as np
import pytest

from moditalker_jax.models.build import build_model, init_params
from tests.eight_devices import make_batch, make_stage, tiny_config

VARIANTS = [
    ("atom", {"scan_layers": True}),
    ("atom", {"remat": True}),
    ("atom", {"scan_layers": True, "remat": True}),
    ("autoencoder", {"scan_layers": True}),
    ("autoencoder", {"scan_layers": True, "remat": True}),
    ("mtov", {"remat": True}),
]


def gradients(stage: str, fields: dict, params=None):
    """Parameters, loss and gradients of the stage's training loss on a fixed batch."""
    config = tiny_config(stage)
    config.model.update({"depth": 2} if stage == "autoencoder" else {}, **fields)
    made = make_stage(config)
    model = build_model(stage, config.model)
    params = init_params(model, jax.random.key(0), audio_width=5) if params is None else params
    batch = make_batch(config, 0)

    @jax.jit
    def loss(params):
        return made.loss(params, made.constants, batch, jax.random.key(1), 0, train=True)[0]

    value, gradient = jax.value_and_grad(loss)(params)
    return params, value, gradient


@pytest.fixture(scope="module")
def plain():
    return {stage: gradients(stage, {}) for stage in ("atom", "autoencoder", "mtov")}


@pytest.mark.parametrize(("stage", "fields"), VARIANTS)
def test_loss_and_gradients_are_those_of_the_plain_network(plain, stage, fields):
    params, value, gradient = plain[stage]
    fresh, _, _ = gradients(stage, fields)
    assert jax.tree.structure(fresh) == jax.tree.structure(params)
    _, other_value, other_gradient = gradients(stage, fields, params)
    np.testing.assert_allclose(other_value, value, rtol=1e-5)
    largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(gradient))
    for ours, theirs in zip(
        jax.tree.leaves(other_gradient), jax.tree.leaves(gradient), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-5 * largest)


def test_scanned_layers_draw_dropout_of_their_own():
    """Two layers with one mask would give other losses than two with one each."""
    params, _, _ = gradients("atom", {})
    losses = [
        gradients("atom", {"dropout_rate": rate, "scan_layers": True}, params)[1:2]
        for rate in (0.0, 0.5)
    ]
    assert abs(losses[0][0] - losses[1][0]) > 1e-4
