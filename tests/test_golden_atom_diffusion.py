"""AToM's sampling and training against the release: trajectories and losses."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from moditalker_jax.diffusion.guidance import guide
from moditalker_jax.diffusion.losses import atom_loss
from moditalker_jax.diffusion.process import make_predictor, q_sample
from moditalker_jax.diffusion.samplers import ddim
from moditalker_jax.diffusion.schedules import cosine_schedule, ddim_timestep_pairs
from tests.atom_golden import as_points, load, tiny_atom, tiny_variables

SCHEDULE = cosine_schedule()
GOLDEN = load("diffusion_atom")


def keep_mask(branch):
    masks = {
        "cond": [True, True],
        "uncond": [False, False],
        "mixed": GOLDEN["loss_keep_mask_mixed"],
    }
    return jnp.asarray(masks[branch])


@cache
def sampler():
    """The release's sampler (guidance 2, clipped x0, epsilon anew), conditions encoded once."""
    inputs, model, variables = load("atom_tiny_io"), tiny_atom(), tiny_variables()
    audio, face = inputs["cond_embed"][:1], as_points(inputs["face_const"][:1])
    conditions = model.apply(
        variables,
        jnp.concatenate((audio, audio)),
        jnp.concatenate((face, face)),
        keep_condition=jnp.array([True, False]),
        method="encode_conditions",
    )

    def denoise(x_t, timesteps):
        return model.apply(variables, x_t, timesteps, conditions, method="denoise")

    predict = make_predictor(guide(denoise, 2.0), SCHEDULE, prediction_type="x0")

    @jax.jit
    def sample(x, pairs, noises, eta):
        options = {"schedule": SCHEDULE, "timestep_pairs": pairs, "eta": eta}
        return ddim(predict, x, step_noises=noises, **options)

    return sample


def run(num_steps, eta, *, start=0, stop=None):
    """x after steps `start` to `stop` of the recorded run, from its initial noise or x there."""
    name = f"ddim{num_steps}_eta1" if eta else f"ddim{num_steps}_eta0"
    noises = as_points(GOLDEN["ddim5_noises" if num_steps == 5 else f"{name}_noises"])
    x = noises[0] if start == 0 else as_points(GOLDEN[f"{name}_x_in"][start])
    # The queue holds the initial x first and nothing for the last step.
    noises = np.concatenate((noises[1:], np.zeros_like(noises[:1])))
    pairs = ddim_timestep_pairs(1000, num_steps)
    return sampler()(x, pairs[start:stop], noises[start:stop], eta)


def assert_close(x, golden, tolerance):
    np.testing.assert_allclose(x, as_points(golden), rtol=0, atol=tolerance)


@pytest.mark.parametrize("num_steps,eta", [(5, 0.0), (20, 1.0)])
def test_every_step_of_a_trajectory(num_steps, eta):
    """From each recorded x to the next; at the noisy end one step magnifies rounding the most."""
    name = f"ddim{num_steps}_eta{int(eta)}"
    following = [*GOLDEN[f"{name}_x_in"][1:], GOLDEN[f"{name}_final"]]
    for step, golden in enumerate(following):
        assert_close(run(num_steps, eta, start=step, stop=step + 1), golden, 1e-4)


@pytest.mark.parametrize(
    "num_steps,eta,tolerance", [(5, 0.0, 1e-3), (20, 1.0, 1e-3), (50, 1.0, 3e-3)]
)
def test_whole_trajectory(num_steps, eta, tolerance):
    golden = GOLDEN[f"ddim{num_steps}_eta{int(eta)}_final"]
    assert_close(run(num_steps, eta), golden, tolerance)


def test_the_release_sampler_on_its_way():
    golden = GOLDEN["ddim50_eta1_x_in_at_0_10_25_49"]
    assert_close(GOLDEN["ddim50_eta1_noises"][0].reshape(1, 12, 68, 3), golden[0], 0)
    for stop, x in zip((10, 25, 49), golden[1:], strict=True):
        assert_close(run(50, 1.0, stop=stop), x, 3e-3)


def test_guided_outputs_on_the_recorded_inputs():
    """The raw network outputs of the 5-step run, which the clip hides from the trajectory."""
    inputs, model = load("atom_tiny_io"), tiny_atom()
    audio, face = inputs["cond_embed"][:1], as_points(inputs["face_const"][:1])
    twice = (np.concatenate((audio, audio)), np.concatenate((face, face)))
    keep = jnp.array([True, False])

    @jax.jit
    def output(x_t, timesteps):
        def denoise(x, t):
            return model.apply(tiny_variables(), x, t, *twice, keep_condition=keep)

        return guide(denoise, 2.0)(x_t, timesteps)

    for step, (time, _) in enumerate(ddim_timestep_pairs(1000, 5)):
        x_t = as_points(GOLDEN["ddim5_eta0_x_in"][step])
        golden = GOLDEN["ddim5_eta0_model_out"][step]
        assert_close(output(x_t, jnp.array([time])), golden, 1e-4 * np.abs(golden).max())


@jax.jit
def loss_terms_and_gradient_norm(keep):
    inputs, model = load("atom_tiny_io"), tiny_atom()
    x0, timesteps = as_points(GOLDEN["x0"]), jnp.asarray(GOLDEN["loss_t"], jnp.int32)
    x_t = q_sample(SCHEDULE, x0, timesteps, as_points(GOLDEN["noise"]))
    conditions = (inputs["cond_embed"], as_points(inputs["face_const"]))

    def loss(variables):
        prediction = model.apply(variables, x_t, timesteps, *conditions, keep_condition=keep)
        terms = atom_loss(prediction, x0)
        return terms["loss"], terms

    (_, terms), gradients = jax.value_and_grad(loss, has_aux=True)(tiny_variables())
    return terms, optax.global_norm(gradients)


@pytest.mark.parametrize("branch", ["cond", "uncond", "mixed"])
def test_losses(branch):
    """The three terms; `test_atom` compares the gradients tensor by tensor."""
    terms, gradient_norm = loss_terms_and_gradient_norm(keep_mask(branch))
    found = [float(terms[name]) for name in ("loss", "reconstruction", "velocity")]
    np.testing.assert_allclose(found, GOLDEN[f"loss_{branch}"], rtol=1e-5)
    assert float(gradient_norm) == pytest.approx(
        float(GOLDEN[f"loss_{branch}_grad_norm"]), rel=1e-4
    )
