"""Whose attention is taken: cuDNN's on GPUs in half precision, XLA's elsewhere."""

import jax
import jax.numpy as jnp
import pytest

from moditalker_jax.nn import attention, unet_blocks

SHAPE = (1, 16, 2, 8)


@pytest.fixture
def implementations(monkeypatch):
    """What `jax.nn.dot_product_attention` is asked for, on what seems to be a GPU."""
    asked = []

    def spy(query, key, value, *, bias=None, implementation=None):
        asked.append((implementation, None if bias is None else bias.dtype))
        return query

    monkeypatch.setattr(jax.nn, "dot_product_attention", spy)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    return asked


@pytest.mark.parametrize("module", ["atom", "mtov"])
def test_cudnn_attends_on_gpus_in_half_precision(implementations, module):
    attend = {"atom": attention.dot_product_attention, "mtov": unet_blocks._attend_fused}[module]
    half = jnp.ones(SHAPE, jnp.bfloat16)
    attend(half, half, half)
    assert implementations == [("cudnn", None)]


def test_its_bias_is_in_the_queries_type(implementations):
    half = jnp.ones(SHAPE, jnp.bfloat16)
    attention.dot_product_attention(half, half, half, jnp.zeros((1, 2, 16, 16)))
    assert implementations == [("cudnn", jnp.bfloat16)]


@pytest.mark.parametrize(
    ("dtype", "width", "backend"),
    [(jnp.float32, 8, "gpu"), (jnp.bfloat16, 12, "gpu"), (jnp.bfloat16, 8, "tpu")],
)
def test_xla_attends_elsewhere(implementations, monkeypatch, dtype, width, backend):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    query = jnp.ones((*SHAPE[:-1], width), dtype)
    attention.dot_product_attention(query, query, query)
    assert implementations == [(None, None)]
    unet_blocks._attend_fused(query, query, query)  # Its own attention, not JAX's.
    assert len(implementations) == 1
