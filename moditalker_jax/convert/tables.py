"""Table-driven conversion of PyTorch state dicts to flax parameters.

How to write a table
--------------------
A table is a tuple of rules, one for each kind of tensor of the checkpoint:

    TABLE = (
        *linear("time_mlp.1", "time_embedding"),
        *layer_norm("stack.*.norm1", "layers_{0}/norm1"),
        Rule("null_hidden", "null_pooled"),
        Rule("stack.*.in_proj_weight", "layers_{0}/query/kernel", third(0)),
        Rule("stack.*.in_proj_weight", "layers_{0}/key/kernel", third(1)),
    )
    IGNORED = ("input_projection", "stack.*.linear1")

- A pattern is the whole key of the state dict. `*` stands for one layer number (digits only) and
  nothing else is special; the numbers go to `{0}`, `{1}`, ... of the path in their order. Where the
  new number is not the old one, the path is a function of them: `lambda i: f"block_{int(i) // 2}"`.
- A path is the parameter's place in the flax tree, its names joined by `/`.
- A transform is a numpy function of the tensor, by default none. Several rules may take the same
  key: this is how a fused tensor is split.
- `IGNORED` names the tensors that the network does not use: whole keys, or whole modules (every
  key below them). `*` means the same as in a pattern.

`convert` fills the tree of `expected` (from `jax.eval_shape` of the model's init) and refuses a
state dict that leaves parameters missing, left over or of another shape.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from moditalker_jax.errors import InputError

StateDict = Mapping[str, np.ndarray]
Transform = Callable[[np.ndarray], np.ndarray]

_MAX_LISTED = 20


def identity(tensor: np.ndarray) -> np.ndarray:
    """The tensor as it is."""
    return tensor


def to_kernel(weight: np.ndarray) -> np.ndarray:
    """Weight of a linear layer or convolution, (out, in, *window) -> (*window, in, out)."""
    return weight.transpose(*range(2, weight.ndim), 1, 0)


def third(index: int, then: Transform = identity) -> Transform:
    """The query (0), key (1) or value (2) rows of a fused (3 * width, ...) tensor, then `then`."""
    return lambda tensor: then(np.split(tensor, 3)[index])


@dataclass(frozen=True)
class Rule:
    """One kind of tensor: where its key goes in the flax tree, and how its values change.

    Attributes:
      pattern: key of the state dict, with `*` for each layer number.
      path: `/`-joined place in the flax tree, with `{0}`, ... for the numbers, or a function of
        the numbers (as strings) that returns it.
      transform: numpy function of the tensor.
    """

    pattern: str
    path: str | Callable[..., str]
    transform: Transform = identity

    @cached_property
    def _matcher(self) -> re.Pattern:
        return re.compile(_regex(self.pattern))

    def target(self, key: str) -> str | None:
        """The path that `key` goes to; None if the rule is not for this key."""
        match = self._matcher.fullmatch(key)
        if match is None:
            return None
        if callable(self.path):
            return self.path(*match.groups())
        return self.path.format(*match.groups())


Table = Sequence[Rule]


def _join(path: str | Callable[..., str], leaf: str) -> str | Callable[..., str]:
    return (lambda *numbers: f"{path(*numbers)}/{leaf}") if callable(path) else f"{path}/{leaf}"


def linear(module: str, path: str | Callable[..., str], *, bias: bool = True) -> tuple[Rule, ...]:
    """Rules of a `torch.nn.Linear` (or `ConvNd`) that becomes an `nn.Dense` (or `nn.Conv`)."""
    kernel = Rule(f"{module}.weight", _join(path, "kernel"), to_kernel)
    return (kernel, Rule(f"{module}.bias", _join(path, "bias"))) if bias else (kernel,)


def layer_norm(module: str, path: str | Callable[..., str]) -> tuple[Rule, ...]:
    """Rules of a `torch.nn.LayerNorm` or `GroupNorm` that becomes flax's."""
    return (
        Rule(f"{module}.weight", _join(path, "scale")),
        Rule(f"{module}.bias", _join(path, "bias")),
    )


def _regex(pattern: str) -> str:
    return re.escape(pattern).replace(r"\*", r"(\d+)")


def is_ignored(key: str, ignored: Iterable[str]) -> bool:
    """Whether `key` is one of the `ignored` keys or lies in one of the `ignored` modules."""
    return any(re.fullmatch(rf"{_regex(prefix)}(\..*)?", key) for prefix in ignored)


def targets(key: str, table: Table) -> list[tuple[str, Transform]]:
    """The (path, transform) of every rule of `table` for `key`; empty if there is none."""
    found = ((rule.target(key), rule.transform) for rule in table)
    return [(path, transform) for path, transform in found if path is not None]


def convert(
    state_dict: StateDict, table: Table, *, expected: Mapping[str, Any], ignored: Iterable[str] = ()
) -> dict[str, Any]:
    """Converts a state dict to the parameters of a flax model.

    Args:
      state_dict: tensors by key; a leading `module.` (of a parallel wrapper) is dropped.
      table: the rules, see the module's docstring.
      expected: nested dict of arrays or `jax.ShapeDtypeStruct`, the tree to fill.
      ignored: keys and modules that the model does not use.

    Returns:
      Nested dict of float32 numpy arrays with the tree and the shapes of `expected`.

    Raises:
      InputError: tensors are missing, left over or of another shape; the line lists them.
      ValueError: the table sends two tensors to one parameter.
    """
    ignored = tuple(ignored)
    shapes = {path: tuple(leaf.shape) for path, leaf in flatten_dict(expected, sep="/").items()}
    params, left_over = {}, []
    for key, tensor in state_dict.items():
        key = key.removeprefix("module.")
        places = targets(key, table)
        if not places and not is_ignored(key, ignored):
            left_over.append(key)
        for path, transform in places:
            if path in params:
                raise ValueError(f"two tensors for {path}, the second is {key}")
            params[path] = np.ascontiguousarray(transform(np.asarray(tensor, np.float32)))
    _check(params, shapes, left_over)
    return unflatten_dict(params, sep="/")


def _check(params: StateDict, shapes: Mapping[str, tuple], left_over: list[str]) -> None:
    unknown = [path for path in params if path not in shapes]
    wrong = [
        f"{path} {params[path].shape} for {shape}"
        for path, shape in shapes.items()
        if path in params and params[path].shape != shape
    ]
    problems = {
        "missing": [path for path in shapes if path not in params],
        "left over": left_over + unknown,
        "of another shape": wrong,
    }
    if any(problems.values()):
        parts = [
            f"{len(names)} {kind}: {_list(names)}" for kind, names in problems.items() if names
        ]
        raise InputError(f"the checkpoint does not fit the network: {'; '.join(parts)}")


def _list(names: Sequence[str]) -> str:
    more = len(names) - _MAX_LISTED
    return ", ".join(names[:_MAX_LISTED]) + (f" and {more} more" if more > 0 else "")


def load_state_dict(path: str | Path, *, entries: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """Reads a checkpoint of the release as numpy arrays.

    Args:
      path: a file of `torch.save` (read with `weights_only=True`), or an `.npz` of arrays by key.
      entries: where the file is a wrapper such as {"model_state_dict": ..., "optimizer": ...}, the
        names of the entry that holds the tensors; the first that is present is taken. A file that
        holds the tensors directly is read as it is.

    Raises:
      InputError: the file is missing or unreadable, PyTorch is not installed, or the content is
        not a state dict.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; give the checkpoint that the authors published")
    content = _read_npz(path) if path.suffix == ".npz" else _read_torch(path)
    if isinstance(content, Mapping):
        present = [entry for entry in entries if entry in content]
        content = content[present[0]] if present else content
    if not isinstance(content, Mapping) or not all(map(_is_array, content.values())):
        raise InputError(f"{path}: holds no state dict of tensors; is it the network's checkpoint?")
    return {str(key): _to_numpy(value) for key, value in content.items()}


def _is_array(value: Any) -> bool:
    return hasattr(value, "shape") and hasattr(value, "dtype")


def _to_numpy(value: Any) -> np.ndarray:
    # bfloat16 tensors have no numpy form, so floating tensors are widened on PyTorch's side.
    return value if isinstance(value, np.ndarray) else value.detach().float().numpy()


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    except Exception as error:
        raise InputError(f"{path}: not a readable .npz file ({error})") from error


def _read_torch(path: Path) -> Any:
    try:
        import torch
    except ImportError as error:
        raise InputError(f"{path}: reading it needs PyTorch; pip install torch") from error
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load fails in as many ways as pickles and archives can
        reason = str(error).split("\n", 1)[0]
        raise InputError(f"{path}: not a readable PyTorch checkpoint ({reason})") from error
