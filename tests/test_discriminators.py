"""The patch discriminators' shapes and statistics, and their losses in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from moditalker_jax.models.discriminators import (
    PatchDiscriminator,
    PatchLogits,
    adversarial_loss,
    discriminator_loss,
    feature_matching_loss,
    generator_loss,
)

FRAMES = PatchDiscriminator(num_axes=2, width=4)
CLIPS = PatchDiscriminator(num_axes=3, width=4)


@pytest.mark.parametrize(
    ("model", "sizes"),
    [
        (FRAMES, [(32, 48), (17, 25), (9, 13), (5, 7), (6, 8), (7, 9)]),
        (CLIPS, [(16, 32, 32), (9, 17, 17), (5, 9, 9), (3, 5, 5), (4, 6, 6), (5, 7, 7)]),
    ],
)
def test_shapes(model, sizes):
    x = jax.ShapeDtypeStruct((2, *sizes[0], 3), jnp.float32)
    out, _ = jax.eval_shape(model.init_with_output, jax.random.key(0), x)
    assert [f.shape[1:-1] for f in out.features] == sizes[1:-1]
    assert [f.shape[-1] for f in out.features] == [4, 8, 16, 32]
    assert out.logits.shape == (2, *sizes[-1], 1)


def test_full_size_has_pvdms_parameters():
    def count(num_axes):
        model = PatchDiscriminator(num_axes)
        x = jax.ShapeDtypeStruct((1, *(16,) * num_axes, 3), jnp.float32)
        params = jax.eval_shape(model.init, jax.random.key(0), x)["params"]
        return sum(leaf.size for leaf in jax.tree.leaves(params))

    widths = [3, 64, 128, 256, 512, 1]
    for num_axes in (2, 3):
        weights = 4**num_axes * sum(a * b for a, b in zip(widths, widths[1:], strict=False))
        assert count(num_axes) == weights + sum(widths[1:]) + 2 * sum(widths[2:5])


def test_matches_pytorch_layers():
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).standard_normal((2, 16, 18, 3)).astype(np.float32)
    variables = jax.jit(FRAMES.init)(jax.random.key(0), x)
    (logits, features), updated = jax.jit(
        lambda v, x: FRAMES.apply(v, x, train=True, mutable=["batch_stats"])
    )(variables, x)
    params = jax.tree.map(lambda leaf: torch.tensor(np.asarray(leaf)), variables["params"])
    hidden = torch.tensor(x).permute(0, 3, 1, 2)
    for layer in range(5):
        conv = params[f"conv_{layer}" if layer < 4 else "logits"]
        kernel = conv["kernel"].permute(3, 2, 0, 1)
        stride = 2 if layer < 3 else 1
        hidden = torch.nn.functional.conv2d(hidden, kernel, conv["bias"], stride, padding=2)
        if 0 < layer < 4:
            mean = hidden.mean((0, 2, 3)).numpy()
            ours = updated["batch_stats"][f"norm_{layer}"]["mean"]
            assert np.allclose(ours, 0.1 * mean, atol=1e-5)  # PyTorch's momentum of 0.1
            hidden = torch.nn.functional.batch_norm(hidden, None, None, training=True)
        if layer < 4:
            hidden = torch.nn.functional.leaky_relu(hidden, 0.2)
            theirs = hidden.permute(0, 2, 3, 1).numpy()
            assert np.allclose(features[layer], theirs, atol=1e-4)
    assert np.allclose(logits, hidden.permute(0, 2, 3, 1).numpy(), atol=1e-4)


def test_evaluation_uses_the_running_statistics():
    x = jax.random.normal(jax.random.key(1), (2, 16, 16, 3))
    variables = jax.jit(FRAMES.init)(jax.random.key(0), x)
    apply = jax.jit(FRAMES.apply)
    together = apply(variables, x).logits
    assert np.allclose(together[:1], apply(variables, x[:1]).logits, atol=1e-5)
    moved = jax.tree.map(lambda leaf: leaf + 1, variables["batch_stats"])
    assert not np.allclose(together, apply({**variables, "batch_stats": moved}, x).logits)
    with pytest.raises(ValueError, match="rank 5"):
        apply(variables, x[None])


def test_hinge_losses():
    real, fake = jnp.array([2.0, 0.5]), jnp.array([-3.0, 1.0])
    assert discriminator_loss(real, fake) == pytest.approx(0.5 * (0.25 + 1.0))
    assert generator_loss(fake) == pytest.approx(1.0)


def test_feature_matching_sums_layers_and_holds_the_real_side():
    real = PatchLogits(jnp.zeros(2), (jnp.zeros((2, 3)), jnp.ones(4)))
    fake = PatchLogits(jnp.full(2, 0.5), (jnp.full((2, 3), -2.0), jnp.array([1.0, 1, 1, 3])))
    assert feature_matching_loss(real, fake) == pytest.approx(2.5)
    assert adversarial_loss(real, fake) == pytest.approx(-0.5 + 4 * 2.5)
    gradients = jax.grad(feature_matching_loss, (0, 1))(real, fake)
    assert not any(map(np.any, jax.tree.leaves(gradients[0])))
    assert np.any(gradients[1].features[0])


def test_the_generator_learns_from_the_clip_discriminator():
    clip = jax.random.normal(jax.random.key(1), (1, 4, 8, 8, 3))
    model = PatchDiscriminator(num_axes=3, width=2, num_halvings=1)
    variables = jax.jit(model.init)(jax.random.key(0), clip)

    def loss(fake):
        return adversarial_loss(model.apply(variables, clip), model.apply(variables, fake))

    before, gradient = jax.jit(jax.value_and_grad(loss))(0.5 * clip)
    assert loss(0.5 * clip - 1e-2 * gradient) < before
