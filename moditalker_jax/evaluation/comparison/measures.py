"""What is measured of a video's frames as they pass by, a batch at a time."""

import collections
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jax.typing import ArrayLike

from moditalker_jax.errors import InputError
from moditalker_jax.evaluation.comparison.records import Arrays, fingerprint
from moditalker_jax.faces.finder import FaceFinder
from moditalker_jax.media.video import iterate_frames, read_video_audio
from moditalker_jax.metrics.continuity import frame_changes
from moditalker_jax.metrics.identity import align_faces
from moditalker_jax.metrics.landmarks import has_face
from moditalker_jax.metrics.lip_sync import (
    LIP_FRAMES,
    crop_face,
    crop_squares,
    lip_sync,
    sound_windows,
)
from moditalker_jax.metrics.lpips import lpips
from moditalker_jax.metrics.networks.i3d import i3d_logits
from moditalker_jax.metrics.networks.inception import fid_features
from moditalker_jax.metrics.networks.iresnet import face_embeddings
from moditalker_jax.metrics.networks.layers import Variables
from moditalker_jax.metrics.networks.syncnet import lip_features, sound_features
from moditalker_jax.metrics.networks.weights import load_variables
from moditalker_jax.metrics.pixels import psnr, ssim
from moditalker_jax.metrics.sharpness import cpbd
from moditalker_jax.models.perceptual import Network
from moditalker_jax.spec import CLIP_FRAMES

FACES, LIP_SYNC = "faces", "lip_sync"
"""Names of measures that others need, or that go their own way."""

LPIPS_NETWORKS: tuple[Network, ...] = ("alexnet", "vgg16")

_BATCH = CLIP_FRAMES
"""Frames that are measured at once; as many as I3D takes for a clip."""

_EMBEDDING_WIDTH = 512


@dataclass(frozen=True)
class Weights:
    """A network's weights, and what tells their file from others."""

    variables: Variables
    fingerprint: str

    @classmethod
    def read(cls, network: str, path: Path) -> "Weights":
        """Reads one of `metrics.networks.weights.NETWORKS`; InputError as `load_variables`."""
        return cls(load_variables(network, path), f"{path.resolve()} {fingerprint(path)}")


@dataclass(frozen=True)
class Instruments:
    """What measures, loaded once for all videos.

    Attributes:
      finder: of faces.
      weights: by network; what needs a network that is not there is not measured.
      every: pictures are measured at each `every`th frame. Faces are followed through all.
      lpips: the networks of LPIPS.
    """

    finder: FaceFinder
    weights: Mapping[str, Weights] = field(default_factory=dict)
    every: int = 1
    lpips: Sequence[Network] = LPIPS_NETWORKS


class Measure:
    """One measure of one video, which takes its frames one by one and holds a batch at most.

    Args:
      of_batch: from a batch of frames (n, H, W, 3), and of what else `add` got with each, to
        arrays whose first axes are joined in the end.
      settings: JSON values that the arrays depend on.
      every: frames 0, `every`, 2 * `every`, ... are measured.
      whole_batches: frames that do not fill a last batch are left out.
    """

    def __init__(
        self,
        of_batch: Callable[..., Arrays],
        settings: Mapping[str, Any],
        *,
        every: int = 1,
        whole_batches: bool = False,
    ):
        self.settings = settings
        self._of_batch, self._every, self._whole_batches = of_batch, every, whole_batches
        self._seen = 0
        self._waiting: list[Sequence[np.ndarray]] = []
        self._results: list[Arrays] = []

    def add(self, *values: np.ndarray) -> None:
        """Takes the next frame, and what goes with it."""
        if self._seen % self._every == 0:
            self._waiting.append(values)
        self._seen += 1
        if len(self._waiting) == _BATCH:
            self._measure_waiting()

    def finish(self) -> Arrays:
        """The arrays of the whole video; empty if there was nothing to measure."""
        if self._waiting and not self._whole_batches:
            self._measure_waiting()
        names = self._results[0] if self._results else ()
        return {name: np.concatenate([x[name] for x in self._results]) for name in names}

    def _measure_waiting(self) -> None:
        batch = map(np.stack, zip(*self._waiting, strict=True))
        self._results.append(self._of_batch(*batch))
        self._waiting = []


def measures_of_a_video(instruments: Instruments) -> dict[str, Measure]:
    """Measures that take each frame with its landmarks (68, 3), by the name of their record."""
    every = instruments.every
    sampled: dict[str, Any] = {"every": every}
    measures = {
        FACES: Measure(_faces, {}),
        "changes": Measure(_Changes(), {}),
        "sharpness": Measure(_sharpness, sampled, every=every),
    }
    for network, of_batch in (("inception", _inception), ("arcface", _arcface)):
        if weights := instruments.weights.get(network):
            measures[network] = Measure(
                functools.partial(of_batch, weights.variables),
                sampled | {"weights": weights.fingerprint},
                every=every,
            )
    if weights := instruments.weights.get("i3d"):
        measures["i3d"] = Measure(
            functools.partial(_i3d, weights.variables),
            {"weights": weights.fingerprint},
            whole_batches=True,
        )
    return measures


def measures_of_a_pair(instruments: Instruments) -> dict[str, Measure]:
    """Measures that take each frame with the true one, by the name of their record."""
    measures = {"pixels": _pixels}
    for network in instruments.lpips:
        measures[f"lpips_{network}"] = functools.partial(_lpips, network)
    every = instruments.every
    return {name: Measure(x, {"every": every}, every=every) for name, x in measures.items()}


def measure_lip_sync(path: Path, landmarks: np.ndarray, variables: Variables) -> Arrays:
    """LSE-D, LSE-C and the offset of a video by SyncNet; reads the video again.

    The crops need the faces of later frames, and so all landmarks. A face's box is that of its
    landmarks, from brows to chin.

    Args:
      path: of the video.
      landmarks: (T, 68, 3) in pixels, NaN where there is no face.
      variables: of SyncNet.

    Raises:
      InputError: the video has no sound.
      ValueError: it is too short, or has no face.
    """
    audio = read_video_audio(path)
    if audio is None:
        raise InputError(f"{path}: has no sound; give it its sound track")
    sound = sound_windows(audio, len(landmarks))
    points = landmarks[..., :2]
    squares = crop_squares(np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1))
    lips = Measure(lambda windows: {"features": _in_batches(lip_features, variables, windows)}, {})
    window: collections.deque[np.ndarray] = collections.deque(maxlen=LIP_FRAMES)
    for frame, square in zip(iterate_frames(path), squares, strict=False):
        window.append(crop_face(frame, square))
        if len(window) == LIP_FRAMES:
            lips.add(np.stack(window))
    result = lip_sync(
        lips.finish()["features"][: len(sound)], _in_batches(sound_features, variables, sound)
    )
    return {
        "distance": np.array(result.distance),
        "confidence": np.array(result.confidence),
        "offset": np.array(result.offset),
    }


class _Changes:
    """How much the picture changes from each frame to the next, over the batches' ends too."""

    def __init__(self) -> None:
        self._last: np.ndarray | None = None

    def __call__(self, frames: np.ndarray, _: np.ndarray) -> Arrays:
        if self._last is not None:
            frames = np.concatenate([self._last, frames])
        self._last = frames[-1:]
        return {"changes": frame_changes(frames)}


def _faces(frames: np.ndarray, landmarks: np.ndarray) -> Arrays:
    """Frame heights beside them, since the landmarks are in pixels."""
    return {"landmarks": landmarks, "heights": np.full(len(frames), frames.shape[1])}


def _sharpness(frames: np.ndarray, _: np.ndarray) -> Arrays:
    return {"cpbd": np.array([cpbd(frame) for frame in frames])}


def _inception(variables: Variables, frames: np.ndarray, _: np.ndarray) -> Arrays:
    return {"features": _in_batches(fid_features, variables, frames)}


def _i3d(variables: Variables, frames: np.ndarray, _: np.ndarray) -> Arrays:
    return {"logits": np.asarray(i3d_logits(variables, frames[None]))}


def _arcface(variables: Variables, frames: np.ndarray, landmarks: np.ndarray) -> Arrays:
    """Embeddings are NaN where there is no face."""
    embeddings = np.full((len(frames), _EMBEDDING_WIDTH), np.nan, np.float32)
    found = has_face(landmarks)
    if found.any():
        faces = align_faces(frames[found], landmarks[found])
        embeddings[found] = _in_batches(face_embeddings, variables, faces)
    return {"embeddings": embeddings}


def _pixels(frames: np.ndarray, truth: np.ndarray) -> Arrays:
    return {"psnr": psnr(frames, truth), "ssim": ssim(frames, truth)}


def _lpips(network: Network, frames: np.ndarray, truth: np.ndarray) -> Arrays:
    return {"lpips": lpips(frames, truth, network=network)}


def _in_batches(
    network: Callable[[Variables, np.ndarray], ArrayLike], variables: Variables, inputs: np.ndarray
) -> np.ndarray:
    """What a network makes of inputs (n, ...), always as many at once: it is compiled once."""
    outputs = []
    for start in range(0, len(inputs), _BATCH):
        index = np.minimum(np.arange(start, start + _BATCH), len(inputs) - 1)
        outputs.append(np.asarray(network(variables, inputs[index])))
    return np.concatenate(outputs)[: len(inputs)]
