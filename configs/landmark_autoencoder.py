"""The landmark autoencoder: the RGB one with its decoder frozen (paper section 4.3, table 4).

python train.py --config=configs/landmark_autoencoder.py:demo \
    --workdir=runs/demo/landmark_autoencoder

It starts from the newest checkpoint in the directory `autoencoder` beside its workdir.
paper  60k iterations, lr 1e-4. The release leaves `to_pixel` and the plane convolutions
       trainable: frozen=("decoder/blocks",).

At full size a training step is 7.0 TFLOP, counted before XLA optimises, and leaves 31 GiB in
float32 for the backward pass. As arithmetic, not measured: 60,000 steps x 6.97e12 /
(989e12 x 0.35) = 0.34 hours on one H100 in bfloat16 at 35 % of its peak, a lower bound.
"""

from configs import autoencoder
from configs.common import choose


def _from(base: dict) -> dict:
    base["stage"] = "landmark_autoencoder"
    base["frozen"] = ("decoder",)
    base["initialization"] = "random"
    return base


def paper() -> dict:
    """The paper's sizes."""
    config = _from(autoencoder.paper())
    config["optimizer"]["learning_rate"] = 1e-4
    config["loss"]["perceptual_start"] = 0
    config["training"] |= {"batch_size": 1, "num_steps": 60_000}
    return config


def demo() -> dict:
    """128x128, for 2 CPU cores."""
    config = _from(autoencoder.demo())
    config["training"] |= {"num_steps": 400, "evaluate_every": 400}
    return config


def finetune() -> dict:
    """The demo's size, for some seconds of one person, started from the demo checkpoint."""
    config = demo()
    config["optimizer"] |= {"learning_rate": 3e-4, "warmup_steps": 20}
    config["training"] |= {"num_steps": 200, "evaluate_every": 200}
    return config


def tiny() -> dict:
    """32x32, for tests."""
    return _from(autoencoder.tiny())


def get_config(variant: str = "paper"):
    """Settings of one variant."""
    return choose({"paper": paper, "demo": demo, "finetune": finetune, "tiny": tiny}, variant)
