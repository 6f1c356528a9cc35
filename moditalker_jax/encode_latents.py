"""Runs the frozen encoders once over a data set and writes tri-plane latents.

At full size the encoders cost over twenty times the U-Net's step, so MToV trains on what this
wrote; `train.py` calls it when the latents are missing.

python -m moditalker_jax.encode_latents --data data/synthetic --run runs/demo
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
from tqdm import tqdm

from data_pipelines.reading import clip_windows, held_out_split, load_metadata, write_latents
from data_pipelines.records import AUDIO, latent_metadata
from moditalker_jax.conditions import landmark_video, pose_video
from moditalker_jax.errors import command
from moditalker_jax.latents import LATENT_NAMES, load_clip_encoder


def encode_latents(
    data: Path,
    out: Path,
    *,
    autoencoder: Path,
    landmark_autoencoder: Path,
    stride: int = 16,
    disc_radius: float | None = None,
    audio: bool = False,
    identity: Literal["first", "any"] = "first",
) -> None:
    """Writes the latents of every clip window of a data set, whole or not at all.

    Args:
      data: shards of clips.
      out: directory to write.
      autoencoder, landmark_autoencoder: workdirs of the trained autoencoders.
      stride: frames from one 16-frame window to the next.
      disc_radius: of the landmark discs, see `conditions.landmark_video`.
      identity: the frame that identifies a window: its first, or any of its clip.
      audio: put the audio features beside the latents, for an MToV that reads them.

    Raises:
      InputError: the data or an autoencoder is missing, or `out` holds something already.
    """
    encoder, params = load_clip_encoder(autoencoder, landmark_autoencoder)
    encode = jax.jit(encoder.encode)
    model = encoder.autoencoder

    def latents_of(split: str) -> Iterator[dict[str, Any]]:
        windows = clip_windows(
            data,
            split,
            num_frames=model.num_frames,
            stride=stride,
            resolution=model.resolution,
            audio=audio,
            any_reference=identity == "any",
        )
        for window in tqdm(windows, desc=f"encoding {split}", unit="clip"):
            video, landmarks = window["video"], window["landmarks"]
            batch = {
                "video": video,
                "pose_video": pose_video(video, landmarks),
                "landmark_video": landmark_video(
                    landmarks, resolution=model.resolution, disc_radius=disc_radius
                ),
                "reference": window["reference"],
            }
            latents = encode(params, {name: array[None] for name, array in batch.items()})
            flat = {n: np.asarray(getattr(latents, n).to_tokens()[0]) for n in LATENT_NAMES}
            if audio:
                flat[AUDIO] = window[AUDIO]
            yield {"name": window["name"], "start": window["start"], **flat}

    grid, frames = model.resolution // model.patch_size, model.num_frames
    sound = {"audio_encoder": load_metadata(data)["audio_encoder"]} if audio else {}
    metadata = latent_metadata(
        plane_sizes={"xy": (grid, grid), "yt": (frames, grid), "xt": (frames, grid)},
        latent_channels=model.latent_channels,
        autoencoder=str(autoencoder),
        landmark_autoencoder=str(landmark_autoencoder),
        **sound,
    )
    splits = ("train", held_out_split(data))
    write_latents(out, {split: latents_of(split) for split in splits}, metadata, beside=data)


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = argparse.ArgumentParser(description="Writes the tri-plane latents of a data set.")
    parser.add_argument("--data", type=Path, required=True, help="shards of clips")
    parser.add_argument("--run", type=Path, required=True, help="directory of the autoencoders")
    parser.add_argument("--out", type=Path, help="directory to write; default RUN/latents")
    parser.add_argument("--stride", type=int, default=16, help="frames from clip to clip")
    parser.add_argument("--audio", action="store_true", help="with the audio features")
    parser.add_argument(
        "--identity",
        choices=("first", "any"),
        default="first",
        help="frame that identifies a window: its first, or any of its clip",
    )
    options = parser.parse_args(arguments)
    encode_latents(
        options.data,
        options.out or options.run / "latents",
        autoencoder=options.run / "autoencoder",
        landmark_autoencoder=options.run / "landmark_autoencoder",
        stride=options.stride,
        audio=options.audio,
        identity=options.identity,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
