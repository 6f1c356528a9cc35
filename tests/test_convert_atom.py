"""The conversion machinery, and AToM's table against the release's list of tensors."""

import json
import pickle

import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from moditalker_jax.convert.atom import (
    ENTRIES,
    IGNORED,
    TABLE,
    convert_state_dict,
)
from moditalker_jax.convert.tables import (
    Rule,
    convert,
    is_ignored,
    layer_norm,
    linear,
    load_state_dict,
    targets,
)
from moditalker_jax.errors import InputError
from moditalker_jax.models.atom import AToM
from moditalker_jax.models.build import abstract_params
from tests.atom_golden import AUDIO_WIDTH, GOLDENS, load, tiny_atom, tiny_variables

SMALL_TABLE = (
    *linear("layers.*.linear", lambda i: f"layer_{int(i) + 1}/dense"),
    *layer_norm("norm", "norm"),
)


def small_state():
    return {
        "layers.0.linear.weight": np.arange(6.0).reshape(2, 3),
        "layers.0.linear.bias": np.zeros(2),
        "norm.weight": np.ones(2),
        "norm.bias": np.zeros(2),
    }


def small_expected():
    pair = np.zeros(2)
    return {
        "layer_1": {"dense": {"kernel": np.zeros((3, 2)), "bias": pair}},
        "norm": {"scale": pair, "bias": pair},
    }


def convert_small(state, **options):
    return convert(state, SMALL_TABLE, expected=small_expected(), **options)


def convert_tiny(state):
    return convert_state_dict(state, model=tiny_atom(), audio_width=AUDIO_WIDTH)


def equal_trees(left, right):
    left, right = flatten_dict(left), flatten_dict(right)
    return left.keys() == right.keys() and all(np.array_equal(left[k], right[k]) for k in left)


def test_table_covers_every_used_tensor_at_full_size_and_ignores_every_dead_one():
    entries = json.loads((GOLDENS / "state_dict_atom.json").read_text())["entries"]
    filled = []
    for key, _, _, facts in entries:
        used = facts["kind"] == "param" and facts["used"]
        assert is_ignored(key, IGNORED) != used, key
        paths = [path for path, _ in targets(key, TABLE)]
        assert bool(paths) == used, key
        filled += paths
    assert sorted(filled) == sorted(
        flatten_dict(abstract_params(AToM(), audio_width=1024), sep="/")
    )


def test_wrapped_keys_are_the_same_keys():
    state = {f"module.{key}": value for key, value in load("atom_tiny_weights").items()}
    assert equal_trees(convert_tiny(state), tiny_variables()["params"])


def test_missing_tensors_are_listed():
    state = dict(load("atom_tiny_weights"))
    del state["seqTransDecoder.stack.1.norm2.weight"], state["final_layer.bias"]
    with pytest.raises(InputError, match="2 missing: ") as error:
        convert_tiny(state)
    assert "decoder_1/part_norm_1/scale" in str(error.value)
    assert "out/bias" in str(error.value)


def test_left_over_tensors_are_listed():
    state = load("atom_tiny_weights") | {"time_mlp.2.weight": np.zeros(3)}
    with pytest.raises(InputError, match="1 left over: time_mlp.2.weight"):
        convert_tiny(state)


def test_a_layer_more_than_the_network_has_is_left_over():
    state = small_state() | {"layers.4.linear.bias": np.zeros(2)}
    with pytest.raises(InputError, match="1 left over: layer_5/dense/bias"):
        convert_small(state)


def test_another_shape_is_told():
    state = small_state() | {"norm.weight": np.ones(3)}
    with pytest.raises(InputError, match=r"1 of another shape: norm/scale \(3,\) for \(2,\)"):
        convert_small(state)


def test_long_lists_are_cut():
    with pytest.raises(InputError, match=r"30 left over: .* and 10 more"):
        convert_small(small_state() | {f"extra.{i}": np.zeros(1) for i in range(30)})


def test_linear_weights_become_kernels():
    params = convert_small(small_state())
    kernel = params["layer_1"]["dense"]["kernel"]
    assert kernel.dtype == np.float32
    assert np.array_equal(kernel, np.arange(6.0).reshape(2, 3).T)


def test_ignored_names_are_whole_modules_and_stars_are_numbers():
    assert is_ignored("dead.weight", ["dead"])
    assert not is_ignored("deadly.weight", ["dead"])
    assert is_ignored("stack.3.dead.weight", ["stack.*.dead"])
    assert not is_ignored("stack.a.dead.weight", ["stack.*.dead"])
    assert not is_ignored("my.dead.weight", ["dead"])


def test_two_tensors_for_one_parameter_are_a_mistake_of_the_table():
    table = (*SMALL_TABLE, Rule("norm.copy", "norm/scale"))
    state = small_state() | {"norm.copy": np.ones(2)}
    with pytest.raises(ValueError, match="two tensors for norm/scale"):
        convert(state, table, expected=small_expected())


def test_npz_files_are_read():
    state = load_state_dict(GOLDENS / "atom_tiny_weights.npz", entries=ENTRIES)
    assert equal_trees(convert_tiny(state), tiny_variables()["params"])


def test_torch_files_are_read_with_and_without_wrapper(tmp_path):
    torch = pytest.importorskip("torch")
    state = {
        "weight": torch.arange(4.0).reshape(2, 2).T,
        "half": torch.full((2,), 0.5, dtype=torch.bfloat16),
        "parameter": torch.nn.Parameter(torch.ones(1)),
    }
    torch.save(state, tmp_path / "plain.pt")
    torch.save(
        {"ema_state_dict": {}, "model_state_dict": state, "optimizer_state_dict": {"lr": 1.0}},
        tmp_path / "wrapped.pt",
    )
    for name in ("plain.pt", "wrapped.pt"):
        found = load_state_dict(tmp_path / name, entries=ENTRIES)
        assert found.keys() == state.keys()
        assert np.array_equal(found["weight"], [[0, 2], [1, 3]])
        assert np.array_equal(found["half"], [0.5, 0.5])
    with pytest.raises(InputError, match="holds no state dict"):
        load_state_dict(tmp_path / "wrapped.pt")


class Arbitrary:
    """An object that only general unpickling would rebuild."""


@pytest.mark.parametrize("suffix", [".pt", ".npz"])
def test_unreadable_files_are_told_in_one_line(tmp_path, suffix):
    if suffix == ".pt":
        pytest.importorskip("torch")
    path = tmp_path / f"checkpoint{suffix}"
    with pytest.raises(InputError, match="no such file"):
        load_state_dict(path)
    for content in (b"", b"not a checkpoint", pickle.dumps({"weight": Arbitrary()}, 2)):
        path.write_bytes(content)
        with pytest.raises(InputError, match="not a readable") as error:
            load_state_dict(path)
        assert str(path) in str(error.value)
        assert "\n" not in str(error.value)
