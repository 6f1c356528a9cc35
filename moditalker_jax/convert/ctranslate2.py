"""Whisper's encoder from a CTranslate2 model file, in the names of transformers.

The file (CTranslate2's binary version 6), little-endian: version u32, specification's name,
revision u32, count u32; then for each tensor its name, rank u8, dimensions u32 each, type u8,
bytes u32 and the values. Names are their length u16 and that many bytes, the last one 0.
"""

import struct
from pathlib import Path

import numpy as np

from moditalker_jax.errors import InputError

_TYPES = {0: "<f4", 1: "<i1", 2: "<i2", 3: "<i4", 4: "<f2"}
_NAMES = {"weight": "weight", "bias": "bias", "gamma": "weight", "beta": "bias"}
_MODULES = {
    "self_attention/layer_norm": "self_attn_layer_norm",
    "self_attention/linear_1": "self_attn.out_proj",
    "ffn/layer_norm": "final_layer_norm",
    "ffn/linear_0": "fc1",
    "ffn/linear_1": "fc2",
}


class _Reader:
    def __init__(self, content: bytes):
        self._content, self._at = content, 0

    def take(self, count: int) -> bytes:
        part = self._content[self._at : self._at + count]
        if len(part) < count:
            raise ValueError("the file is cut short")
        self._at += count
        return part

    def number(self, code: str) -> int:
        return struct.unpack(f"<{code}", self.take(struct.calcsize(f"<{code}")))[0]

    def name(self) -> str:
        return self.take(self.number("H")).rstrip(b"\0").decode()


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """All tensors of a CTranslate2 Whisper model by their names there.

    Raises:
      InputError: the file is missing or not such a model.
    """
    try:
        reader = _Reader(path.read_bytes())
        if reader.number("I") != 6 or reader.name() != "WhisperSpec":
            raise ValueError("of another version or network")
        reader.number("I")
        tensors = {}
        for _ in range(reader.number("I")):
            name = reader.name()
            shape = [reader.number("I") for _ in range(reader.number("B"))]
            kind = _TYPES[reader.number("B")]
            values = reader.take(reader.number("I"))
            tensors[name] = np.frombuffer(values, kind).reshape(shape)
        return tensors
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path}: not a readable CTranslate2 Whisper model ({error})") from error


def read_whisper(path: Path) -> tuple[dict[str, np.ndarray], int]:
    """The encoder's tensors, float32, in transformers' names, and its number of heads.

    Raises:
      InputError: the file is missing or not such a model, or its weights are quantised.
    """
    tensors = read_tensors(path)
    renamed = {}
    for name, values in tensors.items():
        if not name.startswith("encoder/") or values.ndim == 0:
            continue
        if values.dtype.kind != "f":
            raise InputError(f"{path}: {name} is quantised; give a float16 or float32 model")
        values = values.astype(np.float32)
        *module, leaf = name.removeprefix("encoder/").split("/")
        if module[0] == "position_encodings":
            renamed["encoder.embed_positions.weight"] = values
        elif not module[0].startswith("layer_") or module[0] == "layer_norm":
            renamed[f"encoder.{module[0]}.{_NAMES[leaf]}"] = values
        else:
            layer = f"encoder.layers.{module[0].removeprefix('layer_')}"
            inner = "/".join(module[1:])
            if inner == "self_attention/linear_0":  # queries, keys and values in one
                parts = dict(zip("qkv", np.split(values, 3), strict=True))
                if leaf == "bias":
                    del parts["k"]  # zeros: Whisper's keys have no bias
                for part, its in parts.items():
                    renamed[f"{layer}.self_attn.{part}_proj.{leaf}"] = its
            else:
                renamed[f"{layer}.{_MODULES[inner]}.{_NAMES[leaf]}"] = values
    return renamed, int(tensors["encoder/num_heads"])
