"""Learning rates and optimizers from their settings."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from moditalker_jax.config import OptimizerConfig
from moditalker_jax.errors import InputError
from moditalker_jax.training.optimizer import learning_rate_schedule, make_optimizer

GOLDENS = Path(__file__).parent / "goldens"
ADAMW = {"name": "adamw", "betas": (0.9, 0.999), "weight_decay": 0.0}


def test_warmup_is_that_of_latent_diffusion():
    """The release makes this schedule, from 1e-6 to 1 in 10k steps, but never steps it."""
    goldens = np.load(GOLDENS / "schedules.npz")
    config = OptimizerConfig(**ADAMW, learning_rate=1.0, warmup_steps=10_000)
    schedule = learning_rate_schedule(config, 600_000)
    ours = [float(schedule(n)) for n in goldens["unused_lambda_linear_n"]]
    np.testing.assert_allclose(ours, goldens["unused_lambda_linear_f"], atol=1e-5)


def test_cosine_decay_ends_at_the_final_fraction():
    config = OptimizerConfig(
        **ADAMW, learning_rate=2.0, warmup_steps=10, decay="cosine", final_fraction=0.1
    )
    schedule = learning_rate_schedule(config, 110)
    assert float(schedule(0)) == 0.0
    np.testing.assert_allclose([schedule(10), schedule(60), schedule(110)], [2.0, 1.1, 0.2])


def test_frozen_parameters_get_no_update_and_no_moments():
    params = {"free": jnp.ones(3), "frozen": jnp.ones(3)}
    config = OptimizerConfig(**ADAMW, learning_rate=0.1)
    optimizer = make_optimizer(config, 10, trainable={"free": True, "frozen": False})
    state = optimizer.init(params)
    updates, _ = optimizer.update(params, state, params)
    new = optax.apply_updates(params, updates)
    assert (new["free"] < 1).all()
    assert (new["frozen"] == 1).all()


def test_number_of_betas_is_checked():
    config = OptimizerConfig(name="adan", learning_rate=1.0, betas=(0.9, 0.99), weight_decay=0.0)
    with pytest.raises(InputError, match="adan takes 3 values, got 2"):
        make_optimizer(config, 10, trainable={})
