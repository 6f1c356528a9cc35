"""AToM: parity with the release, the paper's form, cached conditions, dropout, gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from moditalker_jax.models.atom import AToM, AToMConditions
from moditalker_jax.models.build import abstract_params
from moditalker_jax.nn.attention import RotaryAttention
from moditalker_jax.nn.embeddings import rotary_angles, rotate, sinusoidal_embedding
from tests.atom_golden import (
    as_points,
    gradient_parts,
    load,
    relative_error,
    tiny_atom,
    tiny_variables,
)

TOLERANCE = 1e-4
FRAMES, STEPS = 12, 24


@pytest.fixture(scope="module")
def golden():
    return load("atom_tiny_io")


def inputs(golden, face="face_var"):
    return (
        as_points(golden["x"]),
        jnp.asarray(golden["times"], jnp.int32),
        golden["cond_embed"],
        as_points(golden[face]),
    )


@functools.cache
def compiled(model, method, train):
    def apply(variables, arguments, keep_condition, rngs):
        options = {"train": train}
        if method != "denoise":
            options["keep_condition"] = keep_condition
        return model.apply(variables, *arguments, **options, rngs=rngs, method=method)

    return jax.jit(apply)


def run(model, *arguments, method="__call__", keep=None, train=False, rngs=None, variables=None):
    """The compiled network, which the tests share; `keep` lists what samples keep conditions."""
    keep = None if keep is None else jnp.asarray(keep)
    apply = compiled(model, method, train)
    return apply(variables or tiny_variables(), arguments, keep, rngs)


@pytest.mark.parametrize("face", ["face_const", "face_var"])
@pytest.mark.parametrize("branch", ["cond", "uncond"])
def test_output_equals_release(golden, face, branch):
    output = run(tiny_atom(), *inputs(golden, face), keep=[branch == "cond"] * 2)
    assert output.dtype == jnp.float32
    assert relative_error(output, golden[f"out_{branch}_{face}"]) < TOLERANCE


@pytest.mark.parametrize("face", ["face_const", "face_var"])
def test_guided_output_equals_release(golden, face):
    cond, uncond = (run(tiny_atom(), *inputs(golden, face), keep=[k, k]) for k in (True, False))
    guided = uncond + 2 * (cond - uncond)
    assert relative_error(guided, golden[f"out_guided_w2_{face}"]) < TOLERANCE


@jax.jit
def apply_and_capture(variables, arguments, keep_condition):
    """The outputs of all submodules and of `film_vectors`."""
    _, state = tiny_atom().apply(
        variables,
        *arguments,
        keep_condition=keep_condition,
        capture_intermediates=lambda _, method: method in ("__call__", "film_vectors"),
        mutable=["intermediates"],
    )
    return state["intermediates"]


def captured(golden, *, keep):
    return apply_and_capture(tiny_variables(), inputs(golden), jnp.full((2,), keep))


def test_intermediates_equal_release(golden):
    found = captured(golden, keep=True)
    out = "__call__"
    fixed_tokens, time_tokens = found["memory_norm"][out]
    audio, landmarks = jnp.split(fixed_tokens, [STEPS], axis=1)
    lip_vector, upper_vector = found["film_vectors"][0]
    ours = {
        "cond_encoder_out": found["audio_encoder_1"][out][0],
        "face_encoder_out": found["landmark_encoder_1"][out][0],
        "cond_hidden": found["audio_pooled"][out][0],
        "face_hidden": found["landmark_pooled"][out][0],
        "t_hidden": jax.nn.mish(found["time_hidden"][out][0]),
        "t_before_inplace_add": found["time_vector"][out][0],
        "dec_in_x": jnp.concatenate(
            (found["lip_projection"][out][0], found["upper_projection"][out][0]), axis=-1
        ),
        "memory": jnp.concatenate((audio, time_tokens, landmarks), axis=1),
        "face_memory": jnp.concatenate((time_tokens, landmarks), axis=1),
        "lip_t": lip_vector,
        "nonlip_t": upper_vector,
        "dec_layer0_out": found["decoder_0"][out][0],
        "dec_layer1_out": found["decoder_1"][out][0],
    }
    expected = {key for key in golden if key.startswith("inter_cond_")}
    assert {f"inter_cond_{name}" for name in ours} == expected
    errors = {name: relative_error(ours[name], golden[f"inter_cond_{name}"]) for name in ours}
    assert max(errors.values()) < TOLERANCE, errors


def test_null_intermediates_equal_release(golden):
    found = captured(golden, keep=False)
    fixed_tokens, time_tokens = found["memory_norm"]["__call__"]
    audio, landmarks = jnp.split(fixed_tokens, [STEPS], axis=1)
    memory = jnp.concatenate((audio, time_tokens, landmarks), axis=1)
    assert relative_error(memory, golden["inter_uncond_memory"]) < TOLERANCE
    lip_vector, _ = found["film_vectors"][0]
    assert relative_error(lip_vector, golden["inter_uncond_lip_t"]) < TOLERANCE


def test_embeddings_equal_release(golden):
    timestep_embedding = sinusoidal_embedding(golden["sinemb_t"], 64)
    assert relative_error(timestep_embedding, golden["sinemb_dim64"]) < TOLERANCE
    rotated = rotate(golden["rotary_in"], rotary_angles(np.arange(9), 16))
    assert relative_error(rotated, golden["rotary_out"]) < TOLERANCE


@jax.jit
def loss_and_gradients(params, x0, x_t, timesteps, audio, landmarks, keep):
    def loss(params):
        error = x0 - tiny_atom().apply(
            {"params": params}, x_t, timesteps, audio, landmarks, keep_condition=keep
        )
        return 7.5 * jnp.mean(error**2) + 1.5 * jnp.mean(jnp.diff(error, axis=1) ** 2)

    return jax.value_and_grad(loss)(params)


def check_each_gradient(gradients, diffusion, kind):
    names, norms, sums = (
        diffusion[name]
        for name in (
            "param_names",
            f"loss_{kind}_param_grad_norms",
            f"loss_{kind}_param_grad_sums",
        )
    )
    for key, norm, total in zip(names, norms, sums, strict=True):
        parts = gradient_parts(gradients, str(key))
        ours = np.sqrt(sum((part**2).sum() for part in parts))
        assert ours == pytest.approx(max(norm, 0.0), rel=1e-3, abs=1e-6), key
        if parts:  # a sum cancels, so it is as exact as the norm of what it sums
            slack = 1e-3 * norm + 1e-5
            assert sum(part.sum() for part in parts) == pytest.approx(total, abs=slack), key


def golden_loss_and_gradients(golden, kind):
    diffusion, schedule = load("diffusion_atom"), load("schedules")
    timesteps = diffusion["loss_t"]
    alpha, sigma = (
        schedule[f"atom_{name}"][timesteps][:, None, None, None]
        for name in ("sqrt_alphas_cumprod", "sqrt_one_minus_alphas_cumprod")
    )
    x0, noise = as_points(diffusion["x0"]), as_points(diffusion["noise"])
    x_t = alpha * x0 + sigma * noise
    _, _, audio, landmarks = inputs(golden, "face_const")
    keep = {"cond": np.ones(2, bool), "uncond": np.zeros(2, bool)}.get(
        kind, diffusion["loss_keep_mask_mixed"]
    )
    params = tiny_variables()["params"]
    return loss_and_gradients(params, x0, x_t, timesteps, audio, landmarks, keep)


@pytest.mark.parametrize("kind", ["cond", "uncond", "mixed"])
def test_loss_and_gradients_equal_release(golden, kind):
    diffusion = load("diffusion_atom")
    value, gradients = golden_loss_and_gradients(golden, kind)
    assert float(value) == pytest.approx(diffusion[f"loss_{kind}"][0], rel=1e-5)
    total = np.sqrt(sum(float((leaf**2).sum()) for leaf in jax.tree.leaves(gradients)))
    assert total == pytest.approx(float(diffusion[f"loss_{kind}_grad_norm"]), rel=TOLERANCE)
    check_each_gradient(gradients, diffusion, kind)


def test_whole_gradients_equal_release(golden):
    _, gradients = golden_loss_and_gradients(golden, "mixed")
    whole = {k.split("/")[1]: v for k, v in load("diffusion_atom").items() if "mixed_grad/" in k}
    assert len(whole) == 4
    for key, expected in whole.items():
        (part,) = gradient_parts(gradients, key)
        part = part.T if key == "final_layer.weight" else part
        assert relative_error(part, expected) < TOLERANCE, key


@pytest.mark.parametrize("share_film", [True, False])
def test_cached_conditions_give_what_uncached_ones_give(golden, share_film):
    model = tiny_atom(share_film=share_film)
    x_t, _, audio, landmarks = inputs(golden)
    keep = [True, False]
    conditions = run(model, audio, landmarks, keep=keep, method="encode_conditions")
    assert isinstance(conditions, AToMConditions)
    for timestep in (0, 500, 999):
        timesteps = jnp.full((2,), timestep)
        cached = run(model, x_t, timesteps, conditions, method="denoise")
        uncached = run(model, x_t, timesteps, audio, landmarks, keep=keep)
        assert relative_error(cached, np.asarray(uncached)) < 1e-5


def test_share_film_is_the_difference_of_the_release_from_the_paper(golden):
    width = 64
    time, audio, landmarks = jax.random.normal(jax.random.key(0), (3, 2, width))
    conditions = AToMConditions(audio, landmarks, memories=())

    def vectors(share_film):
        model = tiny_atom(share_film=share_film)
        return model.apply(tiny_variables(), time, conditions, method=AToM.film_vectors)

    lip, upper = vectors(share_film=False)
    assert jnp.allclose(lip, time + landmarks + audio, atol=1e-6)
    assert jnp.allclose(upper, time + landmarks, atol=1e-6)
    for vector in vectors(share_film=True):
        assert jnp.allclose(vector, time + 2 * landmarks + audio, atol=1e-6)

    paper = run(tiny_atom(share_film=False), *inputs(golden))
    assert relative_error(paper, golden["out_cond_face_var"]) > 0.01
    assert not AToM().share_film


def test_memory_positions_by_time_put_audio_and_landmarks_on_one_clock(golden):
    """With all null tokens equal, keys differ by their positions alone."""
    params = dict(tiny_variables()["params"])
    for name in ("null_audio", "null_landmarks"):
        params[name] = np.broadcast_to(np.linspace(-1, 1, 64), params[name].shape)
    _, _, audio, landmarks = inputs(golden)

    def keys(memory_positions):
        conditions = run(
            tiny_atom(memory_positions=memory_positions),
            audio,
            landmarks,
            keep=[False, False],
            method="encode_conditions",
            variables={"params": params},
        )
        memory = conditions.memories[1]
        return (*jnp.split(memory.lip_keys, [STEPS], axis=1), memory.merged_keys)

    audio_keys, landmark_keys, merged_keys = keys("time")
    assert jnp.allclose(audio_keys[:, ::2], landmark_keys, atol=1e-5)
    assert jnp.allclose(merged_keys, landmark_keys, atol=1e-5)
    audio_keys, landmark_keys, merged_keys = keys("token")
    assert not jnp.allclose(audio_keys[:, ::2], landmark_keys, atol=1e-2)
    # Two time tokens stand before the landmarks: audio and merged keys meet at equal indices.
    assert jnp.allclose(audio_keys[:, 2 : 2 + FRAMES], merged_keys, atol=1e-5)


def test_unknown_memory_positions_are_refused(golden):
    with pytest.raises(ValueError, match="memory_positions"):
        run(tiny_atom(memory_positions="frames"), *inputs(golden))


def test_one_reference_frame_stands_for_every_frame(golden):
    _, _, audio, landmarks = inputs(golden, "face_const")
    one = run(tiny_atom(), audio, landmarks[:, 0], method="encode_conditions")
    repeated = run(tiny_atom(), audio, landmarks, method="encode_conditions")
    assert jax.tree.all(jax.tree.map(lambda a, b: jnp.allclose(a, b, atol=1e-6), one, repeated))


def test_dropped_conditions_reach_no_output_and_kept_ones_do(golden):
    x_t, timesteps, audio, landmarks = inputs(golden)
    keep = [True, False]
    before = run(tiny_atom(), x_t, timesteps, audio, landmarks, keep=keep)
    for changed in ((audio + 1, landmarks), (audio, landmarks + 1)):
        after = run(tiny_atom(), x_t, timesteps, *changed, keep=keep)
        assert jnp.array_equal(after[1], before[1])
        assert relative_error(after[0], np.asarray(before[0])) > 1e-3
    kept = run(tiny_atom(), x_t, timesteps, audio, landmarks)
    assert jnp.allclose(before[0], kept[0], atol=1e-5)


@pytest.mark.parametrize("alignment_bias", [False, True])
def test_with_a_span_sound_from_elsewhere_is_not_heard(golden, alignment_bias):
    """Two encoder layers and the first decoder layer carry it 3 frames, the upper face 4 more."""
    x_t, timesteps, audio, landmarks = inputs(golden)
    other_end = audio.copy()
    other_end[:, -2:] += 1.0
    for span, hidden in ((1, 4), (None, 0)):
        model = tiny_atom(attention_span=span, alignment_bias=alignment_bias)
        before, after = (run(model, x_t, timesteps, a, landmarks) for a in (audio, other_end))
        moved = jnp.abs(after - before).max(axis=(0, 2, 3))  # (T,)
        assert (moved[:hidden] == 0).all() and (moved[hidden:] > 0).all()


def test_a_span_over_the_window_hides_nothing_but_the_pooled_audio(golden):
    whole, wide = (
        run(tiny_atom(attention_span=span), *inputs(golden)[2:], method="encode_conditions")
        for span in (None, FRAMES)
    )
    for a, b in zip(whole.memories, wide.memories, strict=True):
        assert jnp.allclose(a.lip_keys, b.lip_keys, atol=1e-5)
    assert (wide.audio_vector == 0).all() and (whole.audio_vector != 0).all()


def test_dropout_acts_under_train_alone(golden):
    def trained(seed):
        rngs = {"dropout": jax.random.key(seed)}
        return run(tiny_atom(), *inputs(golden), train=True, rngs=rngs)

    still = run(tiny_atom(), *inputs(golden))
    assert jnp.array_equal(trained(0), trained(0))
    assert relative_error(trained(0), np.asarray(trained(1))) > 0.01
    assert relative_error(trained(0), np.asarray(still)) > 0.01


def test_dropout_keeps_the_expected_attention():
    """Averaged over many draws, attention with dropped weights is attention."""
    layer = RotaryAttention(width=8, num_heads=2, dropout_rate=0.3)
    x, angles = jax.random.normal(jax.random.key(0), (1, 5, 8)), rotary_angles(np.arange(5), 8)
    variables = layer.init(jax.random.key(1), x, angles, deterministic=True)

    @jax.jit
    @jax.vmap
    def draw(key):
        return layer.apply(variables, x, angles, deterministic=False, rngs={"dropout": key})

    draws = draw(jax.random.split(jax.random.key(2), 4000))
    still = layer.apply(variables, x, angles, deterministic=True)
    assert draws.std(axis=0).min() > 0.01
    assert jnp.allclose(draws.mean(axis=0), still, atol=0.05)


def test_bfloat16_computes_near_float32_from_float32_parameters(golden):
    model = tiny_atom(dtype=jnp.bfloat16)
    output = run(model, *inputs(golden))
    assert output.dtype == jnp.float32
    assert 1e-6 < relative_error(output, golden["out_cond_face_var"]) < 0.1
    leaves = jax.tree.leaves(abstract_params(model, audio_width=32))
    assert {leaf.dtype for leaf in leaves} == {jnp.dtype("float32")}


def test_full_size_has_the_release_s_parameters_without_the_dead_ones():
    leaves = jax.tree.leaves(abstract_params(AToM(), audio_width=1024))
    assert sum(int(np.prod(leaf.shape)) for leaf in leaves) == 48_491_724


def test_other_lengths_than_the_window_are_refused(golden):
    x_t, timesteps, audio, landmarks = inputs(golden)
    with pytest.raises(ValueError, match="audio_features has 23 steps"):
        run(tiny_atom(), x_t, timesteps, audio[:, :-1], landmarks)
    with pytest.raises(ValueError, match="reference_landmarks has 11 steps"):
        run(tiny_atom(), x_t, timesteps, audio, landmarks[:, :-1])
