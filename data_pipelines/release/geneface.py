"""GeneFace's LRS3 as the release trains AToM on it: `FOLDER/{train,val}.data`.

An item holds `item_id` ("SPEAKER_CLIP"), `hubert` (2T, 1024) and `idexp_lm3d` (T, 68, 3): ten
times the difference of the frontal landmarks from the BFM's mean face. There are no pictures.
"""

import bisect
import gzip
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from data_pipelines.records import PreparedClip
from data_pipelines.release.arrays_only import load_arrays
from moditalker_jax.errors import InputError
from moditalker_jax.landmark_backends import LandmarkBackend
from moditalker_jax.spec import AUDIO_STEPS_PER_FRAME, NUM_LANDMARKS

SPLITS = {"train": "train", "validation": "val"}
_LENGTH_BYTES = 32


def stored_items(stem: Path) -> Iterator[tuple[str, bytes]]:
    """(where, pickle) of the items of `stem`.data, and of stem.1.data and so on, in order.

    Raises:
      InputError: a file is missing, or its index is damaged or holds more than numbers and strings.
    """
    path = stem.with_name(f"{stem.name}.data")
    index = _read_index(stem, path)
    offsets, meta = index["offsets"], index.get("meta", {})
    chunk_starts = meta.get("chunk_begin", [0])
    paths = [path, *(stem.with_name(f"{stem.name}.{k}.data") for k in range(1, len(chunk_starts)))]
    for start, stop in zip(offsets[:-1], offsets[1:], strict=True):
        chunk = bisect.bisect(chunk_starts[1:], start)
        try:
            with open(paths[chunk], "rb") as file:
                file.seek(start - chunk_starts[chunk])
                stored = file.read(stop - start)
            if meta.get("gzip"):
                stored = gzip.decompress(stored)
        except (OSError, EOFError) as error:
            raise InputError(f"{paths[chunk]}: cannot be read ({error})") from error
        yield f"{paths[chunk]}, byte {start}", stored


def _read_index(stem: Path, path: Path) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
            beside = stem.with_name(f"{stem.name}.idx")
            if beside.is_file():
                # An .npy that holds one pickled dict: its header is read, then the pickle.
                with open(beside, "rb") as older:
                    np.lib.format.read_magic(older)
                    np.lib.format.read_array_header_1_0(older)
                    index = load_arrays(older, beside).item()
            else:
                index = load_arrays(io.BytesIO(file.read(length)), path)
    except FileNotFoundError as error:
        raise InputError(f"{path}: is missing; give the folder of GeneFace's LRS3") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: its index cannot be read ({error})") from error
    if not isinstance(index, dict) or "offsets" not in index:
        raise InputError(f"{path}: its index names no offsets; it is no indexed data set")
    return index


def read_clips(
    folder: Path, split: str, backend: LandmarkBackend, audio_width: int
) -> Iterator[PreparedClip]:
    """The clips of a split, without pictures; an item that does not fit is told and left out."""
    for where, stored in stored_items(folder / SPLITS[split]):
        try:
            yield _clip(load_arrays(io.BytesIO(stored), where), backend, audio_width)
        except InputError as error:
            print(f"left out: {error}", file=sys.stderr)
        except (KeyError, TypeError, ValueError) as error:
            reason = f"lacks {error}" if isinstance(error, KeyError) else error
            print(f"left out: {where}: {reason}", file=sys.stderr)


def _clip(item: Any, backend: LandmarkBackend, audio_width: int) -> PreparedClip:
    name = str(item["item_id"])
    motion = np.asarray(item["idexp_lm3d"], np.float32).reshape(-1, NUM_LANDMARKS, 3)
    features = np.asarray(item["hubert"], np.float32)
    if features.ndim != 2 or features.shape[1] != audio_width:
        raise ValueError(f"hubert has shape {features.shape}, not (2T, {audio_width})")
    length = min(len(motion), len(features) // AUDIO_STEPS_PER_FRAME)
    return PreparedClip(
        name=name,
        speaker=name.split("_")[0],
        frames=np.zeros((0, 0, 0, 3), np.uint8),
        landmarks=np.zeros((0, NUM_LANDMARKS, 3), np.float32),
        frontal_landmarks=motion[:length] / backend.motion_scale + backend.mean_face,
        audio_features=features[: AUDIO_STEPS_PER_FRAME * length],
        audio=np.zeros(0, np.int16),
    )
