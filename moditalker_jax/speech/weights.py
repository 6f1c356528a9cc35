"""Folders of transformers' format, local or from the hub, and the weights in them."""

import json
from pathlib import Path

import numpy as np
from huggingface_hub import snapshot_download
from safetensors import SafetensorError
from safetensors.numpy import load_file

from moditalker_jax.convert.tables import load_state_dict
from moditalker_jax.errors import InputError

_INDEX = "model.safetensors.index.json"
_SAFETENSORS = "model.safetensors"
_PICKLED = "pytorch_model.bin"
_HUB = {
    "hubert-large-ls960-ft": "facebook/hubert-large-ls960-ft",
    "hubert-base-ls960": "facebook/hubert-base-ls960",
    "whisper-tiny": "openai/whisper-tiny",
    "whisper-base.en": "openai/whisper-base.en",
    "whisper-small.en": "openai/whisper-small.en",
}
"""Hub repositories by the names that shards and checkpoints remember."""


def find_folder(location: str) -> Path:
    """The local folder of that path, or a hub repository's snapshot.

    Raises:
      InputError: there is no such folder and the hub doesn't give one.
    """
    if Path(location).is_dir():
        return Path(location)
    repository = _HUB.get(location, location)
    if repository.count("/") != 1:
        raise InputError(
            f"speech encoder {location!r} is no folder and no name of a hub repository; known are "
            f"log_mel, whisper-tiny.en, {', '.join(_HUB)}"
        )
    try:
        patterns = ["*.json", "model*.safetensors"]
        folder = Path(snapshot_download(repository, allow_patterns=patterns))
        if not list(folder.glob("*.safetensors")):
            folder = Path(snapshot_download(repository, allow_patterns=["*.json", _PICKLED]))
    except Exception as error:  # of the network, the hub, or its client
        reason = str(error).split("\n", 1)[0]
        raise InputError(
            f"speech encoder {location!r}: no such folder, and the hub does not give {repository} "
            f"({reason}); download it and give its folder"
        ) from error
    return folder


def load_weights(folder: Path) -> dict[str, np.ndarray]:
    """Tensors by name of a folder's safetensors, or of its `.bin` (with weights_only=True).

    Raises:
      InputError: there are none, or they are not readable.
    """
    if (folder / _INDEX).exists():
        files = json.loads((folder / _INDEX).read_text())["weight_map"].values()
        paths = [folder / name for name in sorted(set(files))]
    elif (folder / _SAFETENSORS).exists():
        paths = [folder / _SAFETENSORS]
    elif (folder / _PICKLED).exists():
        return load_state_dict(folder / _PICKLED)
    else:
        raise InputError(f"{folder}: holds neither {_SAFETENSORS} nor {_PICKLED}")
    tensors: dict[str, np.ndarray] = {}
    for path in paths:
        try:
            tensors |= load_file(path)
        except (OSError, SafetensorError) as error:
            raise InputError(f"{path}: not a readable safetensors file ({error})") from error
    return tensors
