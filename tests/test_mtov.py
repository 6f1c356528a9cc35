"""The tri-plane U-Net against the release's numbers, and its differences from the release."""

import functools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from moditalker_jax.convert.mtov import convert_state_dict, ignored, table
from moditalker_jax.convert.tables import targets
from moditalker_jax.errors import InputError
from moditalker_jax.models.mtov import TriPlaneUNet
from moditalker_jax.nn.embeddings import sinusoidal_embedding
from moditalker_jax.nn.unet_blocks import ResidualBlock, TokenAttention, attend, map_planes
from moditalker_jax.triplane import TriPlane

GOLDENS = Path(__file__).parent / "goldens"
RELEASE_SIZES = ((32, 32), (16, 32), (16, 32))
TINY = {
    "base_channels": 32,
    "channel_multipliers": (1, 2),
    "num_res_blocks": 1,
    "attention_downsampling": (1, 2),
    "num_heads": 4,
}
SIZES = ((4, 4), (2, 4), (2, 4))
SMALL = {
    **TINY,
    "base_channels": 8,
    "attention_downsampling": (2,),
    "num_heads": 2,
    "num_groups": 4,
}


def _planes(flat):
    """The release's (B, C, 2048) as a tri-plane; positions that are not given are zero."""
    tokens = jnp.asarray(flat).transpose(0, 2, 1)
    tokens = jnp.pad(tokens, ((0, 0), (0, 2048 - tokens.shape[1]), (0, 0)))
    empty = TriPlane(*(jnp.zeros((len(flat), *size, 1)) for size in RELEASE_SIZES))
    return empty.with_tokens(tokens)


def _random_planes(seed, sizes, batch=2, channels=4):
    keys = jax.random.split(jax.random.key(seed), 3)
    shapes = [(batch, *size, channels) for size in sizes]
    return TriPlane(*(jax.random.normal(k, s) for k, s in zip(keys, shapes, strict=True)))


def _inputs(**options):
    latents = [_random_planes(seed, **options) for seed in range(4)]
    batch = latents[0].xy.shape[0]
    return latents[0], jnp.arange(batch) * 300 + 5, *latents[1:]


def _fill(shapes, seed=0):
    """Random parameters with no zeros, so that every path carries a signal."""
    random = np.random.default_rng(seed)
    return jax.tree.map(lambda p: random.normal(0.1, 0.3, p.shape).astype(np.float32), shapes)


def _parameters(model, inputs):
    return _fill(_abstract(model, inputs))


@functools.partial(jax.jit, static_argnums=0)
def _run(model, params, *inputs):
    """The network's prediction as tokens (B, L, C)."""
    return model.apply({"params": params}, *inputs).to_tokens()


def _abstract(model, inputs):
    return jax.eval_shape(lambda: model.init(jax.random.key(0), *inputs)["params"])


def _assert_close(actual, golden, tolerance=1e-4):
    assert actual.shape == golden.shape
    assert np.abs(actual - golden).max() <= tolerance * np.abs(golden).max()


@pytest.fixture(scope="module")
def io():
    return dict(np.load(GOLDENS / "unet_tiny_io.npz"))


@pytest.fixture(scope="module")
def weights():
    return dict(np.load(GOLDENS / "unet_tiny_weights.npz"))


@pytest.fixture(scope="module")
def golden_inputs(io):
    landmarks, pose = np.split(io["cond"], 2, axis=1)
    latents = [_planes(flat) for flat in (io["x"], landmarks, pose, io["image_cond"])]
    return latents[0], jnp.asarray(io["t"], jnp.int32), *latents[1:]


@pytest.fixture(scope="module")
def release(golden_inputs, weights):
    """The release's tiny network and its parameters."""
    model = TriPlaneUNet(**TINY, reference_on_xy_only=True)
    return model, convert_state_dict(weights, model=model)


@pytest.fixture(scope="module")
def forward(release, golden_inputs):
    model, params = release

    @jax.jit
    def run(params):
        return model.apply({"params": params}, *golden_inputs, capture_intermediates=True)

    output, state = run(params)
    return output, state["intermediates"]


def test_output_is_the_releases(forward, io):
    output, _ = forward
    _assert_close(output.to_tokens().transpose(0, 2, 1), io["out"])


@pytest.mark.parametrize(
    ("block", "golden"),
    [
        *((f"down_{i}", f"inter_input_attns{i + 1}_sub") for i in range(3)),
        ("middle", "inter_mid_attn_sub"),
        *((f"up_{i}", f"inter_output_attns{i}_sub") for i in range(4)),
    ],
)
def test_every_block_is_the_releases(forward, io, block, golden):
    _, intermediates = forward
    (tokens,) = intermediates[block]["joint_attention"]["__call__"]
    _assert_close(tokens.transpose(0, 2, 1)[:, ::4, ::31], io[golden])


def test_first_convolution_and_time_embedding_are_the_releases(forward, io):
    _, intermediates = forward
    planes = intermediates["conv_in"]["__call__"]  # one call for each size of plane
    tokens = jnp.concatenate([p.reshape(2, -1, p.shape[-1]) for p in _by_clip(planes)], axis=1)
    _assert_close(tokens.transpose(0, 2, 1)[:, ::4, ::31], io["inter_input_attns0_sub"])
    (time,) = intermediates["time_out"]["__call__"]
    _assert_close(time, io["inter_time_embed_sub"])


def _by_clip(planes):
    """(B * count, h, w, C) as (B, count * h, w, C)."""
    return [p.reshape(2, -1, *p.shape[2:]) for p in planes]


def test_sinusoids_are_the_releases(io):
    waves = sinusoidal_embedding(io["temb_t"], 32, cosine_first=True, inclusive=False)
    np.testing.assert_allclose(waves, io["temb_dim32"], atol=1e-4)


def test_identity_reaches_only_the_xy_plane_in_the_release():
    inputs = _inputs(sizes=SIZES)
    reference = inputs[-1]
    changed = (*inputs[:-1], reference.replace(yt=reference.yt + 1, xt=reference.xt - 1))
    release_form = TriPlaneUNet(**SMALL, reference_on_xy_only=True)
    paper_form = TriPlaneUNet(**SMALL)
    params = _parameters(paper_form, inputs)
    for model, reads_all_planes in ((release_form, False), (paper_form, True)):
        outputs = [_run(model, params, *given) for given in (inputs, changed)]
        assert bool(jnp.array_equal(*outputs)) != reads_all_planes
    zeroed = reference.replace(yt=0 * reference.yt, xt=0 * reference.xt)
    np.testing.assert_allclose(
        _run(release_form, params, *inputs),
        _run(paper_form, params, *inputs[:-1], zeroed),
        rtol=1e-5,
        atol=1e-5,
    )


def test_untrained_network_returns_zeros_of_the_planes_sizes():
    sizes = ((4, 6), (2, 6), (2, 4))
    inputs = _inputs(sizes=sizes)
    model = TriPlaneUNet(**SMALL, out_channels=3)
    output, _ = jax.jit(model.init_with_output)(jax.random.key(0), *inputs)
    assert [p.shape for p in jax.tree.leaves(output)] == [(2, *size, 3) for size in sizes]
    assert not output.to_tokens().any()


def test_clips_do_not_mix():
    """Planes of several clips share a batch inside; each clip must see only its own planes."""
    inputs = _inputs(sizes=SIZES)
    model = TriPlaneUNet(**SMALL)
    params = _parameters(model, inputs)
    other = jax.tree.map(lambda leaf: leaf.at[1].set(7 - leaf[1]), inputs)
    before, after = (_run(model, params, *given) for given in (inputs, other))
    np.testing.assert_array_equal(before[0], after[0])
    assert not np.allclose(before[1], after[1])


def test_planes_of_equal_size_in_one_call_are_as_planes_alone():
    block = ResidualBlock(6, num_groups=2)
    tokens, time = jax.random.normal(jax.random.key(1), (2, 48, 4)), jnp.eye(2, 5)
    init = functools.partial(block.init, deterministic=True)
    params = _fill(jax.eval_shape(init, jax.random.key(0), tokens.reshape(6, 4, 4, 4), time))

    @jax.jit
    def run(planes):
        return block.apply(params, planes, time, deterministic=True)

    together = map_planes(run, tokens, ((4, 4),) * 3)
    alone = [run(part.reshape(2, 4, 4, 4)).reshape(2, 16, 6) for part in jnp.split(tokens, 3, 1)]
    np.testing.assert_allclose(together, jnp.concatenate(alone, axis=1), atol=1e-5)


def test_indivisible_planes_are_refused():
    inputs = _inputs(sizes=((6, 6), (3, 6), (3, 6)))
    with pytest.raises(ValueError, match="do not halve"):
        jax.eval_shape(TriPlaneUNet(**SMALL).init, jax.random.key(0), *inputs)


@pytest.mark.parametrize(("key_scale", "tolerance"), [(1, 1e-5), (90, 1e-4)])
def test_attention_and_its_gradient_are_the_textbooks(key_scale, tolerance):
    """Keys of scale 90 make logits whose exponentials overflow."""
    keys = jax.random.split(jax.random.key(0), 4)
    query, key, value, cotangent = (jax.random.normal(k, (2, 5, 3, 4)) for k in keys)
    qkv = (query, key * key_scale, value)
    expected, expected_vjp = jax.vjp(jax.nn.dot_product_attention, *qkv)
    output, vjp = jax.vjp(attend, *qkv)
    _assert_close(output, expected, tolerance)
    for actual, gradient in zip(vjp(cotangent), expected_vjp(cotangent), strict=True):
        _assert_close(actual, gradient, tolerance)


def test_dropout_acts_in_training_only():
    planes, time = jax.random.normal(jax.random.key(0), (1, 4, 4, 4)), jnp.ones((1, 3))
    block = ResidualBlock(4, num_groups=2, dropout_rate=0.5)
    init = functools.partial(block.init, deterministic=True)
    params = _fill(jax.eval_shape(init, jax.random.key(0), planes, time))
    still = block.apply(params, planes, time, deterministic=True)
    without = ResidualBlock(4, num_groups=2).apply(params, planes, time, deterministic=False)
    np.testing.assert_array_equal(still, without)
    rngs = {"dropout": jax.random.key(3)}
    moving = block.apply(params, planes, time, deterministic=False, rngs=rngs)
    assert not np.allclose(moving, still)


def test_bfloat16_stays_near_float32(release, golden_inputs, io):
    model, params = release
    output = _run(model.clone(dtype=jnp.bfloat16), params, *golden_inputs)
    assert output.dtype == jnp.float32
    golden = io["out"].transpose(0, 2, 1)
    error = np.sqrt(np.mean((output - golden) ** 2) / np.mean(golden**2))
    assert 1e-4 < error < 0.05


def test_attention_joins_all_tokens():
    attention = TokenAttention(num_heads=2, num_groups=2)
    tokens = jax.random.normal(jax.random.key(0), (1, 6, 8))
    untrained, params = jax.jit(attention.init_with_output)(jax.random.key(1), tokens)
    np.testing.assert_array_equal(untrained, tokens)
    jacobian = jax.jit(jax.jacobian(attention.apply, argnums=1))(_fill(params), tokens)
    assert (jnp.abs(jacobian).max(axis=(0, 2, 3, 5)) > 0).all()


def _released_shapes():
    state = json.loads((GOLDENS / "state_dict_unet.json").read_text())
    used = {key: info["used"] for key, _, _, info in state["entries"]}
    return state, {key: np.broadcast_to(np.float32(0), s) for key, s, *_ in state["entries"]}, used


@pytest.fixture(scope="module")
def full_size():
    model = TriPlaneUNet(reference_on_xy_only=True)
    sizes = ((32, 32), (16, 32), (16, 32))
    return model, _abstract(model, _inputs(sizes=sizes, batch=1))


def test_full_size_has_the_releases_live_parameters(full_size):
    _, abstract = full_size
    assert sum(leaf.size for leaf in jax.tree.leaves(abstract)) == 132_172_804
    assert {leaf.dtype for leaf in jax.tree.leaves(abstract)} == {jnp.dtype("float32")}


def test_full_size_converts_and_ignores_exactly_the_dead_tensors(full_size):
    model, abstract = full_size
    state, tensors, used = _released_shapes()
    rules = table(model)
    assert {key for key in used if targets(key, rules)} == {key for key in used if used[key]}
    assert set(ignored(model)) == {key for key in used if not used[key]} | {"diffusion_model.zeros"}
    params = convert_state_dict(tensors, model=model)
    assert sum(p.size for p in jax.tree.leaves(params)) == state["num_parameters_effective"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("diffusion_model.mid_attn.qkv.weight"), "missing.*middle/joint_att"),
        (lambda s: s.update(stray=np.zeros(3)), "left over.*stray"),
        (
            lambda s: s.update({"diffusion_model.output_bg_blocks.9.0.new": np.zeros(1)}),
            "left over",
        ),
        (lambda s: s.update({"diffusion_model.out.2.bias": np.zeros(5)}), "shape.*conv_out/bias"),
    ],
)
def test_unfit_state_dicts_are_refused(release, weights, change, message):
    model, params = release
    spoiled = dict(weights)
    change(spoiled)
    with pytest.raises(InputError, match=message):
        convert_state_dict(spoiled, model=model)


def test_with_a_reference_residual_a_fresh_network_returns_the_identity():
    planes = [
        TriPlane(*(jax.random.normal(jax.random.key(k), (1, 4, 4, 2)) for _ in range(3)))
        for k in range(4)
    ]
    x_t, *conditions = planes
    fields = {"out_channels": 2, "base_channels": 8, "channel_multipliers": (1, 2)}
    fields |= {"num_res_blocks": 1, "attention_downsampling": (2,), "num_heads": 1}
    model = TriPlaneUNet(**fields, num_groups=4, reference_residual=True)
    timesteps = jnp.array([3])
    params = jax.jit(model.init)(jax.random.key(9), x_t, timesteps, *conditions)
    made = model.apply(params, x_t, timesteps, *conditions)
    for plane, expected in zip(jax.tree.leaves(made), jax.tree.leaves(conditions[-1]), strict=True):
        np.testing.assert_array_equal(plane, expected)
    # Without the identity among the conditions there is nothing to add to.
    blind = model.clone(conditions=("landmark", "pose"))
    params = jax.jit(blind.init)(jax.random.key(9), x_t, timesteps, *conditions)
    made = blind.apply(params, x_t, timesteps, *conditions)
    assert all((plane == 0).all() for plane in jax.tree.leaves(made))
