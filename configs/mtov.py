"""MToV: landmark motion to video in the tri-plane latent space (paper section 4.3, table 5).

python train.py --config=configs/mtov.py:demo --workdir=runs/demo/mtov

It trains on cached latents, which it writes to `latents` beside its workdir if they are missing
(`python -m moditalker_jax.encode_latents` does the same by itself). It needs `autoencoder` and
`landmark_autoencoder` beside its workdir.
paper  128 channels, 132.17 M parameters, batch 12, 600k iterations.
demo   for 2 CPU cores: what the shipped checkpoint was made with.
tiny   seconds: for tests.

At full size a training step on cached latents is 2.4 TFLOP and XLA plans 20.5 GiB for it on one
CPU device in float32 (`python -m moditalker_jax.training.cost --stage mtov`). As arithmetic, not
measured: 600,000 steps x 2.44e12 / (989e12 x 0.35) = 1.2 hours on one H100 and 0.15 on eight, in
bfloat16 at 35 % of their peak: lower bounds.
"""

from configs.common import choose, data


def paper() -> dict:
    """The paper's sizes."""
    return {
        "stage": "mtov",
        "model": {
            "out_channels": 4,
            "base_channels": 128,
            "channel_multipliers": (1, 2, 4, 4),
            "num_res_blocks": 2,
            "attention_downsampling": (1, 2, 4),
            "num_heads": 8,
            "remat": False,
            "dtype": "float32",
        },
        "data": data("paper"),
        "diffusion": {"schedule": "scaled_linear", "prediction_type": "x0"},
        "sampling": {"num_sampling_steps": 100, "eta": 1.0},
        "optimizer": {
            "name": "adamw",
            "learning_rate": 1e-4,
            "betas": (0.9, 0.999),
            "weight_decay": 0.01,
            "warmup_steps": 10_000,
        },
        "training": {
            "batch_size": 12,
            "num_steps": 600_000,
            "ema": "warmup",
            "ema_decay": 0.9999,
            "ema_every": 25,
            "evaluate_every": 5_000,
            "checkpoint_every": 5_000,
        },
    }


def demo() -> dict:
    """16x16 planes, for 2 CPU cores."""
    config = paper()
    config["model"] |= {
        "out_channels": 16,
        "base_channels": 64,
        "channel_multipliers": (1, 2, 2),
        "num_res_blocks": 1,
        "attention_downsampling": (2, 4),
        "num_heads": 2,
        "reference_residual": True,
    }
    config["data"] = data("demo") | {"latent_stride": 59, "identity": "any"}
    config["loss"] = {"motion": 30.0, "channel_gain": 1.0}
    config["sampling"] |= {"num_sampling_steps": 10, "eta": 0.0}
    config["optimizer"] |= {
        "learning_rate": 5e-4,
        "warmup_steps": 100,
        "decay": "cosine",
        "clip_norm": 1.0,
    }
    config["training"] = {
        "batch_size": 4,
        "num_steps": 1_600,
        "ema": "warmup",
        "ema_decay": 0.995,
        "log_every": 50,
        "evaluate_every": 800,
        "checkpoint_every": 250,
    }
    return config


def finetune() -> dict:
    """The demo's size, for some seconds of one person, started from the demo checkpoint."""
    config = demo()
    config["data"]["latent_stride"] = 4
    config["optimizer"] |= {"learning_rate": 3e-4, "warmup_steps": 20}
    config["training"] |= {"num_steps": 400, "evaluate_every": 200}
    return config


def tiny() -> dict:
    """4x4 planes, for tests."""
    config = demo()
    config["model"] |= {
        "base_channels": 8,
        "channel_multipliers": (1, 2),
        "attention_downsampling": (2,),
        "num_heads": 2,
        "num_groups": 4,
    }
    config["sampling"]["num_sampling_steps"] = 4
    config["training"] |= {"batch_size": 2, "num_steps": 4, "evaluate_every": 4, "log_every": 2}
    return config


def get_config(variant: str = "paper"):
    """Settings of one variant."""
    return choose({"paper": paper, "demo": demo, "finetune": finetune, "tiny": tiny}, variant)
