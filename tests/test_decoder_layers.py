"""One layer of AToM's decoder: what its merge keeps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from moditalker_jax.nn.decoder_layers import DecoderLayer, LayerMemory

WIDTH, FRAMES, TOKENS = 8, 6, 5


@pytest.mark.parametrize("merge_residual", [False, True])
def test_merge_residual_lets_the_parts_pass_the_merge(merge_residual):
    """With values of zero, attention over the memory reads the same whatever the parts say."""
    layer = DecoderLayer(WIDTH, 2, merge_residual=merge_residual)
    nothing = jnp.zeros((1, TOKENS, 2, WIDTH // 2))
    memory = LayerMemory(lip_keys=nothing, values=nothing, merged_keys=nothing)
    vector = jnp.ones((1, WIDTH))
    x = jax.random.normal(jax.random.key(0), (1, FRAMES, 2 * WIDTH))
    variables = layer.init(jax.random.key(1), x, vector, vector, memory, deterministic=True)
    out = layer.apply(variables, x, vector, vector, memory, deterministic=True)
    varies = not np.allclose(out, out[:, :1], atol=1e-6)
    assert varies == merge_residual
