"""The tri-plane autoencoder against the release's numbers, and what its paper form must keep."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from moditalker_jax.convert.autoencoder import convert_state_dict
from moditalker_jax.convert.tables import load_state_dict
from moditalker_jax.errors import InputError
from moditalker_jax.models.autoencoder import AxisProjection, TriPlaneAutoencoder
from moditalker_jax.models.build import abstract_params
from moditalker_jax.nn.embeddings import rotate
from moditalker_jax.nn.timesformer import axial_angles, frame_angles
from moditalker_jax.triplane import TriPlane

GOLDENS = Path(__file__).parent / "goldens"
RELEASE = TriPlaneAutoencoder(
    resolution=64,
    width=32,
    depth=2,
    num_heads=2,
    head_width=16,
    mismatched_frame_rotary=True,
)
GRID = 8
SMALL = {
    "width": 16,
    "depth": 1,
    "num_heads": 1,
    "head_width": 8,
    "projection_depth": 1,
    "projection_mlp_width": 16,
}


@pytest.fixture(scope="module")
def golden():
    return dict(np.load(GOLDENS / "ae_tiny_io.npz"))


@pytest.fixture(scope="module")
def params():
    state_dict = load_state_dict(GOLDENS / "ae_tiny_weights.npz")
    return convert_state_dict(state_dict, model=RELEASE)


@pytest.fixture(scope="module")
def video(golden):
    frames = golden["video_u8"].transpose(0, 2, 3, 4, 1).repeat(2, axis=2).repeat(2, axis=3)
    return jnp.asarray(frames, jnp.float32) / 127.5 - 1


@pytest.fixture(scope="module")
def run(params, video):
    """Reconstruction and every module's output."""
    apply = jax.jit(lambda p, x: RELEASE.apply({"params": p}, x, capture_intermediates=True))
    out, state = apply(params, video)
    return out, state["intermediates"]


def assert_close(actual, expected, tolerance=1e-4):
    assert actual.shape == expected.shape
    assert np.abs(np.asarray(actual) - expected).max() <= tolerance * np.abs(expected).max()


def as_release(video):
    """(B, T, H, W, C) as (B*T, C, H, W)."""
    return np.asarray(video).transpose(0, 1, 4, 2, 3).reshape(-1, 3, 64, 64)


def planes_of(tokens):
    sizes = [(1, GRID, GRID, 4), (1, 16, GRID, 4), (1, 16, GRID, 4)]
    return TriPlane(*map(jnp.zeros, sizes)).with_tokens(jnp.asarray(tokens).swapaxes(1, 2))


def test_latents_match_the_release(golden, params, video):
    latents = jax.jit(lambda p, x: RELEASE.apply({"params": p}, x, method="encode"))(params, video)
    assert_close(latents.to_tokens().swapaxes(1, 2), golden["z_extract"])


def test_decoded_video_matches_the_release(golden, params):
    decode = jax.jit(lambda p, z: RELEASE.apply({"params": p}, z, method="decode"))
    video = decode(params, planes_of(golden["z_in"]))
    assert_close(as_release(video), golden["decode_from_sample"])


def test_reconstruction_matches_the_release(golden, run):
    assert_close(as_release(run[0])[[0, 5, 15]], golden["forward_frames_0_5_15"])


def test_layers_match_the_release(golden, run):
    intermediates = run[1]
    encoder = intermediates["encoder"]["timesformer"]
    tokens = encoder["__call__"][0].reshape(1, -1, 32)
    assert_close(tokens[:, ::17], golden["inter_encoder_tokens_sub"])
    for ours, theirs in (("time", "time"), ("space", "spatial")):
        attended = encoder["block_0"][f"{ours}_attention"]["__call__"][0].reshape(1, -1, 32)
        assert_close(attended[:, ::17], golden[f"inter_enc0_{theirs}_attn_sub"])


def test_full_projection_matches_the_release(golden, params, run):
    tokens = run[1]["encoder"]["timesformer"]["__call__"][0]
    columns = jnp.moveaxis(tokens, 1, -2)
    projection = AxisProjection(depth=4, num_heads=4, mlp_width=512)
    variables = {"params": params["encoder"]["project_xy"]}
    full = projection.apply(variables, columns, full=True)
    assert_close(full.reshape(-1, 17, 32)[::7], golden["inter_xy_quant_out_sub"])
    # What the encoder uses is position 0, computed without the others.
    assert_close(projection.apply(variables, columns), np.asarray(full[..., 0, :]), 1e-5)


def test_sum_of_planes_matches_the_release(golden, params):
    latents = planes_of(golden["z_extract"])
    features = RELEASE.apply({"params": params}, latents, method=lambda m, z: m.decoder.features(z))
    features = np.asarray(features).transpose(0, 4, 1, 2, 3)  # (B, D, T, h, w)
    assert_close(features[:, ::4, ::3], golden["encode_z_sub"])


def test_rotary_angles_match_the_release(golden):
    frames, axial = frame_angles(5, 64, mismatched=True), axial_angles(4, 3, 64)
    for name, angles in (("frame_rot", frames), ("axial_rot", axial)):
        assert_close(jnp.sin(angles), golden[f"{name}_sin"][0], 1e-5)
        assert_close(jnp.cos(angles), golden[f"{name}_cos"][0], 1e-5)


def test_default_frame_rotary_is_a_rotation_and_the_release_is_not():
    x = jax.random.normal(jax.random.key(0), (16, 8))
    norm = jnp.linalg.norm(x, axis=-1)
    for mismatched, preserves in ((False, True), (True, False)):
        turned = rotate(x, frame_angles(16, 8, mismatched=mismatched))
        assert np.allclose(jnp.linalg.norm(turned, axis=-1), norm, rtol=1e-5) is preserves


def test_default_frame_rotary_sees_only_time_differences():
    query, key = jax.random.normal(jax.random.key(0), (2, 8))

    def products(mismatched):
        angles = frame_angles(16, 8, mismatched=mismatched)
        turned = [rotate(jnp.broadcast_to(x, (16, 8)), angles) for x in (query, key)]
        return np.asarray(turned[0] @ turned[1].T)

    paper, release = products(False), products(True)
    assert np.allclose(paper[:-1, :-1], paper[1:, 1:], atol=1e-4)
    assert not np.allclose(release[:-1, :-1], release[1:, 1:], atol=1e-2)


def test_rotary_field_changes_the_reconstruction(params, video, run):
    paper = RELEASE.clone(mismatched_frame_rotary=False)
    other = jax.jit(lambda p, x: paper.apply({"params": p}, x))(params, video)
    assert np.abs(other - run[0]).max() > 1e-3


def test_full_size_has_the_release_parameters():
    shapes = abstract_params(TriPlaneAutoencoder())
    assert set(shapes) == {"encoder", "decoder"}
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == 62_064_399


def test_full_size_converts_from_the_release_names():
    entries = json.loads((GOLDENS / "state_dict_autoencoder.json").read_text())["entries"]
    state_dict = {f"module.{key}": np.zeros(shape, np.float32) for key, shape, *_ in entries}
    params = convert_state_dict(state_dict)
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 62_064_399
    del state_dict["module.post_yt.bias"]
    with pytest.raises(InputError, match="missing: decoder/features_yt/bias"):
        convert_state_dict(state_dict)


@pytest.mark.parametrize(("patch_size", "num_frames"), [(8, 16), (4, 4)])
def test_other_sizes_follow_from_the_fields(patch_size, num_frames):
    model = TriPlaneAutoencoder(
        resolution=128, patch_size=patch_size, num_frames=num_frames, **SMALL
    )
    video = jax.ShapeDtypeStruct((2, num_frames, 128, 128, 3), jnp.float32)
    variables = {"params": abstract_params(model)}
    latents = jax.eval_shape(lambda p, x: model.apply(p, x, method="encode"), variables, video)
    grid = 128 // patch_size
    assert latents.xy.shape == (2, grid, grid, 4)
    assert latents.yt.shape == latents.xt.shape == (2, num_frames, grid, 4)
    assert jax.eval_shape(model.apply, variables, video).shape == video.shape


@pytest.fixture(scope="module")
def tiny():
    """A tiny model with its variables and a video."""
    model = TriPlaneAutoencoder(resolution=16, num_frames=3, **SMALL)
    video = jax.random.uniform(jax.random.key(1), (1, 3, 16, 16, 3), minval=-1)
    return model, jax.jit(model.init)(jax.random.key(0), video), video


def test_latents_stay_inside_one_and_other_videos_are_refused(tiny):
    model, variables, video = tiny
    encode = jax.jit(lambda variables, video: model.apply(variables, video, method="encode"))
    latents = encode(variables, 100 * video)
    assert max(jnp.abs(plane).max() for plane in jax.tree.leaves(latents)) <= 1
    with pytest.raises(ValueError, match="takes"):
        encode(variables, video[:, :2])


def test_recomputing_blocks_changes_no_gradient(tiny):
    model, variables, video = tiny

    def gradient(model):
        loss = jax.jit(jax.grad(lambda variables: jnp.mean(model.apply(variables, video) ** 2)))
        return np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(loss(variables))])

    assert_close(gradient(model.clone(remat=True)), gradient(model))


def test_bfloat16_changes_precision_only(tiny):
    model, variables, video = tiny
    half = jax.jit(model.clone(dtype=jnp.bfloat16).apply)(variables, video)
    assert half.dtype == jnp.float32
    assert_close(half, np.asarray(jax.jit(model.apply)(variables, video)), 0.05)
