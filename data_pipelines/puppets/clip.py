"""One portrait and one recording to a prepared clip, as `data_pipelines.prepare` makes of video."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from data_pipelines.datasets.base import SourceVideo
from data_pipelines.prepare.clip import Prepared, Rejected
from data_pipelines.puppets.camera import Camera
from data_pipelines.puppets.driver import Driver, frontal_meshes, inner_gap, read_driver
from data_pipelines.puppets.portrait import Portrait, read_portrait
from data_pipelines.puppets.puppet import Renderer, Style, mesh_motion, pose
from data_pipelines.records import PreparedClip, pcm16
from moditalker_jax.audio_features import AudioEncoder
from moditalker_jax.errors import InputError
from moditalker_jax.faces import CropBox, FaceFinder, clip_crop, landmarks_from_mesh
from moditalker_jax.landmarks import fill_missing_landmarks, frontalize
from moditalker_jax.media.video import read_video_audio
from moditalker_jax.spec import CLIP_FRAMES, FPS

VERSION = 1
"""Raised when the same portrait and recording would give another puppet."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PuppetSource(SourceVideo):
    """A recording (`path`) whose motion a portrait takes on."""

    portrait: Path


@dataclasses.dataclass(frozen=True)
class PuppetPreparer:
    """Draws puppets; what differs from one to the next is drawn from its name."""

    resolution: int
    seed: int = 0

    @property
    def facts(self) -> dict[str, Any]:
        return {
            "resolution": self.resolution,
            "source": "puppets",
            "seed": self.seed,
            "version": VERSION,
        }

    def __call__(
        self, source: PuppetSource, *, finder: FaceFinder, encoder: AudioEncoder
    ) -> Prepared:
        """The puppet's clip.

        Raises:
          Rejected: its portrait or recording cannot be used.
        """
        digest = hashlib.sha256(f"{self.seed} {source.name}".encode()).digest()
        rng = np.random.default_rng(list(digest))
        try:
            portrait = read_portrait(source.portrait, finder, mirrored=bool(rng.random() < 0.5))
            driver = read_driver(source.path, finder)
        except Rejected:
            raise
        except InputError as error:
            raise Rejected("no_face", str(error)) from error
        if len(driver) < CLIP_FRAMES:
            raise Rejected(
                "too_short", f"{source.path}: {len(driver)} frames; give {CLIP_FRAMES} or more"
            )
        seconds = len(driver) / FPS
        return Prepared(seconds, self._clips(source, portrait, driver, rng, finder, encoder))

    def _clips(
        self,
        source: PuppetSource,
        portrait: Portrait,
        driver: Driver,
        rng: np.random.Generator,
        finder: FaceFinder,
        encoder: AudioEncoder,
    ) -> Iterator[tuple[str, PreparedClip]]:
        style = Style.random(driver, rng)
        puppet = pose(portrait, mesh_motion(portrait, driver, style), style)
        box = _framed(puppet.meshes, portrait.picture.shape[:2], rng)
        frontal, _ = frontal_meshes(driver.meshes)
        renderer = Renderer(frontal[inner_gap(frontal).argmax()])
        large = renderer(portrait, driver, puppet, box, self.resolution)
        found = finder.track(large)
        if np.isnan(found[:, 0, 0]).mean() > 0.1:
            raise Rejected("no_face", f"{source.portrait}: its face is not found when it moves")
        found = fill_missing_landmarks(found)
        size = (self.resolution, self.resolution)
        frames = np.stack([cv2.resize(f, size, interpolation=cv2.INTER_AREA) for f in large])
        audio = read_video_audio(source.path, len(driver))
        features = np.zeros((0, encoder.width), np.float32) if audio is None else encoder(audio)
        yield (
            source.split or "train",
            PreparedClip(
                name=source.name,
                speaker=source.speaker,
                frames=Camera.random(rng)(frames, rng),
                landmarks=(found / (2 * self.resolution)).astype(np.float32),
                frontal_landmarks=frontalize(found)[0],
                audio_features=features,
                audio=np.zeros(0, np.int16) if audio is None else pcm16(audio, len(driver)),
            ),
        )


def _framed(meshes: np.ndarray, size: tuple[int, int], rng: np.random.Generator) -> CropBox:
    """The crop that preparation would choose, a little off as its choices are."""
    box = clip_crop(landmarks_from_mesh(meshes), frame_size=size)
    scale = float(np.exp(rng.normal(-0.03, 0.06)))
    side = max(16, round(box.size * min(scale, 1.1)))
    slack = np.array([box.left, box.top]) + (box.size - side) / 2
    left, top = np.round(slack + rng.normal(0.0, 0.02, 2) * box.size).astype(int)
    return CropBox(left=int(left), top=int(top), size=side)
