"""Scanned layers and recomputed blocks change how a step is computed, and no number of it."""

import jax
import numpy as np
import pytest

from moditalker_jax.models.build import abstract_params, build_model, init_params
from tests.eight_devices import make_batch, make_stage, tiny_config

VARIANTS = [
    ("atom", {"scan_layers": True}),
    ("atom", {"remat": True}),
    ("atom", {"scan_layers": True, "remat": True}),
    ("autoencoder", {"scan_layers": True}),
    ("autoencoder", {"scan_layers": True, "remat": True}),
    ("mtov", {"remat": True}),
]


DEPTHS = {"atom": {"num_layers": 2}, "autoencoder": {"depth": 2}, "mtov": {}}
"""More than one layer, or a scan would do what no scan does."""


def deep_config(stage: str, fields: dict):
    config = tiny_config(stage)
    config.model.update(DEPTHS[stage], **fields)
    return config


def gradients(stage: str, fields: dict, params):
    """Loss and gradients of the stage's training loss on a fixed batch."""
    config = deep_config(stage, fields)
    made = make_stage(config)
    batch = make_batch(config, 0)

    def loss(params):
        return made.loss(params, made.constants, batch, jax.random.key(1), 0, train=True)[0]

    return jax.jit(jax.value_and_grad(loss))(params)


@pytest.fixture(scope="module")
def plain():
    """Parameters, loss and gradients without any of it."""
    results = {}
    for stage in DEPTHS:
        model = build_model(stage, deep_config(stage, {}).model)
        params = init_params(model, jax.random.key(0), audio_width=5)
        results[stage] = (params, *gradients(stage, {}, params))
    return results


@pytest.mark.parametrize(("stage", "fields"), VARIANTS)
def test_loss_and_gradients_are_those_of_the_plain_network(plain, stage, fields):
    params, value, gradient = plain[stage]
    fresh = abstract_params(build_model(stage, deep_config(stage, fields).model), audio_width=5)
    assert jax.tree.structure(fresh) == jax.tree.structure(params)
    other_value, other_gradient = gradients(stage, fields, params)
    np.testing.assert_allclose(other_value, value, rtol=1e-5)
    largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(gradient))
    for ours, theirs in zip(
        jax.tree.leaves(other_gradient), jax.tree.leaves(gradient), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-5 * largest)


def test_scanned_layers_draw_dropout_of_their_own(plain):
    """Two layers with one mask would give other losses than two with one each."""
    params, whole, _ = plain["atom"]
    dropped, _ = gradients("atom", {"dropout_rate": 0.5, "scan_layers": True}, params)
    assert abs(whole - dropped) > 1e-4
