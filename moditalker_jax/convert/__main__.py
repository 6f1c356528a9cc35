"""Turns a checkpoint of the authors' release into a stage that `sample.py` and notebooks load.

python -m moditalker_jax.convert atom train-60.pt checkpoints/release/atom
"""

import argparse
import dataclasses
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from configs import atom as atom_config
from configs import autoencoder as autoencoder_config
from configs import landmark_autoencoder as landmark_autoencoder_config
from configs import mtov as mtov_config
from moditalker_jax.audio_features import RELEASE_AUDIO_ENCODER
from moditalker_jax.checkpoint import save_params
from moditalker_jax.config import stage_config, write_config
from moditalker_jax.convert import atom, autoencoder, mtov
from moditalker_jax.convert.tables import load_state_dict
from moditalker_jax.errors import InputError, command
from moditalker_jax.landmark_backends import BFM_MOTION_SCALE, BFM_NAME, read_bfm_backend
from moditalker_jax.models.build import build_model, count_params

RELEASE_DATA = {
    "fps": 25,
    "resolution": 256,
    "audio_encoder": RELEASE_AUDIO_ENCODER,
    "landmark_backend": BFM_NAME,
    "motion_scale": BFM_MOTION_SCALE,
}
"""What the release was trained on: HuBERT features, and landmarks of the BFM's 3DMM.

The mean face is the user's: see `landmark_backends.bfm_backend`."""


@dataclasses.dataclass(frozen=True)
class Network:
    """How one of the release's networks becomes a stage.

    Attributes:
      config: the stage's settings at the paper's size.
      fields: the model fields that select the release's form.
      changes: the release's other settings, by section.
    """

    config: Callable[[], dict[str, Any]]
    convert: Callable[..., dict[str, Any]]
    fields: Mapping[str, Any]
    entries: tuple[str, ...] = ()
    changes: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)


NETWORKS = {
    "atom": Network(
        atom_config.paper,
        atom.convert_state_dict,
        {"share_film": True},
        entries=atom.ENTRIES,
    ),
    "autoencoder": Network(
        autoencoder_config.paper, autoencoder.convert_state_dict, {"mismatched_frame_rotary": True}
    ),
    "landmark_autoencoder": Network(
        landmark_autoencoder_config.paper,
        autoencoder.convert_state_dict,
        {"mismatched_frame_rotary": True},
    ),
    "mtov": Network(
        mtov_config.paper,
        mtov.convert_state_dict,
        {"reference_on_xy_only": True},
        changes={
            "diffusion": {"prediction_type": "epsilon"},
            "sampling": {
                "rederive_epsilon": False,
                "start_fraction": 0.25,
                "truncate_fraction": True,
            },
        },
    ),
}


def convert_checkpoint(
    name: str, checkpoint: Path, out: Path, mean_face: Path | None = None
) -> int:
    """Writes a stage's workdir from the release's file; returns the number of parameters.

    Args:
      mean_face: .npy of the BFM's mean face (68, 3); AToM generates nothing without it.

    Raises:
      InputError: the file does not fit the network, or `out` exists already.
    """
    network = NETWORKS[name]
    if out.exists():
        raise InputError(f"{out} exists already: choose another output directory")
    landmarks = {} if mean_face is None else read_bfm_backend(mean_face).metadata()
    values = network.config()
    values["model"] |= network.fields
    for section, fields in network.changes.items():
        values[section] |= fields
    config = stage_config(values)
    model = build_model(name, config.model)
    params = network.convert(load_state_dict(checkpoint, entries=network.entries), model=model)
    aside = out.with_name(out.name + ".part")
    aside.mkdir(parents=True, exist_ok=True)
    save_params(aside, jax.device_put(params))
    write_config(aside, config, RELEASE_DATA | landmarks)
    aside.rename(out)
    return count_params(params)


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = argparse.ArgumentParser(description="Converts a checkpoint of the authors' release.")
    parser.add_argument("network", choices=NETWORKS)
    parser.add_argument("checkpoint", type=Path, help="the release's .pt or .pth file")
    parser.add_argument("out", type=Path, help="the stage's directory to write")
    parser.add_argument("--mean-face", type=Path, help="BFM's, .npy of (68, 3): AToM needs it")
    options = parser.parse_args(arguments)
    count = convert_checkpoint(options.network, options.checkpoint, options.out, options.mean_face)
    print(f"{options.out}: {count:,} parameters")
    return 0


if __name__ == "__main__":
    sys.exit(main())
