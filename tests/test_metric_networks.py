"""The networks behind the measures against the PyTorch references, on seeded random weights."""

import functools
import hashlib
import itertools
import json
import zlib
from unittest import mock

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from moditalker_jax.convert.metric_networks import convert_arcface, convert_inception
from moditalker_jax.errors import InputError
from moditalker_jax.metrics.lip_sync import sync_windows
from moditalker_jax.metrics.networks import i3d, inception
from moditalker_jax.metrics.networks.i3d import I3D, i3d_logits
from moditalker_jax.metrics.networks.inception import InceptionV3, fid_features
from moditalker_jax.metrics.networks.iresnet import (
    DEPTHS,
    IResNet,
    count_blocks,
    face_embeddings,
)
from moditalker_jax.metrics.networks.syncnet import SyncNet, lip_features, sound_features
from moditalker_jax.metrics.networks.weights import NETWORKS, load_variables
from tests.goldens_eval_recipe import GOLDENS, image, lpips_pairs, speech, state_dict
from tests.goldens_recipe import recipe_array

TOLERANCE = 2e-5
"""Of the greatest value: ten times what float32 costs, and a quarter of what iResNet shows with an
epsilon of 2e-5 instead of 1e-5."""

MANIFEST = json.loads((GOLDENS / "manifest.json").read_text())

cached_state_dict = functools.cache(state_dict)


@pytest.fixture(scope="module", autouse=True)
def _forget_state_dicts():
    yield
    cached_state_dict.cache_clear()


def clip(name, rows, columns, cell):
    """uint8 (1, 16, rows, columns, 3): a scene of four pictures under noise."""
    scenes = [
        image(f"i3d.{name}{t}", 1, rows, columns, cell=cell, noise=0.0)[0].astype(np.float64)
        for t in range(4)
    ]
    noise = recipe_array(f"i3d.{name}.noise", (16, rows, columns, 3), 7, 12.0)
    frames = np.rint(np.repeat(scenes, 4, axis=0) + noise)
    return np.clip(frames, 0, 255).astype(np.uint8)[None]


INPUTS = {
    "syncnet.lip": lambda: image("syncnet.lip", 10, 224, 224, cell=14).reshape(2, 5, 224, 224, 3),
    "syncnet.video": lambda: image("syncnet.video", 30, 224, 224, cell=28, noise=8.0),
    "syncnet.video_audio": lambda: speech("syncnet.video_audio", 19300),
    "syncnet.speech": lambda: speech("syncnet.speech", 32000),
    "syncnet.speech_odd": lambda: speech("syncnet.speech_odd", 16593),
    "dist.lip": lambda: recipe_array("dist.lip", (60, 1024), 7, 0.25),
    "dist.aud": lambda: recipe_array("dist.aud", (60, 1024), 7, 0.25),
    "fid.small": lambda: image("fid.small", 2, 64, 64, cell=8),
    "fid.big": lambda: image("fid.big", 1, 384, 352, cell=16),
    "frechet.a": lambda: recipe_array("frechet.a", (64, 16), 7, 1),
    "frechet.b": lambda: recipe_array("frechet.b", (64, 16), 7, 1),
    "frechet.mix": lambda: recipe_array("frechet.mix", (16, 16), 7, 0.25),
    "i3d.square": lambda: clip("square", 64, 64, 8),
    "i3d.wide": lambda: clip("wide", 72, 100, 10),
    "arcface.face": lambda: image("arcface.face", 2, 112, 112, cell=14),
    "lpips.a": lambda: lpips_pairs()[0],
    "lpips.b": lambda: lpips_pairs()[1],
    "cpbd.recipe": lambda: image("cpbd.recipe", 1, 128, 200, cell=16, noise=2.0)[0, :, :, 0],
    "ssim.noise": lambda: np.rint(recipe_array("ssim.noise", (128, 128, 3), 7, 12.0)).astype(int),
    "lmd.shape": lambda: recipe_array("lmd.shape", (1, 68, 2), 7, 1),
    "lmd.gt": lambda: recipe_array("lmd.gt", (12, 68, 2), 7, 1),
    "lmd.err": lambda: recipe_array("lmd.err", (12, 68, 2), 7, 1),
}


@pytest.mark.parametrize("name", MANIFEST["inputs"])
def test_inputs_are_those_of_the_goldens(name):
    array, expected = INPUTS[name](), MANIFEST["inputs"][name]
    assert [*array.shape] == expected["shape"] and array.dtype == expected["dtype"]
    assert hashlib.sha256(array.tobytes()).hexdigest()[:16] == expected["sha256_16"]


@pytest.mark.parametrize("network", MANIFEST["weights"])
def test_weights_are_those_of_the_goldens(network):
    checksum = 0
    for key, value in cached_state_dict(network).items():
        if not key.endswith("num_batches_tracked"):
            checksum = zlib.crc32(value.tobytes(), checksum)
    assert f"{checksum:08x}" == MANIFEST["weights"][network]["crc32"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("weights")


@pytest.fixture(scope="module")
def syncnet_file(folder):
    path = folder / "syncnet.model"
    tensors = {k: torch.from_numpy(v) for k, v in cached_state_dict("syncnet").items()}
    torch.save(tensors, path)
    return path


@pytest.fixture(scope="module")
def syncnet(syncnet_file):
    return load_variables("syncnet", syncnet_file)


@pytest.fixture(scope="module")
def inception_variables(folder):
    tensors = cached_state_dict("inception_fid")
    np.savez(folder / "inception.npz", **tensors, **{"AuxLogits.conv1.bn.bias": np.zeros(1)})
    return load_variables("inception", folder / "inception.npz")


@pytest.fixture(scope="module")
def i3d_variables(folder):
    """Of a file without counters, and of a parallel wrapper."""
    tensors = {f"module.{k}": v for k, v in cached_state_dict("i3d").items() if v.ndim}
    save_file(tensors, folder / "i3d.safetensors")
    return load_variables("i3d", folder / "i3d.safetensors")


@pytest.fixture(scope="module")
def arcface(folder):
    save_file(cached_state_dict("iresnet50"), folder / "arcface.safetensors")
    return load_variables("arcface", folder / "arcface.safetensors")


def relative_error(values, golden):
    values = np.asarray(values)
    assert values.shape == golden.shape
    return float(np.abs(values - golden).max() / np.abs(golden).max())


def compare(network, values):
    """Every array of the network's goldens that `values` names."""
    with np.load(GOLDENS / f"{network}.npz") as goldens:
        errors = {name: relative_error(value, goldens[name]) for name, value in values.items()}
    assert max(errors.values()) < TOLERANCE, errors


def run_with_means(function, places, *arguments):
    """A network's output, and means over all but batch and channels, by their goldens' names.

    Args:
      function: jitted, that runs one network.
      places: modules' paths, or "max_pool_0" and so on for the network's poolings in their order.
    """

    def run(*arguments):
        means, pool, number = {}, nn.max_pool, itertools.count()

        def keep(name, x):
            if name in places.values():
                means[name] = x.mean(axis=range(1, x.ndim - 1))
            return x

        def call(method, arguments, options, context):
            return keep("/".join(context.module.path), method(*arguments, **options))

        def max_pool(*arguments, **options):
            return keep(f"max_pool_{next(number)}", pool(*arguments, **options))

        with nn.intercept_methods(call), mock.patch.object(nn, "max_pool", max_pool):
            output = function.__wrapped__(*arguments)
        return output, {golden: means[name] for golden, name in places.items()}

    return jax.jit(run)(*arguments)


def mfcc_windows():
    with np.load(GOLDENS / "syncnet.npz") as goldens:
        mfcc = goldens["mfcc"].T
    return np.stack([mfcc[:20], mfcc[80:100]])


def test_syncnet_hears_as_the_reference(syncnet):
    places = {
        "aud_mid3_mean": "sound/conv_0",
        "aud_mid7_mean": "max_pool_0",
        "aud_mid17_mean": "max_pool_1",
    }
    windows = mfcc_windows()
    features, means = run_with_means(sound_features, places, syncnet, windows)
    compare("syncnet", means | {"aud_feat": features})


def test_syncnet_sees_as_the_reference(syncnet):
    places = {
        "lip_mid3_mean": "max_pool_0",
        "lip_mid7_mean": "max_pool_1",
        "lip_mid17_mean": "max_pool_2",
        "lip_conv": "lips/conv_5",
    }
    windows = INPUTS["syncnet.lip"]()[..., ::-1]  # The goldens' last axis is BGR.
    features, means = run_with_means(lip_features, places, syncnet, windows)
    compare("syncnet", means | {"lip_feat": features})


def test_syncnet_follows_a_whole_video(syncnet):
    frames, samples = INPUTS["syncnet.video"]()[..., ::-1], INPUTS["syncnet.video_audio"]()
    lips, sound = sync_windows(frames, samples)
    values = {
        "eval_lip_feat": lip_features(syncnet, lips),
        "eval_aud_feat": sound_features(syncnet, sound),
    }
    compare("syncnet", values)


INCEPTION_PLACES = {"block0": "max_pool_0", "block1": "max_pool_1", "block2": "Mixed_6e"}


@pytest.mark.parametrize("size", ["small", "big"])
def test_inception_is_the_reference(inception_variables, size):
    frames = INPUTS[f"fid.{size}"]()
    places = {f"{size}_{block}_mean": place for block, place in INCEPTION_PLACES.items()}
    features, means = run_with_means(fid_features, places, inception_variables, frames)
    row = inception.resize(jnp.asarray(frames))[:, 150].swapaxes(1, 2)
    compare("inception_fid", means | {f"{size}_pool3": features, f"{size}_resized_row": row})


def test_inceptions_features_do_not_depend_on_the_batch(inception_variables):
    features = fid_features(inception_variables, INPUTS["fid.small"]()[1:])
    with np.load(GOLDENS / "inception_fid.npz") as goldens:
        assert relative_error(features, goldens["small_pool3"][1:]) < TOLERANCE


I3D_PLACES = {
    "Conv3d_1a_7x7": "Conv3d_1a_7x7",
    "MaxPool3d_3a_3x3": "max_pool_1",
    **{name: name for name in ("Mixed_3c", "Mixed_4f", "Mixed_5c")},
}


@pytest.mark.parametrize("form", ["square", "wide"])
def test_i3d_is_the_reference(i3d_variables, form):
    clips = INPUTS[f"i3d.{form}"]()
    places = {f"{form}_{layer}_mean": place for layer, place in I3D_PLACES.items()}
    logits, means = run_with_means(i3d_logits, places, i3d_variables, clips)
    row = i3d.to_network_input(jnp.asarray(clips))[0, 5, 100].T
    compare("i3d", means | {f"{form}_logits": logits, f"{form}_pre_row": row})


def test_i3d_takes_the_original_epsilon(i3d_variables):
    logits = i3d_logits(i3d_variables, INPUTS["i3d.square"](), epsilon=1e-3)
    with np.load(GOLDENS / "i3d.npz") as goldens:
        assert 2e-3 < relative_error(logits, goldens["square_logits"]) < 2e-2


def test_iresnet_is_the_reference(arcface):
    places = {
        "prelu_mean": "prelu",
        "layer1_mean": "layer1_2",
        "layer2_mean": "layer2_3",
        "layer3_mean": "layer3_13",
        "layer4_mean": "layer4_2",
        "bn2_mean": "bn2",
    }
    faces = INPUTS["arcface.face"]()
    embeddings, means = run_with_means(face_embeddings, places, arcface, faces)
    unit = embeddings / np.linalg.norm(embeddings, axis=-1, keepdims=True)
    values = {"embedding": embeddings, "normalised": unit, "csim": unit[0] @ unit[1]}
    compare("iresnet50", means | values)
    assert relative_error(face_embeddings(arcface, faces[1:]), embeddings[1:]) < TOLERANCE


def number_of_parameters(depth):
    network = IResNet(DEPTHS[depth])
    variables = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, 112, 112, 3)))
    return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


def test_iresnets_have_the_published_sizes():
    assert f"{number_of_parameters(50) / 1e6:.1f}" == "43.6"
    assert f"{number_of_parameters(100) / 1e6:.1f}" == "65.2"


def iresnet_state_dict(blocks):
    """A state dict with that many blocks; but for the first, all blocks of a stage are the same."""
    tensors = {}
    for key, value in cached_state_dict("iresnet50").items():
        stage, block, rest = (key.split(".", 2) + ["", ""])[:3]
        if not stage.startswith("layer") or block == "0":
            tensors[key] = value
        elif block == "1":
            count = blocks[int(stage.removeprefix("layer")) - 1]
            tensors |= {f"{stage}.{index}.{rest}": value for index in range(1, count)}
    return tensors


def test_the_depth_is_that_of_the_state_dict():
    variables = convert_arcface(iresnet_state_dict(DEPTHS[100]))
    assert count_blocks(variables["params"]) == DEPTHS[100]
    faces = jax.ShapeDtypeStruct((3, 112, 112, 3), jnp.uint8)
    assert jax.eval_shape(face_embeddings, variables, faces).shape == (3, 512)
    with pytest.raises(InputError, match="have 3, 5, 6, 3 blocks; only the depths 50 and 100"):
        convert_arcface(iresnet_state_dict((3, 5, 6, 3)))


SYNCNET_INPUTS = ((1, 5, 224, 224, 3), (1, 20, 13))


@pytest.mark.parametrize(
    ("function", "network", "network_inputs", "input_shape"),
    [
        (fid_features, InceptionV3(), [(1, 299, 299, 3)], (1, 256, 256, 3)),
        (i3d_logits, I3D(), [(1, 16, 224, 224, 3)], (1, 16, 256, 256, 3)),
        (face_embeddings, IResNet(DEPTHS[50]), [(1, 112, 112, 3)], (1, 112, 112, 3)),
        (lip_features, SyncNet(), SYNCNET_INPUTS, SYNCNET_INPUTS[0]),
        (sound_features, SyncNet(), SYNCNET_INPUTS, SYNCNET_INPUTS[1]),
    ],
)
def test_no_product_is_rounded_on_accelerators(function, network, network_inputs, input_shape):
    inputs = map(jnp.zeros, network_inputs)
    variables = jax.eval_shape(network.init, jax.random.key(0), *inputs)
    program = function.lower(variables, jax.ShapeDtypeStruct(input_shape, jnp.uint8)).as_text()
    operations = ("stablehlo.convolution", "stablehlo.dot_general")
    products = [line for line in program.splitlines() if any(op in line for op in operations)]
    assert len(products) >= 8
    assert all("HIGHEST" in line for line in products)


def test_a_missing_file_is_told_with_where_to_get_it(tmp_path):
    for name, network in NETWORKS.items():
        with pytest.raises(InputError, match="absent.pth: no such file; for ") as told:
            load_variables(name, tmp_path / "absent.pth")
        assert network.file in str(told.value) and network.source in str(told.value)


def test_another_network_is_refused(syncnet_file, tmp_path):
    for name in ("inception", "i3d", "arcface"):
        title = NETWORKS[name].title
        with pytest.raises(InputError, match=f"syncnet.model: holds SyncNet, not {title}; "):
            load_variables(name, syncnet_file)
    np.savez(tmp_path / "resnet.npz", **{"layer1.0.conv1.weight": np.zeros((64, 64, 3, 3))})
    with pytest.raises(InputError, match="resnet.npz: holds another network, not ArcFace"):
        load_variables("arcface", tmp_path / "resnet.npz")


def test_torchvisions_own_inception_is_refused():
    with pytest.raises(InputError, match="1000 classes"):
        convert_inception({"fc.bias": np.zeros(1000)})


def test_a_state_dict_that_does_not_fit_is_refused(tmp_path):
    tensors = dict(cached_state_dict("syncnet"))
    del tensors["netfcaud.3.bias"]
    tensors |= {"netcnnlip.1.weight": np.zeros(3), "netfcaud.4.bias": np.zeros(3)}
    np.savez(tmp_path / "odd.npz", **tensors)
    with pytest.raises(InputError, match="odd.npz: the checkpoint does not fit") as told:
        load_variables("syncnet", tmp_path / "odd.npz")
    message = str(told.value)
    assert "1 missing: params/sound/head/features/bias" in message
    assert "1 left over: netfcaud.4.bias" in message
    assert "1 of another shape: params/lips/conv_0/norm/scale (3,) for (96,)" in message


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_an_unreadable_file_is_told(tmp_path, suffix):
    path = tmp_path / f"damaged.{suffix}"
    path.write_bytes(b"no tensors")
    with pytest.raises(InputError, match=f"damaged.{suffix}: not a readable"):
        load_variables("syncnet", path)
