"""All four stages in turn, each in a directory of its own.

python train.py --config=configs/all.py:demo --workdir=runs/demo
python train.py --config=configs/all.py:finetune --workdir=runs/mine --directory=data/mine \
    --start_from=moditalker_jax/demo/checkpoint

A second call goes on where the first one stopped.
"""

from configs import atom, autoencoder, landmark_autoencoder, mtov
from configs.common import ConfigDict


def get_config(variant: str = "paper"):
    """Settings of one variant of every stage, in the order that they need each other."""
    return ConfigDict(
        {
            "stages": {
                "autoencoder": autoencoder.get_config(variant),
                "landmark_autoencoder": landmark_autoencoder.get_config(variant),
                # The demo's people are strangers.
                "atom": atom.get_config("strangers" if variant == "demo" else variant),
                "mtov": mtov.get_config(variant),
            }
        }
    )
