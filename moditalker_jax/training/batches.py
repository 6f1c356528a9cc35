"""Batches for each stage, from shards through tf.data or from arrays to numpy.

With `run.py` and `encode_latents.py` the only files of this package that meet `data_pipelines`.
"""

from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np

from data_pipelines.reading import atom_batches, clip_batches, held_out_split, latent_batches
from data_pipelines.records import AUDIO
from moditalker_jax.conditions import landmark_video, pose_video
from moditalker_jax.config import StageConfig
from moditalker_jax.training.sharding import local_batch_size, make_mesh
from moditalker_jax.training.stages.base import Batch


def reads_audio(config: StageConfig) -> bool:
    """Whether the stage is an MToV whose network reads audio features."""
    return config.stage == "mtov" and "audio" in config.model.get("conditions", ())


class StageBatches:
    """What one stage reads; each process gets its share of the global batch."""

    def __init__(self, config: StageConfig, *, latents: Path):
        self._config, self._latents = config, latents
        self._batch_size = local_batch_size(
            config.training.batch_size,
            make_mesh(config.mesh),
            accumulate_steps=config.training.accumulate_steps,
        )

    def check(self) -> None:
        """Opens the data without reading a batch.

        Raises:
          InputError: they are missing, or lack what the stage reads.
        """
        self.train(0)
        self.evaluation()

    def train(self, start_step: int) -> Iterator[Batch]:
        """Endless batches from the one of `start_step` on: a resumed run sees the very next."""
        return self._read("train", self._config.training.seed, start_step)

    def evaluation(self) -> Iterator[Batch]:
        """One pass over the held-out split, always the same."""
        return self._read(held_out_split(self._config.data.directory), None)

    def _read(self, split: str, seed: int | None, start: int = 0) -> Iterator[Batch]:
        config = self._config
        options = {
            "seed": seed,
            "start": start,
            "process_index": jax.process_index(),
            "process_count": jax.process_count(),
        }
        if config.stage == "mtov" and config.data.source == "latents":
            options["audio"] = reads_audio(config)
            return latent_batches(self._latents, split, self._batch_size, **options)
        directory = config.data.directory
        options["mirror"] = config.data.mirror
        if config.stage == "atom":
            num_frames = config.model["num_frames"]
            return atom_batches(
                directory, split, self._batch_size, num_frames=num_frames, **options
            )
        clips = clip_batches(
            directory,
            split,
            self._batch_size,
            num_frames=config.model.get("num_frames", 16),
            resolution=config.model.get("resolution"),
            max_frame_stride=config.data.max_frame_stride,
            audio=reads_audio(config),
            **options,
        )
        return map(self._videos, clips)

    def _videos(self, clips: Batch) -> Batch:
        """Only what the stage reads, so that nothing is drawn or moved to the device in vain."""
        match self._config.stage:
            case "autoencoder":
                read = {"video": clips["video"], "landmarks": clips["landmarks"]}
            case "landmark_autoencoder":
                read = {
                    "landmark_video": self._landmark_video(clips),
                    "landmarks": clips["landmarks"],
                }
            case _:
                read = {
                    "video": clips["video"],
                    "reference": clips["reference"],
                    "landmark_video": self._landmark_video(clips),
                    "pose_video": pose_video(clips["video"], clips["landmarks"]),
                    **({AUDIO: clips[AUDIO]} if AUDIO in clips else {}),
                }
        return {"name": clips["name"], **read}

    def _landmark_video(self, clips: Batch) -> np.ndarray:
        return landmark_video(
            clips["landmarks"],
            resolution=clips["video"].shape[2],
            disc_radius=self._config.data.disc_radius,
        )
